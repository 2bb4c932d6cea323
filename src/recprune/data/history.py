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

from recprune.data.ids import positions
from recprune.errors import DataError
from recprune.histories import CrossTable
from recprune.schema import Field

__all__ = ["History", "cross_fields"]

Index = NDArray[np.int64]
Numbers = NDArray[np.float32]


def cross_fields(by: str) -> tuple[Field, Field]:
    """Return the two cross fields of an item column: how often, and how long ago.

    >>> [field.name for field in cross_fields("brand")]
    ['count_by_brand', 'recency_by_brand']
    """
    return (
        Field(f"count_by_{by}", "numeric", "cross", by=by),
        Field(f"recency_by_{by}", "numeric", "cross", by=by),
    )


@dataclass(frozen=True, eq=False)
class History:
    """Events by user and value of item columns, to be asked as of any moment.

    Args:
        events: one row an event: the user, the item columns, and the time.
        user: the user column.
        time: the time column; numbers in any unit.
        by: item columns.

    Every column has two numbers for a user and a value: *count*, the events up to the moment;
    *recency*, the time from the last of them to the moment. Without any event the count is 0 and
    recency is missing. Events after the moment are never seen.

    >>> events = pl.DataFrame({"u": [1, 1, 1], "kind": ["a", "a", "b"], "t": [1.0, 2.0, 9.0]})
    >>> history = History(events, "u", "t", ("kind",))
    >>> history.columns(pl.DataFrame({"u": [1, 1], "kind": ["a", "b"]}), until=5.0).rows()
    [(2.0, 3.0), (0.0, None)]
    """

    events: pl.DataFrame
    user: str
    time: str
    by: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in (self.user, self.time, *self.by):
            if name not in self.events.columns:
                raise DataError(f"The events have no column {name!r}.")

    @cached_property
    def users(self) -> pl.Series:
        """The users with events, sorted."""
        return self.events[self.user].unique().sort()

    @cached_property
    def _sorted(self) -> dict[str, _Events]:
        owner = positions(self.events[self.user], self.users)
        time = self.events[self.time].cast(pl.Float64).to_numpy()
        return {by: _Events.of(owner, self.events[by], time) for by in self.by}

    def columns(self, pairs: pl.DataFrame, until: float) -> pl.DataFrame:
        """Return the cross columns of pairs, in their order.

        Args:
            pairs: the user column and the item columns, one row a pair.
            until: the moment.
        """
        owner = positions(pairs[self.user], self.users)
        out = []
        for by, events in self._sorted.items():
            count, recency = (f.name for f in cross_fields(by))
            entries = events.until(until)
            wanted = events.keys_of(owner, positions(pairs[by], events.values))
            times, since = entries.look_up(wanted)
            out += [pl.Series(count, times), pl.Series(recency, since, nan_to_null=True)]
        return pl.DataFrame(out)

    def tables(
        self, users: pl.Series, values: Mapping[str, pl.Series], until: float
    ) -> dict[str, CrossTable]:
        """Return the cross tables that serving looks up.

        Args:
            users: all users' ids.
            values: item column → the values that items have; others are left out.
            until: the moment.
        """
        tables = {}
        place = positions(self.users, users)
        for by, events in self._sorted.items():
            count, recency = (f.name for f in cross_fields(by))
            entries = events.until(until)
            known = values[by].drop_nulls().unique().sort()
            owner, value = np.divmod(entries.keys, max(len(events.values), 1))
            owner, key = place[owner], positions(events.values, known)[value]
            kept = (owner >= 0) & (key >= 0)
            numbers = {count: entries.count[kept], recency: entries.recency[kept]}
            tables[by] = CrossTable.from_entries(
                owner[kept], key[kept], known.to_list(), numbers, len(users), {count: 0.0}
            )
        return tables


@dataclass(frozen=True, eq=False)
class _Events:
    """All events of one item column, sorted by key = user · values + value."""

    values: pl.Series
    keys: Index
    time: NDArray[np.float64]

    @classmethod
    def of(cls, owner: Index, column: pl.Series, time: NDArray[np.float64]) -> _Events:
        values = column.drop_nulls().unique().sort()
        value = positions(column, values)
        known = (value >= 0) & (owner >= 0)
        keys = owner[known] * max(len(values), 1) + value[known]
        order = np.argsort(keys, kind="stable")
        return cls(values, keys[order], time[known][order])

    def keys_of(self, owner: Index, value: Index) -> Index:
        """Return the keys of pairs; -1 where the user or the value is not known."""
        known = (owner >= 0) & (value >= 0)
        return np.where(known, owner * max(len(self.values), 1) + value, -1)

    def until(self, moment: float) -> _Entries:
        past = self.time <= moment
        keys, since = self.keys[past], moment - self.time[past]
        if not len(keys):
            return _Entries(keys, np.empty(0, np.float32), np.empty(0, np.float32))
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        count = np.diff(np.append(starts, len(keys)))
        recency = np.minimum.reduceat(since, starts)
        return _Entries(keys[starts], count.astype(np.float32), recency.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Entries:
    """Count and recency of each user and value that met, by rising key."""

    keys: Index
    count: Numbers
    recency: Numbers

    def look_up(self, wanted: Index) -> tuple[Numbers, Numbers]:
        """Return the counts (else 0) and recencies (else NaN) of keys."""
        if not len(self.keys):
            return np.zeros(len(wanted), np.float32), np.full(len(wanted), np.nan, np.float32)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        met = self.keys[at] == wanted
        count = np.where(met, self.count[at], np.float32(0))
        return count, np.where(met, self.recency[at], np.float32(np.nan))
