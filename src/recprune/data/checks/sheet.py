"""What the checks look at: a table's columns as they were read, its label and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.dataset import Dataset
from recprune.data.quality import Finding, duplicate_columns
from recprune.data.draft import Draft

__all__ = ["Sheet"]

#: Shares of the rows that train and test where a table is not split, as in ``Dataset.split``.
TRAIN, TEST = 0.7, 0.15
#: Rows that are looked at where all would cost time and change little; fewer of wide tables, whose
#: cells count, but not so few that nothing can be told.
SAMPLE, CELLS, LEAST = 50_000, 20_000_000, 5_000
#: From so many values in the sample on, whole numbers and texts are counted in all rows.
EXACT = 1000


class Window(NamedTuple):
    """The rows of one part: columns, and labels of shape ``(n,)``, None without any."""

    frame: pl.DataFrame
    label: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table under check.

    Args:
        frame: plain columns: fields, user and item.
        kinds: field → ``"categorical"`` or ``"numeric"``.
        roles: role (``label``, ``user``, ``item``, ``time``) → column.
        label: 0, 1 or NaN (missing), shape ``(n,)``; None = there is none, or it is not 0/1.
        time: orders the rows, shape ``(n,)``; None = nothing does.
        parts: the rows that train, and those that test.
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
        frame, label, time = draft.frame, draft.label, draft.time
        place = _places(len(frame), time)
        masks = place <= TRAIN, place > 1 - TEST
        train, test = (
            Window(frame.filter(pl.Series(m)), None if label is None else label[m]) for m in masks
        )
        return cls(frame, draft.kinds, draft.roles, label, time, (train, test))

    @classmethod
    def of_dataset(cls, data: Dataset) -> Sheet:
        """Take the rows of a split data set, with the parts that it was split into."""
        schema = data.schema
        roles = {role: getattr(schema, role) for role in ("label", "user", "item", "time")}
        roles = {role: name for role, name in roles.items() if name is not None}
        ids = {schema.user, schema.item}
        columns = data.train.columns
        kinds = {f.name: f.kind for f in schema.fields if f.name not in ids}
        kinds = {n: k for n, k in kinds.items() if not columns[n].dtype.is_nested()}
        names = [*kinds, *(roles[r] for r in ("user", "item") if r in roles)]
        parts = [Window(s.columns.select(names), s.label) for s in (data.train, data.test)]
        if data.table is not None:
            whole, label, time = data.table.frame.select(names), data.table.label, data.table.time
        else:
            parts.insert(1, Window(data.valid.columns.select(names), data.valid.label))
            whole = pl.concat([p.frame for p in parts], how="vertical_relaxed")
            label = np.concatenate([s.label for s in (data.train, data.valid, data.test)])
            time = None
        return cls(whole, kinds, roles, label, time, (parts[0], parts[-1]))

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
        return tuple(duplicate_columns({n: self.frame[n] for n in self.fields}))

    @property
    def rows(self) -> int:
        """How many rows are looked at where all would cost time: 50,000, fewer of wide tables."""
        return max(LEAST, min(SAMPLE, CELLS // max(1, self.frame.width)))

    def some(self, column: pl.Series, rows: int = SAMPLE) -> pl.Series:
        """Return evenly spaced values of a column, at most so many."""
        most = min(rows, self.rows)
        return column.gather_every(max(1, -(-len(column) // most)))

    @cached_property
    def taught(self) -> tuple[pl.DataFrame, NDArray[np.float64]]:
        """Fields and labels of some rows that train and have a label, drawn at random."""
        train, label = self.parts[0]
        assert label is not None
        at = np.flatnonzero(~np.isnan(label))
        if len(at) > self.rows:
            at = np.sort(stream(0, "check", "rows").choice(at, self.rows, replace=False))
        return train.select(self.fields)[at], label[at].astype(np.float64)


def _places(n: int, time: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return where each row stands, in (0, 1], in order of time (equal times together) or chance."""
    if time is None:
        return (stream(0, "check").permutation(n) + 1) / max(n, 1)
    ranks = pl.Series(time).rank("max").fill_null(1)
    return ranks.to_numpy() / max(n, 1)
