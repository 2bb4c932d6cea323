"""What the checks look at: a table's columns as they were read, its label and its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.dataset import Dataset
from recprune.data.disk_frame import Frame
from recprune.data.draft import Draft
from recprune.data.frames import comparable
from recprune.data.quality import Finding, duplicate_columns, fingerprint

__all__ = ["Sheet", "some_rows"]

#: Shares of the rows that train and test where a table is not split, as in ``Dataset.split``.
TRAIN, TEST = 0.7, 0.15
#: Rows that are looked at where all would cost time and change little; fewer of wide tables, whose
#: cells count, but not so few that nothing can be told.
SAMPLE, CELLS, LEAST = 50_000, 20_000_000, 5_000
#: Of a larger table on disk, so many rows are looked at in all; and rows that tell columns apart.
MOST_ROWS, FEW = 1_000_000, 5000
#: From so many values in the sample on, whole numbers and texts are counted in all rows.
EXACT = 1000


class Window(NamedTuple):
    """Some rows of a part: columns, labels of shape ``(n,)`` or None, and how many rows it has."""

    frame: pl.DataFrame
    label: NDArray[np.float32] | None
    rows: int


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table under check.

    Args:
        frame: plain columns: fields, user and item; lists as text.
        kinds: field → its kind.
        roles: role (``label``, ``user``, ``item``, ``time``) → column.
        label: 0, 1 or NaN (missing), shape ``(n,)``; None = there is none, or it is not 0/1.
        time: orders the rows, shape ``(n,)``; None = nothing does.
        parts: of the rows that train, and of those that test, at most 50,000 drawn at random.
    """

    frame: pl.DataFrame
    kinds: Mapping[str, str]
    roles: Mapping[str, str]
    label: NDArray[np.float32] | None
    time: NDArray[Any] | None
    parts: tuple[Window, Window]

    @classmethod
    def of_draft(cls, draft: Draft) -> Sheet:
        """Take a table that ``run`` would refuse, or that has no label.

        Its parts are the first 70 and the last 15 per cent in time, or without time as many at
        random.
        """
        frame, label = _flat(draft.frame), draft.label
        place = _places(len(frame), draft.time)
        parts = (np.flatnonzero(place <= TRAIN), np.flatnonzero(place > 1 - TEST))
        train, test = (
            _window(frame[at], None if label is None else label[at], frame.columns) for at in parts
        )
        return cls(frame, draft.kinds, draft.roles, label, draft.time, (train, test))

    @classmethod
    def of_dataset(cls, data: Dataset) -> Sheet:
        """Take the rows of a split data set, with the parts that it was split into.

        Of a table on disk with more than a million rows, a million are taken, evenly spread.
        """
        schema = data.schema
        roles = {role: getattr(schema, role) for role in ("label", "user", "item", "time")}
        roles = {role: name for role, name in roles.items() if name is not None}
        kinds = {f.name: str(f.kind) for f in schema.fields}
        ids = [roles[role] for role in ("user", "item") if role in roles]
        names = list(dict.fromkeys([*kinds, *ids]))
        train, test = (_window(s.columns, s.label, names) for s in (data.train, data.test))
        if data.table is not None:
            table = data.table.loaded(MOST_ROWS)
            whole, label, time = table.held, table.label, table.time
        else:
            every = (data.train, data.valid, data.test)
            held = [s.columns.select(*names) for s in every]
            whole = pl.concat(held, how="vertical_relaxed")
            label, time = np.concatenate([s.label for s in every]), None
        kinds = {name: kind for name, kind in kinds.items() if name not in ids}
        return cls(_flat(whole.select(names)), kinds, roles, label, time, (train, test))

    @property
    def fields(self) -> list[str]:
        """Names of the fields of one number or one category a row; no ids."""
        return [n for n, kind in self.kinds.items() if kind in ("categorical", "numeric")]

    @property
    def texts(self) -> list[str]:
        """Names of the fields that hold text."""
        return [n for n in self.fields if self.frame[n].dtype == pl.String]

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric fields."""
        return [n for n, kind in self.kinds.items() if kind == "numeric"]

    @cached_property
    def words(self) -> Mapping[str, pl.Series]:
        """Field of text → its different values."""
        return {n: self.frame[n].drop_nulls().unique() for n in self.texts}

    @cached_property
    def distinct(self) -> Mapping[str, int]:
        """Field → number of different values, missing ones aside: of whole numbers and texts if
        there are more than 1,000, else at least so many (those of 50,000 rows).
        """
        seen = {
            n: self.some(self.frame[n]).drop_nulls().n_unique()
            for n in self.fields
            if n not in self.words
        }
        seen |= {n: len(values) for n, values in self.words.items()}
        more = [n for n in self.fields if seen[n] > EXACT and self.frame[n].dtype.is_integer()]
        return seen | {n: self.frame[n].drop_nulls().n_unique() for n in more}

    @cached_property
    def twins(self) -> tuple[Finding, ...]:
        """The fields that equal an earlier one in every row."""
        # A few rows tell most columns apart; only those that agree in them are compared in all.
        some = {n: fingerprint(self.some(self.frame[n], FEW)) for n in self.fields}
        alike = Counter(some.values())
        return tuple(duplicate_columns((n, self.frame[n]) for n in some if alike[some[n]] > 1))

    def some(self, column: pl.Series, rows: int = SAMPLE) -> pl.Series:
        """Return evenly spaced values of a column, at most so many."""
        most = min(rows, _rows(self.frame.width))
        return column.gather_every(max(1, -(-len(column) // most)))

    @cached_property
    def taught(self) -> tuple[pl.DataFrame, NDArray[np.float64]]:
        """Fields and labels of some rows that train and have a label."""
        train = self.parts[0]
        assert train.label is not None
        known = ~np.isnan(train.label)
        frame = train.frame.select(self.fields).filter(pl.Series(known))
        return frame, train.label[known].astype(np.float64)


def some_rows(frame: Frame) -> pl.DataFrame:
    """Return a frame in memory; of a larger one on disk a million rows, evenly spread."""
    if isinstance(frame, pl.DataFrame):
        return frame
    at = np.linspace(0, len(frame) - 1, min(MOST_ROWS, len(frame))).astype(np.int64)
    held: pl.DataFrame = frame[at].select(*frame.columns)
    return held


def _rows(columns: int) -> int:
    """Return how many rows are looked at where all would cost time."""
    return max(LEAST, min(SAMPLE, CELLS // max(1, columns)))


def _window(frame: Frame, label: NDArray[np.float32] | None, names: Sequence[str]) -> Window:
    n, most = len(frame), _rows(len(names))
    at = np.arange(n)
    if n > most:
        at = np.sort(stream(0, "check", "rows").choice(n, most, replace=False))
    return Window(
        _flat(frame[at].select(*names)),
        None if label is None else label[at],
        n,
    )


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with lists as text."""
    return frame.with_columns(comparable(c) for c in frame if c.dtype.is_nested())


def _places(n: int, time: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return where each row stands, in (0, 1], in order of time (equal times together) or chance."""
    if time is None:
        return (stream(0, "check").permutation(n) + 1) / max(n, 1)
    ranks = pl.Series(time).rank("max").fill_null(1)
    return ranks.to_numpy() / max(n, 1)
