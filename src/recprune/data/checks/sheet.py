"""What the checks look at: a table's columns as they were read, its label and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.dataset import Dataset
from recprune.data.infer import read_time
from recprune.data.quality import Finding, duplicate_columns
from recprune.data.reading import Reading

__all__ = ["Sheet"]

#: Shares of the rows that train and test where a table is not split, as in ``Dataset.split``.
TRAIN, TEST = 0.7, 0.15
#: Rows that are looked at where all would cost time and change little.
SAMPLE = 50_000
#: From so many values in the sample on, whole numbers and texts are counted in all rows.
EXACT = 1000


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table under check.

    Args:
        frame: plain columns: fields, user and item; not the label.
        kinds: field → ``"categorical"``, ``"numeric"``, ``"date"``, or None (no or one value).
        roles: role (``label``, ``user``, ``item``, ``time``) → column.
        label: 0, 1 or NaN (missing), shape ``(n,)``; None = there is none, or it is not 0/1.
        part: 0 = trains, 1 = validates, 2 = tests, shape ``(n,)``.
        times: times and labels of the rows in any one order, each shape ``(m,)``; None = no time.
    """

    frame: pl.DataFrame
    kinds: Mapping[str, str | None]
    roles: Mapping[str, str]
    label: NDArray[np.float32] | None
    part: NDArray[np.int64]
    times: tuple[NDArray[Any], NDArray[np.float32]] | None = None

    @classmethod
    def of_reading(cls, reading: Reading) -> Sheet:
        """Take a table that ``run`` would refuse, or that has no label.

        Its parts are the first 70 and the last 15 per cent in time, or without time as many at
        random.
        """
        roles = {**reading.roles}
        time = reading.frame[roles["time"]] if "time" in roles else None
        part = _parts(len(reading.frame), time)
        times = None
        if time is not None and reading.label is not None:
            clock = read_time(time)
            known = ~np.isnan(reading.label) & clock.is_not_null().to_numpy()
            times = clock.filter(pl.Series(known)).to_numpy(), reading.label[known]
        return cls(reading.frame, reading.kinds, roles, reading.label, part, times)

    @classmethod
    def of_dataset(cls, data: Dataset) -> Sheet:
        """Take the rows of a split data set, with the parts that it was split into."""
        splits = (data.train, data.valid, data.test)
        schema = data.schema
        given = {role: getattr(schema, role) for role in ("label", "user", "item", "time")}
        roles = {role: name for role, name in given.items() if name is not None}
        ids = {schema.user, schema.item} - {None}
        kinds: dict[str, str | None] = {f.name: f.kind for f in schema.fields if f.name not in ids}
        columns = data.train.columns
        names = [n for n in (*kinds, *ids) if n is not None and n in columns.columns]
        names = [n for n in names if not columns[n].dtype.is_nested()]
        frame = pl.concat([s.columns.select(names) for s in splits], how="vertical_relaxed")
        label = np.concatenate([s.label for s in splits])
        part = np.repeat(np.arange(3), [len(s) for s in splits])
        times = None
        if data.table is not None and data.table.time is not None:
            times = data.table.time, data.table.label
        return cls(frame, {n: kinds[n] for n in names if n in kinds}, roles, label, part, times)

    @property
    def fields(self) -> list[str]:
        """Names of the columns that a model may learn from: all but label, ids and time."""
        return list(self.kinds)

    @property
    def texts(self) -> list[str]:
        """Names of the fields that hold text."""
        return [n for n in self.kinds if self.frame[n].dtype == pl.String]

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric fields."""
        return [n for n, kind in self.kinds.items() if kind == "numeric"]

    @property
    def usable(self) -> list[str]:
        """Names of the fields that vary and are one number or one category a row."""
        return [n for n, kind in self.kinds.items() if kind in ("categorical", "numeric")]

    @cached_property
    def words(self) -> Mapping[str, pl.Series]:
        """Field of text → its different values."""
        return {n: self.frame[n].drop_nulls().unique() for n in self.texts}

    @cached_property
    def distinct(self) -> Mapping[str, int]:
        """Field → number of different values, missing ones aside: of whole numbers and texts if
        there are more than 1,000, else at least so many (those of 50,000 rows).
        """
        seen = {n: self.some(n).drop_nulls().n_unique() for n in self.fields if n not in self.words}
        seen |= {n: len(values) for n, values in self.words.items()}
        more = [n for n in self.fields if seen[n] > EXACT and self.frame[n].dtype.is_integer()]
        return seen | {n: self.frame[n].drop_nulls().n_unique() for n in more}

    @cached_property
    def twins(self) -> tuple[Finding, ...]:
        """The fields that equal an earlier one in every row."""
        return tuple(duplicate_columns({n: self.frame[n] for n in self.usable}))

    def some(self, name: str, rows: int = SAMPLE) -> pl.Series:
        """Return a column's values in evenly spaced rows, at most so many."""
        return self.frame[name].gather_every(max(1, -(-len(self.frame) // rows)))

    def taught(self, rows: int = SAMPLE) -> tuple[pl.DataFrame, NDArray[np.float64]]:
        """Return fields and labels of at most so many rows that are labelled and do not test."""
        assert self.label is not None
        at = np.flatnonzero(~np.isnan(self.label) & (self.part != 2))
        if len(at) > rows:
            at = np.sort(stream(0, "check", "rows").choice(at, rows, replace=False))
        return self.frame.select(self.usable)[at], self.label[at].astype(np.float64)

    @cached_property
    def windows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Evenly spaced rows of those that train, and of those that test: at most 50,000 each."""
        train, test = (
            at[:: max(1, -(-len(at) // SAMPLE))]
            for at in (np.flatnonzero(self.part == part) for part in (0, 2))
        )
        return train, test


def _parts(n: int, time: pl.Series | None) -> NDArray[np.int64]:
    if time is None:
        place: NDArray[Any] = stream(0, "check").permutation(n) / max(n, 1)
    else:
        ranks = time.rank("min").fill_null(0)  # rows of equal time stay together
        place = ranks.to_numpy() / max(n, 1)
    part: NDArray[np.int64] = np.digitize(place, [TRAIN, 1 - TEST]).astype(np.int64)
    return part
