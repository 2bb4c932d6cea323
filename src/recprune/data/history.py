"""Histories: what each user did with each value of an item column up to a moment, and not after.

One :class:`History` gives the same numbers twice: as columns of (user, item) pairs for training,
and as the cross tables that serving looks up, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.profiles import positions
from recprune.errors import DataError
from recprune.histories import CrossTable
from recprune.schema import Field

__all__ = ["History", "cross_fields"]


def cross_fields(by: str) -> tuple[Field, Field]:
    """Return the two cross fields of an item column: how often, and how long ago."""
    return (
        Field(f"count_by_{by}", "numeric", "cross", by=by),
        Field(f"recency_by_{by}", "numeric", "cross", by=by),
    )


@dataclass(frozen=True, eq=False)
class History:
    """Events up to a cut-off, by user and value of item columns.

    Args:
        events: one row an event: the user, the item columns, and the time.
        user: the user column.
        time: the time column; numbers in any unit.
        until: the cut-off: later events are not seen.
        by: item columns.

    Every column has two numbers for a user and a value: *count*, the events; *recency*, the time
    from the last of them to the cut-off. Without any event the count is 0 and recency is missing.

    >>> events = pl.DataFrame({"u": [1, 1, 1], "kind": ["a", "a", "b"], "t": [1.0, 2.0, 9.0]})
    >>> history = History(events, "u", "t", 5.0, ("kind",))
    >>> history.columns(pl.DataFrame({"u": [1, 1], "kind": ["a", "b"]})).rows()
    [(2.0, 3.0), (0.0, None)]
    """

    events: pl.DataFrame
    user: str
    time: str
    until: float
    by: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in (self.user, self.time, *self.by):
            if name not in self.events.columns:
                raise DataError(f"The events have no column {name!r}.")

    @cached_property
    def past(self) -> pl.DataFrame:
        """The events up to the cut-off."""
        return self.events.filter(pl.col(self.time) <= self.until)

    @cached_property
    def users(self) -> pl.Series:
        """The users with past events, sorted."""
        return self.past[self.user].unique().sort()

    @cached_property
    def _entries(self) -> dict[str, _Entries]:
        owner = positions(self.past[self.user], self.users)
        time = self.past[self.time].cast(pl.Float64).to_numpy()
        return {by: _Entries.of(owner, self.past[by], self.until - time) for by in self.by}

    def columns(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Return the cross columns of pairs, in their order.

        Args:
            pairs: the user column and the item columns, one row a pair.
        """
        owner = positions(pairs[self.user], self.users)
        out = []
        for by, entries in self._entries.items():
            count, recency = (f.name for f in cross_fields(by))
            times, since = entries.look_up(owner, positions(pairs[by], entries.values))
            out += [pl.Series(count, times), pl.Series(recency, since, nan_to_null=True)]
        return pl.DataFrame(out)

    def tables(self, users: pl.Series, values: Mapping[str, pl.Series]) -> dict[str, CrossTable]:
        """Return the cross tables that serving looks up.

        Args:
            users: all users' ids.
            values: item column → the values that items have; others are left out.
        """
        tables = {}
        place = positions(self.users, users)
        for by, entries in self._entries.items():
            count, recency = (f.name for f in cross_fields(by))
            known = values[by].drop_nulls().unique().sort()
            owner, value = np.divmod(entries.keys, max(len(entries.values), 1))
            owner, key = place[owner], positions(entries.values, known)[value]
            kept = (owner >= 0) & (key >= 0)
            numbers = {count: entries.count[kept], recency: entries.recency[kept]}
            tables[by] = CrossTable.from_entries(
                owner[kept], key[kept], known.to_list(), numbers, len(users), {count: 0.0}
            )
        return tables


@dataclass(frozen=True, eq=False)
class _Entries:
    """Count and recency of each user and value that meet, by rising key = user · values + value."""

    values: pl.Series
    keys: NDArray[np.int64]
    count: NDArray[np.float32]
    recency: NDArray[np.float32]

    @classmethod
    def of(
        cls, owner: NDArray[np.int64], column: pl.Series, since: NDArray[np.float64]
    ) -> _Entries:
        values = column.drop_nulls().unique().sort()
        value = positions(column, values)
        known = value >= 0
        keys = owner[known] * max(len(values), 1) + value[known]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        recency = np.minimum.reduceat(since[known][order], starts) if len(keys) else since[:0]
        count = np.diff(np.append(starts, len(keys)))
        return cls(values, keys[starts], count.astype(np.float32), recency.astype(np.float32))

    def look_up(
        self, owner: NDArray[np.int64], value: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the counts (else 0) and recencies (else NaN) of pairs; -1 = not known."""
        if not len(self.keys):
            return np.zeros(len(owner), np.float32), np.full(len(owner), np.nan, np.float32)
        wanted = owner * max(len(self.values), 1) + value
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        met = (self.keys[at] == wanted) & (owner >= 0) & (value >= 0)
        count = np.where(met, self.count[at], np.float32(0))
        return count, np.where(met, self.recency[at], np.float32(np.nan))
