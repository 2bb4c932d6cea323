"""Histories: what each user did with each value of an item column up to a moment, and not after.

One :class:`History` gives the same numbers twice: as columns of (user, item) pairs for training,
and as the cross tables that serving looks up, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def entries(self, by: str) -> pl.DataFrame:
        """Return count and recency of each user and value that meet, sorted by both."""
        count, recency = (f.name for f in cross_fields(by))
        return (
            self.past.drop_nulls(by)
            .group_by(self.user, by)
            .agg(
                pl.len().cast(pl.Float32).alias(count),
                (self.until - pl.col(self.time).max()).cast(pl.Float32).alias(recency),
            )
            .sort(self.user, by)
        )

    def columns(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Return the cross columns of pairs, in their order.

        Args:
            pairs: the user column and the item columns, one row a pair.
        """
        out = []
        for by in self.by:
            count, recency = (f.name for f in cross_fields(by))
            joined = pairs.select(self.user, by).join(
                self.entries(by), on=[self.user, by], how="left", maintain_order="left"
            )
            out += [joined[count].fill_null(0.0), joined[recency]]
        return pl.DataFrame(out)

    def tables(self, users: pl.Series, values: dict[str, pl.Series]) -> dict[str, CrossTable]:
        """Return the cross tables that serving looks up.

        Args:
            users: all users' ids.
            values: item column → the values that items have; others are left out.
        """
        return {by: self._table(by, users, values[by]) for by in self.by}

    def _table(self, by: str, users: pl.Series, values: pl.Series) -> CrossTable:
        known = values.drop_nulls().unique().sort()
        entries = self.entries(by)
        owner, key = positions(entries[self.user], users), positions(entries[by], known)
        kept: NDArray[np.bool_] = (owner >= 0) & (key >= 0)
        names: Sequence[str] = [f.name for f in cross_fields(by)]
        numbers = {name: entries[name].to_numpy()[kept] for name in names}
        defaults = {names[0]: 0.0}
        return CrossTable.from_entries(
            owner[kept], key[kept], known.to_list(), numbers, len(users), defaults
        )
