"""Which fields tell the same: named in the schema, or found by how much of one another they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recprune._support import require, stream
from recprune.data import Split
from recprune.errors import ParameterError, nearest
from recprune.importance.evidence import Evidence
from recprune.lookups import UNKNOWN
from recprune.schema import Schema

__all__ = ["Groups", "association", "found_groups", "groups_of"]

#: ``"schema"``: those that the schema names; ``"auto"``: these, and those found among the rest;
#: or name → fields. None = every field on its own.
Groups = str | Mapping[str, Sequence[str]] | None
CHOICES = "'schema', 'auto', a mapping from a name to fields, or None"

MAX_ROWS = 10_000
#: From this share of one another's entropy (or variance) on, fields tell the same.
ALIKE = 0.7
#: Shuffles that tell how much chance alone shares.
SHUFFLES = 2
#: Codes a row, up to which they are counted in a table.
FEW_CODES = 16
#: Rows where two numbers are known, below which their ranks agree by chance.
FEWEST = 10


def groups_of(groups: Groups, rows: Evidence, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Return the groups of two fields or more, each with its fields in the schema's order.

    Raises:
        ParameterError: another word, a name that is no field, or a field in two groups.
    """
    schema = rows.encoder.schema
    if groups is None:
        return ()
    if isinstance(groups, str):
        if groups not in ("schema", "auto"):
            raise ParameterError.of("groups", "rank_fields", CHOICES, groups)
        named = _named(schema)
        if groups == "schema":
            return named
        taken = {name for group in named for name in group}
        rest = [name for name in schema.names if name not in taken]
        return (*named, *found_groups(rows.train, rest, seed))
    if not isinstance(groups, Mapping):
        raise ParameterError.of("groups", "rank_fields", CHOICES, groups)
    owner: dict[str, str] = {}
    for group, names in groups.items():
        for name in (names,) if isinstance(names, str) else names:
            if name not in schema.names:
                raise ParameterError(
                    f"Group {group!r} names {name!r}, which is no field."
                    f"{nearest(name, schema.names)}"
                )
            if owner.setdefault(name, group) != group:
                raise ParameterError(
                    f"Field {name!r} is in the groups {owner[name]!r} and {group!r}. Name it in one."
                )
    return _gathered({name: owner[name] for name in schema.names if name in owner})


def found_groups(
    split: Split, names: Sequence[str], seed: int = 0, alike: float = ALIKE
) -> tuple[tuple[str, ...], ...]:
    """Return groups of fields that tell the same, by average linkage on 1 − association.

    Args:
        split: rows to count in, at most 10,000 of them, drawn.
        names: the fields to group.
        seed: of the draw.
        alike: mean association from which clusters are merged.
    """
    if len(names) < 2:
        return ()
    linkage = require("scipy.cluster.hierarchy", "train")
    near = association(split, names, seed)
    condensed = (1 - near)[np.triu_indices(len(names), 1)]
    tree = linkage.linkage(condensed, "average")
    cluster = linkage.fcluster(tree, 1 - alike, "distance")
    return _gathered(dict(zip(names, map(str, cluster.tolist()), strict=True)))


def association(split: Split, names: Sequence[str], seed: int = 0) -> NDArray[np.float64]:
    """Return how much of each other two fields tell, shape (n_names, n_names), in [0, 1].

    Of two numbers, the square of Spearman's rank correlation over the rows where neither is missing,
    times their share of the rows where not both are: what one tells where the other is missing is
    its own.
    Of any two others, the mutual information of their codes, adjusted for chance and by the larger
    entropy (Vinh et al. 2010, "Information theoretic measures for clusterings comparison", AMI with
    the maximum); chance is what two shuffles share. The larger entropy, since a product tells its
    department and not the other way round: only fields that tell each other are alike.

    Args:
        split: rows, of which at most 10,000 are drawn.
        names: fields of its encoder.
        seed: of the draws, which do not depend on the fields' order.
    """
    chosen = np.sort(stream(seed, "association rows").permutation(len(split))[:MAX_ROWS])
    rows, encoder = split.rows[chosen], split.encoder
    at = [encoder.schema.names.index(name) for name in names]
    code = [_one_code(rows.codes[:, encoder.slots[i]]) for i in at]
    rank = {
        p: _Ranked(
            rows.codes[:, encoder.slots[i]].ravel() + rows.shares[:, encoder.share_slots[i]].ravel()
        )
        for p, i in enumerate(at)
        if i in encoder.numeric
    }
    entropy = [_entropy(c) for c in code]
    shuffles = [stream(seed, "association", s).permutation(len(chosen)) for s in range(SHUFFLES)]
    near = np.eye(len(names))
    for a in range(len(names)):
        for b in range(a):
            if a in rank and b in rank:
                value = _rank_share(rank[a], rank[b])
            else:
                # One shuffle of either: the same whichever comes first.
                one, two = (a, b) if names[a] < names[b] else (b, a)
                both = entropy[a] + entropy[b]
                shared = both - _entropy(_pair(code[one], code[two]))
                chance = [_entropy(_pair(code[one], code[two][s])) for s in shuffles]
                by_chance = both - float(np.mean(chance))
                most = max(entropy[a], entropy[b]) - by_chance
                value = (shared - by_chance) / most if most > 1e-9 else 0.0
            near[a, b] = near[b, a] = min(max(value, 0.0), 1.0)
    return near


def _named(schema: Schema) -> tuple[tuple[str, ...], ...]:
    return _gathered({f.name: f.group for f in schema.fields if f.group is not None})


def _gathered(group_of: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return the names that share a group, in the order given; groups of one are none."""
    groups: dict[str, list[str]] = {}
    for name, group in group_of.items():
        groups.setdefault(group, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _one_code(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return one number for each row's codes, shape (n,), from 0."""
    code: NDArray[np.int64] = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    return code


def _pair(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    together: NDArray[np.int64] = a * (int(b.max(initial=0)) + 1) + b
    return together


def _entropy(code: NDArray[np.int64]) -> float:
    """Return the entropy of the codes' frequencies, in nats."""
    if code.max(initial=0) < FEW_CODES * len(code):  # counting is many times quicker than sorting
        counts = np.bincount(code)
        counts = counts[counts > 0]
    else:
        counts = np.unique(code, return_counts=True)[1]
    share = counts / max(len(code), 1)
    return float(-(share * np.log(share)).sum())


class _Ranked:
    """A number's values with their ranks, which serve every pair of fields that are always known."""

    def __init__(self, value: NDArray[np.floating]) -> None:
        self.value, self.known = value, value > UNKNOWN
        self.whole = _ranks(value) if self.known.all() else None


def _rank_share(a: _Ranked, b: _Ranked) -> float:
    """Return the square of Spearman's correlation where both are known, times their share of the
    rows where one is."""
    known = a.known & b.known
    if known.sum() < FEWEST:
        return 0.0
    one, two = a.whole, b.whole
    if one is None or two is None:
        one, two = _ranks(a.value[known]), _ranks(b.value[known])
    return float(one @ two) ** 2 * float(known.sum() / (a.known | b.known).sum())


def _ranks(value: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ranks, centred and of length 1, or zeros where all values are equal."""
    rank = require("scipy.stats", "train").rankdata(value)
    rank -= rank.mean()
    out: NDArray[np.float64] = rank / max(np.linalg.norm(rank), 1e-300)
    return out
