"""Rank the fields of a ranker, look at the ranking, and choose how many to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import require
from recprune.data import Dataset, Split
from recprune.errors import ParameterError, nearest
from recprune.executor import Executor
from recprune.importance.association import Groups, groups_of
from recprune.importance.base import METHODS, importance
from recprune.importance.evidence import Evidence
from recprune.importance.joint import scored_jointly
from recprune.models import Ranker

__all__ = ["FieldRanking", "rank_fields"]

OWNER = "FieldRanking.keep"
#: Fields that a printed ranking shows.
SHOWN = 20


@dataclass(frozen=True, eq=False)
class FieldRanking:
    """Fields from the most to the least important.

    Args:
        fields: names, best first.
        scores: shape (n_fields,), falling.
        std: standard errors, shape (n_fields,).
        method: how they were scored.
        by: what each field was scored by, where the method has several ways; else empty.
        costs: what the fields cost that state it.
        groups: fields that were scored as one. The first of each stands for it: of the others, which
            follow in the order in which they would take its place, none is kept beside it.

    >>> print(FieldRanking(("price", "age"), np.array([0.031, 4e-6]), np.zeros(2), "permutation"))
    field  permutation  ± standard error
    price        0.031                 0
    age          4e-06                 0
    """

    fields: tuple[str, ...]
    scores: NDArray[np.float64]
    std: NDArray[np.float64]
    method: str
    by: tuple[str, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()

    def keep(
        self,
        *,
        ratio: float | None = None,
        count: int | None = None,
        threshold: float | None = None,
        cost: float | None = None,
        protect: Sequence[str] = (),
        force: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Return the fields to keep, best first. Exactly one of the first four is given.

        Args:
            ratio: share of all fields, in (0, 1].
            count: how many fields.
            threshold: fields that score above it.
            cost: most that the kept fields may cost together, by the schema's ``cost``; a field
                that states none is free. Best first: a field that does not fit is passed over.
                Not by importance per cost, since scores of most methods are not amounts: they do
                not add up, and their zero means nothing.
            protect: fields that stay in any case, also beyond the count; under ``cost`` they are
                paid first.
            force: fields that go in any case.

        Raises:
            ParameterError: none or several of the four are given, or one is out of range; a name in
                ``protect`` or ``force`` is no field, or is in both; or nothing is left.
        """
        wanted = {"ratio": ratio, "count": count, "threshold": threshold, "cost": cost}
        given = [name for name, value in wanted.items() if value is not None]
        if len(given) != 1:
            constraint = "given alone: exactly one of ratio, count, threshold and cost"
            raise ParameterError.of(" and ".join(given) or "ratio", OWNER, constraint, wanted)
        open_ones = self.allowed(protect, force)
        if cost is not None:
            return self._affordable(open_ones, cost, protect)
        n = len(self.fields)
        if ratio is not None:
            if not (_number(ratio) and 0 < ratio <= 1):
                raise ParameterError.of("ratio", OWNER, "a float in (0, 1]", ratio)
            count = max(1, round(ratio * n))
        if count is not None:
            if not (_number(count) and isinstance(count, Integral) and 1 <= count <= n):
                raise ParameterError.of("count", OWNER, f"an int in [1, {n}]", count)
            best = open_ones[:count]
        else:
            if not _number(threshold):
                raise ParameterError.of("threshold", OWNER, "a number", threshold)
            scores = dict(zip(self.fields, self.scores.tolist(), strict=True))
            best = tuple(f for f in open_ones if scores[f] > threshold)
        kept = tuple(f for f in open_ones if f in best or f in protect)
        if not kept:
            raise ParameterError(
                f"No field scores above the threshold {threshold}; the best scores "
                f"{self.scores[0]:.6g}. Lower the threshold."
            )
        return kept

    def allowed(self, protect: Sequence[str] = (), force: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the fields that may be kept, best first: all but those that are forced out, and of
        a group the first that is not, or the protected ones.

        Raises:
            ParameterError: a name is no field, or is to stay and to go; or no field is left.
        """
        for verb, names in (("protect", protect), ("force", force)):
            if isinstance(names, str):
                raise ParameterError.of(verb, OWNER, "a list of fields", names)
            for name in names:
                if name not in self.fields:
                    raise ParameterError(f"Cannot {verb} {name!r}.{nearest(name, self.fields)}")
        if both := [name for name in protect if name in force]:
            raise ParameterError(
                f"Field {both[0]!r} is named in protect (stay in any case) and in force (go in any "
                "case). Name it in one of them."
            )
        passed = set(force)
        for group in self.groups:
            open_ones = [name for name in group if name not in force]
            stays = [name for name in open_ones if name in protect] or open_ones[:1]
            passed |= {name for name in group if name not in stays}
        left = tuple(name for name in self.fields if name not in passed)
        if not left:
            raise ParameterError("force names every field, and one at least has to stay.")
        return left

    def group_of(self, name: str) -> tuple[str, ...]:
        """Return the fields that were scored as one with a field, itself among them."""
        return next((group for group in self.groups if name in group), (name,))

    def _affordable(
        self, names: Sequence[str], budget: float, protect: Sequence[str]
    ) -> tuple[str, ...]:
        if not (_number(budget) and budget >= 0):
            raise ParameterError.of("cost", OWNER, "a number ≥ 0", budget)
        if not self.costs:
            raise ParameterError(
                "FieldRanking.keep(cost=…) needs fields that state a cost, and none does. State it "
                "in the schema: cost = 12.5 under [fields.NAME]."
            )
        price = {name: self.costs.get(name, 0.0) for name in names}
        spent = sum(price[name] for name in protect)
        if spent > budget:
            constraint = f"at least {spent:g}, what the protected fields cost"
            raise ParameterError.of("cost", OWNER, constraint, budget)
        kept = set(protect)
        for name in names:
            if name not in kept and spent + price[name] <= budget:
                kept.add(name)
                spent += price[name]
        if not kept:
            cheapest = min(price.values())
            constraint = f"at least {cheapest:g}, what the cheapest field costs"
            raise ParameterError.of("cost", OWNER, constraint, budget)
        return tuple(name for name in names if name in kept)

    def __str__(self) -> str:
        """The best fields as a table, with what each was scored by, and its group, where it has any."""
        names = self.fields[:SHOWN]
        numbers = [[f"{v:.4g}" for v in each[:SHOWN]] for each in (self.scores, self.std)]
        columns = [["field", *names]]
        columns += [
            [head, *each]
            for head, each in zip((self.method, "± standard error"), numbers, strict=True)
        ]
        if self.by:
            columns.append(["scored by", *self.by[:SHOWN]])
        if self.groups:
            columns.append(["group of", *(self.group_of(name)[0] for name in names)])
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(
                cell.rjust(width) if i in (1, 2) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in zip(*columns, strict=True)
        ]
        if more := len(self.fields) - len(names):
            lines.append(f"… and {more:,} more: to_frame() has all")
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return a Polars frame with the columns field, score, std, method, and perhaps by, and group:
        the field that stands for the field's group."""
        import polars as pl

        heads = [self.group_of(name)[0] for name in self.fields]
        return pl.DataFrame(
            {
                "field": self.fields,
                "score": self.scores,
                "std": self.std,
                "method": [self.method] * len(self.fields),
                **({"by": self.by} if self.by else {}),
                **({"group": heads} if self.groups else {}),
            }
        )

    def plot(self) -> Any:
        """Return a matplotlib figure: a bar a field, best on top, with standard errors."""
        figure = require("matplotlib.figure", "train").Figure(
            figsize=(7, 1 + 0.28 * len(self.fields)), layout="constrained"
        )
        axes = figure.subplots()
        places = np.arange(len(self.fields))[::-1]
        axes.barh(places, self.scores, xerr=self.std, color="#4477aa", ecolor="#222222")
        axes.set_yticks(places, self.fields)
        axes.set_xlabel(f"importance ({self.method})")
        axes.set_title(f"{self.fields[0]} matters most")
        return figure


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def rank_fields(
    model: Ranker | None,
    data: Dataset | Split,
    method: str = "permutation",
    seed: int = 0,
    groups: Groups = "schema",
    executor: Executor | None = None,
    **options: Any,
) -> FieldRanking:
    """Rank fields by importance.

    Args:
        model: fitted ranker; None for a method that asks none (filters, linear models, trees).
        data: a data set, of which training and tune rows are read; or one split (never the test
            rows), which methods that learn halve.
        method: one of :data:`recprune.importance.METHODS`.
        seed: of the method's draws. Ties are broken by name, so column order does not matter.
        groups: fields to score as one and keep one of: ``"schema"`` = as the schema names them
            (``group`` of a field), ``"auto"`` = these, and fields that tell the same (see
            :func:`recprune.importance.association.association`); name → fields; None = none.
        executor: where a method's parts run, as of :func:`recprune.importance.importance`.
        options: the method's own, such as ``repeats=``.

    Raises:
        ParameterError: no such method, one that needs a model where none is given, or one that
            cannot score groups jointly; or groups that name no field, or one twice.
    """
    rows = Evidence.of(data, model)
    found = groups_of(groups, rows, seed)
    if found and method in METHODS:
        scores, found = scored_jointly(model, rows, method, seed, found, executor, **options)
    else:
        scores = importance(model, rows, "fields", method, seed, executor, **options)
    names = np.array(rows.encoder.schema.names)
    # Members follow their representative, each group's in its own order.
    head = {name: group[0] for group in found for name in group}
    place = {name: i for group in found for i, name in enumerate(group)}
    heads = np.array([head.get(name, name) for name in names.tolist()])
    places = np.array([place.get(name, 0) for name in names.tolist()])
    order = np.lexsort((places, heads, -scores.score))
    by = tuple(scores.by[i] for i in order) if scores.by else ()
    costs = {f.name: f.cost for f in rows.encoder.schema.fields if f.cost is not None}
    ranked = tuple(names[order].tolist())
    return FieldRanking(ranked, scores.score[order], scores.std[order], method, by, costs, found)
