"""A log of what users took, made a table of what they took and what they did not.

Negatives are drawn for each window by itself (training, validation, test rows), and a window knows
no row after its end:

- *Candidates* are the items that anyone took up to the window's end, and their popularity counts
  the users up to there.
- A negative is no item that its user takes in the window, be it earlier or later. Where nobody
  takes an item twice in the training rows, it is none of the windows before either: such items are
  not recommended again. Where users do, an item of an earlier window may be one that is not taken
  now.
- What a user takes in a later window is drawn for training as any other item. Were it left out,
  its absence would give the later label away.

A negative belongs to an event, a positive row of its user, and has its time, its user's columns
and its context; the item's columns are those of the item's latest row up to the event (of its
first row, where the event came before the item was first taken).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.disk_frame import DiskFrame, Frame, Reader
from recprune.data.extras import Extras
from recprune.data.ids import positions
from recprune.data.negatives import Drawn, Negatives, popularity_of, sample_negatives
from recprune.data.profiles import repeats
from recprune.data.quality import Finding, Severity
from recprune.data.table import Table
from recprune.errors import DataError

__all__ = ["Sampled", "with_negatives"]

Index = NDArray[np.int64]


class Sampled(NamedTuple):
    """A table with negatives, the rows of its parts, the share that was drawn, and what was found.

    The share is of all pairs of a user of the first part and an item that could be drawn for it;
    None = nothing was drawn.
    """

    table: Table
    rows: list[Index]
    rate: float | None
    findings: tuple[Finding, ...]


def with_negatives(
    table: Table, how: Negatives | None, parts: Sequence[Index], seed: int
) -> Sampled:
    """Return the table with negatives for each part as further rows, and the parts with them.

    Args:
        table: positives alone.
        how: to draw; None = the table stays as it is.
        parts: rows of consecutive windows.
        seed: of the draw: the same rows give the same negatives, also in another order (rows of
            one user, time and item aside, which are told apart by their order alone).

    Raises:
        DataError: a cross field, whose value for another item is not known.
    """
    if how is None:
        return Sampled(table, list(parts), None, ())
    cross = [f.name for f in table.schema.fields if f.source == "cross"]
    if cross:
        raise DataError(
            f"Cross field {cross[0]!r} has no value for items that a user did not take. Drop it, "
            "or draw the negatives yourself and use Dataset.from_splits."
        )
    log = _Log.of(table)
    again = repeats(table, parts[0])
    events: list[Index] = []
    donors, drawn, whole = [], [], []
    for number, rows in enumerate(parts):
        draws = stream(seed, "negatives", number)
        so_far = np.concatenate(parts[: number + 1])
        some = log.draw(rows, rows if again else so_far, so_far, how, draws)
        start = len(table.label) + sum(len(each) for each in events)
        event = log.deal(rows, some.users, draws)
        events.append(event)
        donors.append(log.donors(so_far, some.items, event))
        whole.append(np.concatenate([rows, np.arange(start, start + len(event))]))
        drawn.append(some)
    first = drawn[0]
    rate = len(first.users) / first.unobserved if first.unobserved else None
    longer = _extended(table, np.concatenate(events), np.concatenate(donors))
    return Sampled(longer, whole, rate, _findings(table, log, parts, drawn, how))


@dataclass(frozen=True, eq=False)
class _Log:
    """Rows as numbers: users and items by position, moments by rank (None without times)."""

    users: Index
    items: Index
    moments: Index | None
    n_items: int

    @classmethod
    def of(cls, table: Table) -> _Log:
        schema, frame = table.schema, table.frame
        users, items = (frame[c] for c in (str(schema.user), str(schema.item)))
        moments = None
        if table.time is not None:
            moments = np.unique(table.time, return_inverse=True)[1].astype(np.int64)
        catalogue = items.unique().sort()
        owner = positions(users, users.unique().sort())
        return cls(owner, positions(items, catalogue), moments, len(catalogue))

    def draw(
        self, rows: Index, known: Index, so_far: Index, how: Negatives, draws: np.random.Generator
    ) -> Drawn:
        """Draw negatives for the positives in ``rows``, none of them a pair in ``known``."""
        popularity = popularity_of(self.users[so_far], self.items[so_far], self.n_items)
        # Items that come later are not even counted: their number alone would move the draws.
        catalogue = np.flatnonzero(popularity)
        place = np.cumsum(popularity > 0) - 1
        pairs = self.users[known], place[self.items[known]]
        some = sample_negatives(
            self.users[rows], place[self.items[rows]], popularity[catalogue], how, draws, pairs
        )
        return some._replace(items=catalogue[some.items])

    def deal(self, rows: Index, users: Index, draws: np.random.Generator) -> Index:
        """Return the event of each negative: its user's events get equally many, at random.

        Args:
            rows: the events.
            users: each negative's user, sorted.
            draws: the random stream.
        """
        keys = [self.items[rows], self.users[rows]]
        if self.moments is not None:
            keys.insert(1, self.moments[rows])
        rows = rows[np.lexsort(keys)]
        count = np.bincount(self.users[rows], minlength=int(self.users.max()) + 1)
        start = np.cumsum(count) - count
        # One key of user and chance sorts several times faster than two.
        mixed = np.argsort((users << 32) | draws.integers(1 << 32, size=len(users)))
        drawn = np.bincount(users, minlength=len(count))
        place = np.arange(len(users)) - (np.cumsum(drawn) - drawn)[users]
        event = np.empty(len(users), np.int64)
        event[mixed] = rows[start[users] + place % count[users]]
        return event

    def donors(self, rows: Index, items: Index, events: Index) -> Index:
        """Return the row of ``rows`` that each negative has its item's columns from."""
        moments = self.moments if self.moments is not None else np.zeros(len(self.items), np.int64)
        n = int(moments.max(initial=0)) + 1
        keys = self.items[rows] * n + moments[rows]
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        first = np.searchsorted(keys, np.arange(self.n_items) * n)[items]
        if self.moments is None:
            return rows[first]
        wanted = items * n + moments[events]
        rising = np.argsort(wanted)  # searching in order stays in the cache
        latest = np.empty(len(wanted), np.int64)
        latest[rising] = np.searchsorted(keys, wanted[rising], side="right") - 1
        return rows[np.maximum(first, latest)]


