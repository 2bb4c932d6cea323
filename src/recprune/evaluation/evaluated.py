"""What a model's metrics are: values, intervals, users one by one, groups, and who was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data import Split
from recprune.errors import ParameterError
from recprune.evaluation.estimates import Estimate
from recprune.evaluation.groups import groups_by
from recprune.evaluation.lists import Shown
from recprune.evaluation.row_metrics import ScoredRows
from recprune.metrics import Metric, metric

__all__ = ["Evaluation", "GroupMetrics", "evaluate_scores"]


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of the rows and users of one group.

    Args:
        column: what the rows are grouped by.
        value: the group, in words.
        rows: its rows.
        users: its users; None where there are none.
        estimates: metric → its estimate; a metric that cannot be had of these rows (of one class
            alone, say) is not among them.
    """

    column: str
    value: str
    rows: int
    users: int | None
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's metrics on some rows.

    Args:
        estimates: metric → value and interval.
        counts: ``rows``, ``positives``, and with users ``users``; with lists ``users_ranked``,
            ``users_skipped`` (nothing relevant), ``users_not_drawn`` and ``items``.
        threshold: of the probability, for accuracy, precision, recall and F1.
        per_user: one row a user: the id, ``rows``, ``positives``, and each metric that single users
            have; null where a user has none. None without users.
        groups: the metrics of each group that was asked for.

    ``evaluation["auc"]`` is the value of a metric, by any of its names; ``print(evaluation)`` shows
    all.
    """

    estimates: Mapping[str, Estimate]
    counts: Mapping[str, int]
    threshold: float
    per_user: pl.DataFrame | None = None
    groups: tuple[GroupMetrics, ...] = field(default=())

    @property
    def majority_accuracy(self) -> float:
        """The accuracy of calling every row the commoner class."""
        positives, rows = self.counts["positives"], self.counts["rows"]
        return max(positives, rows - positives) / rows

    def __getitem__(self, name: str) -> float:
        if name in self.estimates:
            return self.estimates[name].value
        return self.estimates[metric(name).name].value

    def __str__(self) -> str:
        counts = ", ".join(f"{n.replace('_', ' ')} {v:,}" for n, v in self.counts.items())
        lines = [counts, *_table(self.estimates)]
        for group in self.groups:
            users = "" if group.users is None else f", {group.users:,} users"
            lines += ["", f"{group.column} = {group.value}: {group.rows:,} rows{users}"]
            lines += _table(group.estimates)
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; the users are not in it."""
        return {
            **self.counts,
            "threshold": self.threshold,
            "majority_accuracy": self.majority_accuracy,
            **_plain(self.estimates),
            "groups": [
                {
                    "column": g.column,
                    "value": g.value,
                    "rows": g.rows,
                    "users": g.users,
                    **_plain(g.estimates),
                }
                for g in self.groups
            ],
        }


def evaluate_scores(
    rows: Split,
    scored: ScoredRows,
    shown: Shown | None,
    metrics: Sequence[Metric],
    by: Iterable[str] = (),
    suffix: str = "",
) -> Evaluation:
    """Return the metrics of scored rows and of the lists that were made for their users.

    Args:
        rows: what was scored.
        scored: labels, logits and users of the same rows.
        shown: lists; None = no metric is one of lists.
        metrics: which.
        by: columns to group by, as in :func:`recprune.evaluation.groups.groups_by`. Metrics of lists are
            given for groups of users alone: where no user has rows in two groups.
        suffix: added to the names of the metrics of lists.

    Raises:
        ParameterError: rows that a metric cannot judge, or no such column.
        DataError: a metric of users, and there are none.
    """
    named = [(m.name if m.family == "classification" else m.name + suffix, m) for m in metrics]

    def source(one: Metric, rows_: ScoredRows, lists: Shown | None) -> ScoredRows | Shown:
        if one.family == "classification":
            return rows_
        assert lists is not None
        return lists

    counts = {"rows": len(scored.label), "positives": int(np.count_nonzero(scored.label == 1))}
    if scored.users is not None:
        counts["users"] = len(np.unique(scored.users))
    if shown is not None:
        counts |= {
            "users_ranked": len(shown.lists),
            "users_skipped": shown.task.skipped,
            "users_not_drawn": shown.task.not_drawn,
            "items": shown.task.n_items,
        }
    estimates = {name: source(m, scored, shown).estimate(m) for name, m in named}
    groups = []
    for column in by:
        grouped = groups_by(rows, column).astype(str)
        for value in np.unique(grouped).tolist():
            here = np.flatnonzero(grouped == value)
            part = scored.take(here)
            lists = _lists_of(grouped, value, scored.users, shown)
            found = {}
            for name, m in named:
                if m.family != "classification" and (lists is None or not len(lists.lists)):
                    continue
                try:
                    found[name] = source(m, part, lists).estimate(m)
                except ParameterError:  # these rows cannot tell, as where all are of one class
                    continue
            users = None if part.users is None else len(np.unique(part.users))
            groups.append(GroupMetrics(column, value, len(here), users, found))
    per_user = _per_user(rows, scored, shown, named)
    return Evaluation(estimates, counts, scored.threshold, per_user, tuple(groups))


def _lists_of(
    grouped: NDArray[Any], value: str, users: NDArray[Any] | None, shown: Shown | None
) -> Shown | None:
    """Return the lists of a group's users; None where users have rows in several groups."""
    if shown is None or users is None:
        return None
    of_user = np.unique(np.stack([users, np.unique(grouped, return_inverse=True)[1]]), axis=1)[0]
    if len(np.unique(of_user)) < len(of_user):
        return None
    return shown.take(np.flatnonzero(np.isin(shown.task.users, users[grouped == value])))


def _per_user(
    rows: Split, scored: ScoredRows, shown: Shown | None, named: Sequence[tuple[str, Metric]]
) -> pl.DataFrame | None:
    column = rows.encoder.schema.user
    if scored.users is None or column is None:
        return None
    users, first, count = np.unique(scored.users, return_index=True, return_counts=True)
    code = np.searchsorted(users, scored.users)
    table = {
        column: rows.columns[column][first],
        "rows": count,
        "positives": np.bincount(code, scored.label == 1, len(users)).astype(np.int64),
    }
    for name, m in named:
        if m.family == "classification":
            values = scored.by_user(m)
        else:
            assert shown is not None
            of_lists = shown.by_user(m)
            values = None
            if of_lists is not None:
                values = np.full(len(users), np.nan)
                values[np.searchsorted(users, shown.task.users)] = of_lists
        if values is not None:
            table[name] = pl.Series(values, dtype=pl.Float64).fill_nan(None)
    return pl.DataFrame(table)


def _table(estimates: Mapping[str, Estimate]) -> list[str]:
    wide = max((len(name) for name in estimates), default=0)
    return [f"{name:<{wide}}  {e}" for name, e in estimates.items()]


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        "metrics": {n: e.value if np.isfinite(e.value) else None for n, e in estimates.items()},
        "intervals": {name: e.interval and list(e.interval) for name, e in estimates.items()},
        "of": {
            name: {"what": e.of, "count": e.count, "skipped": e.skipped}
            for name, e in estimates.items()
        },
    }
