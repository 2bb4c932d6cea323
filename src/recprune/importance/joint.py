"""Groups of fields scored as one, each with the member that stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance.base import METHODS, Scores, importance
from recprune.importance.design import some_rows
from recprune.importance.evidence import Evidence
from recprune.importance.replaced import Replaced
from recprune.models import Ranker

__all__ = ["scored_jointly"]

#: Methods whose scores are falls of AUC under shuffles.
PERMUTATIONS = ("permutation", "screened")
#: Most rows of these, as groups are scored; of fewer that are asked for, so many.
MAX_ROWS = 50_000

Group = tuple[str, ...]


def scored_jointly(
    model: Ranker | None,
    rows: Evidence,
    method: str,
    seed: int,
    groups: Sequence[Group],
    executor: Executor | None = None,
    **options: Any,
) -> tuple[Scores, tuple[Group, ...]]:
    """Score fields with those of a group as one.

    Permutation shuffles all members of a group at once, by one shuffle: what copies tell is lost
    only when all of them are shuffled. Its representative is the member that, alone left as it is,
    keeps most of the AUC. Methods that ask no model score the groups' representatives without the
    other members; a representative is the member that they score highest beside the others. Within
    a standard error of the best, the cheaper member stands, then the first by name.

    Args:
        model, rows, method, seed, options: as of :func:`recprune.importance.importance`.
        groups: of fields, each in at most one.
        executor: where fields are scored one by one.

    Returns:
        The scores of all fields, a group's score at each of its members; and the groups, each with
        its representative first and the others after it, as they would follow.

    Raises:
        ParameterError: the method cannot score fields jointly.
    """
    names = rows.encoder.schema.names
    if method in PERMUTATIONS and model is not None:
        single = importance(model, rows, "fields", method, seed, executor, **options)
        most = min(options.get("max_rows", MAX_ROWS), MAX_ROWS)
        split = some_rows(rows.held_out, most, seed, "permutation rows")
        return _permuted(model, split, seed, groups, single, options.get("repeats", 5))
    if METHODS[method].needs_model:
        able = [*PERMUTATIONS, *(m.name for m in METHODS.values() if not m.needs_model)]
        raise ParameterError(
            f"Method {method!r} scores fields one by one and cannot score groups jointly. Methods "
            f"that do: {', '.join(able)}. Or rank without groups: groups=None."
        )
    rows = Evidence(rows.train, rows.held_out)  # the model's fields, in its codes
    single = importance(None, rows, "fields", method, seed, executor, **options)
    ordered = []
    for group in groups:
        at = [names.index(name) for name in group]
        error = np.sqrt(single.std[at] ** 2 + single.std[at].max(initial=0) ** 2)
        ordered.append(_ordered(rows, group, single.score[at], error))
    out = {name for group in ordered for name in group[1:]}
    left = [name for name in names if name not in out]
    again = importance(None, _only(rows, left), "fields", method, seed, executor, **options)
    score, std = single.score.copy(), single.std.copy()
    place = {name: i for i, name in enumerate(left)}
    stands = {name: group[0] for group in ordered for name in group}
    for i, name in enumerate(names):
        j = place[stands.get(name, name)]
        score[i], std[i] = again.score[j], again.std[j]
    return Scores(score, std), tuple(ordered)


def _permuted(
    model: Ranker, split: Split, seed: int, groups: Sequence[Group], single: Scores, repeats: int
) -> tuple[Scores, tuple[Group, ...]]:
    values, schema = Replaced(model, split), model.encoder.schema
    base = values.auc()

    def fall(members: Sequence[str], order: torch.Tensor) -> float:
        """Return how much AUC falls when these are shuffled together."""
        before = values.shuffle(members, order)
        shuffled = values.auc()
        values.restore(members, before)
        return base - shuffled

    score, std, ordered = single.score.copy(), single.std.copy(), []
    for group in groups:
        falls = np.empty((1 + len(group), repeats))
        for r in range(repeats):
            # Counted by the group's names: neither column order nor other groups move the draws.
            draws = stream(seed, "joint permutation", *sorted(group), r)
            order = torch.from_numpy(draws.permutation(len(values.split)))
            falls[0, r] = fall(group, order)
            for i, name in enumerate(group):
                falls[1 + i, r] = fall([other for other in group if other != name], order)
        error = falls.std(axis=1, ddof=1) / repeats**0.5 if repeats > 1 else np.zeros(len(falls))
        for name in group:
            i = schema.names.index(name)
            score[i], std[i] = falls[0].mean(), error[0]
        kept = -falls[1:].mean(axis=1)
        # The same shuffles for all members: what counts is the error of their differences.
        spread = (falls[1:] - falls[1 + int(kept.argmax())]).std(axis=1)
        ordered.append(_ordered(model, group, kept, spread / max(repeats - 1, 1) ** 0.5))
    together = {name for group in groups for name in group}
    by = tuple(
        "joint" if n in together else b for n, b in zip(schema.names, single.by, strict=False)
    )
    return Scores(score, std, by), tuple(ordered)


def _ordered(
    owner: Ranker | Evidence, group: Group, kept: NDArray[np.float64], error: NDArray[np.float64]
) -> Group:
    """Return the group's members, the representative first, the others by what they keep."""
    schema = owner.encoder.schema
    near = kept >= kept.max() - error

    def rank(i: int) -> tuple[bool, float, float, str]:
        cost = schema[group[i]].cost or 0.0
        return (not near[i], cost if near[i] else 0.0, 0.0 if near[i] else -kept[i], group[i])

    return tuple(group[i] for i in sorted(range(len(group)), key=rank))


def _only(rows: Evidence, names: Sequence[str]) -> Evidence:
    part = rows.encoder.take(tuple(names), {})
    train = rows.given_train.only(part)
    same = rows.given_held_out is rows.given_train
    return replace(
        rows, given_train=train, given_held_out=train if same else rows.given_held_out.only(part)
    )