def _extended(table: Table, events: Index, donors: Index) -> Table:
    """Return the table with a row of 0 for each event, its item's columns from the donor.

    Of a table on disk, the columns stay there; a weight is the event's, other outcomes are 0.
    """
    frame, extras, schema = table.frame, table.extras, table.schema
    of_item = {str(schema.item), *(f.name for f in schema.fields if f.source == "item")}
    longer = {c: _Longer(frame, c, donors if c in of_item else events) for c in frame.columns}
    n = len(frame) + len(events)
    none = np.zeros(len(events), np.float32)
    weight = None if extras.weight is None else np.append(extras.weight, extras.weight[events])
    return replace(
        table,
        frame=DiskFrame({c: Reader(read.whole, read.part) for c, read in longer.items()}, n)
        if isinstance(frame, DiskFrame)
        else pl.DataFrame([read.whole() for read in longer.values()]),
        label=np.append(table.label, none),
        extras=Extras(
            weight if weight is None else weight / weight.mean(),
            {name: np.append(label, none) for name, label in extras.labels.items()},
            None if extras.time is None else np.append(extras.time, extras.time[events]),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Longer:
    """A column with some of its rows again, behind all rows."""

    frame: Frame
    column: str
    again: Index

    def whole(self) -> pl.Series:
        series: pl.Series = self.frame[self.column]
        return pl.concat([series, series[self.again]])

    def part(self, start: int, stop: int) -> pl.Series:
        n, series = len(self.frame), self.frame[self.column]
        again = self.again[max(start - n, 0) : max(stop - n, 0)]
        return pl.concat([series[start : max(min(stop, n), start)], series[again]])


def _findings(
    table: Table, log: _Log, parts: Sequence[Index], drawn: Sequence[Drawn], how: Negatives
) -> tuple[Finding, ...]:
    """Say how many were drawn, and whose items were used up."""
    total, pairs = sum(len(d.users) for d in drawn), drawn[0].unobserved
    share = len(drawn[0].users) / pairs if pairs else 0.0
    action = (
        f"drawn as rows of 0 by {how.by}, {how.per_positive} for each item a user took; for "
        f"training {share:.3g} of the {pairs} pairs that could be drawn"
    )
    found = [Finding("negatives", table.schema.label, "info", total, action)]
    short = sum(len(d.short) for d in drawn)
    none = sum(len(d.empty) for d in drawn)
    rows_of = sum(
        int(np.isin(log.users[r], d.short).sum()) for r, d in zip(parts, drawn, strict=True)
    )
    if short:
        action = (
            f"given fewer negatives than stated: {short} users took so many items that too few are "
            f"left, {none} of them took all and have none"
        )
        severity: Severity = "warning" if none else "info"
        found.append(Finding("few items left", str(table.schema.item), severity, rows_of, action))
    return tuple(found)
