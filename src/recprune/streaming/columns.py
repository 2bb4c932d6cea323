"""The fields' columns of a chunk of events as texts, and their hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.bags import Sequence as Bag
from recprune.data.date_fields import moments, part_of
from recprune.data.frames import as_text
from recprune.lookups import Lookup
from recprune.schema import Field
from recprune.streaming.hashes import MISSING, hashed
from recprune.streaming.keys import Hashes

__all__ = ["Lists", "keys_of", "salt_of", "valid", "values_of"]


PLAIN = (pl.Boolean, pl.Categorical, pl.Enum)
LISTS = pl.List(pl.String)


def values_of(frame: pl.DataFrame, field: Field, part: Lookup, time: str | None) -> pl.Series:
    """Return a field's column, derived from its date's if it is a part of one.

    Texts for categories and the elements of lists, numbers as they are. A column that is absent is
    missing.
    """
    name, kind, columns = field.name, field.kind, frame.columns
    if name in columns:
        series = frame[name]
    elif field.of in columns:
        assert field.of is not None
        assert field.part is not None
        aged = field.part == "age" and time in columns and time != field.of
        now = moments(frame[str(time)]) if aged else None
        series = part_of(moments(frame[field.of]), field.part, now).alias(name)
    else:
        series = pl.Series(name, [None] * len(frame))
    if kind == "sequence":
        if series.dtype == pl.String and isinstance(part, Bag) and part.separator:
            series = series.str.split(part.separator)
        return series if series.dtype == LISTS else series.cast(LISTS)
    if kind == "dense":
        width = pl.Array(pl.Float64, part.width)
        return series.cast(pl.List(pl.Float64)).cast(width)
    if kind == "categorical" and series.dtype != pl.String:
        plain = series.dtype.is_integer() or series.dtype in PLAIN
        return series.cast(pl.String) if plain else as_text(series)
    return series


def keys_of(series: pl.Series, salt: int) -> tuple[Hashes, NDArray[np.int32]]:
    """Return each text's key and its bytes, shape (n,); an empty text is a missing one."""
    keys, lengths = hashed(series, salt)
    if not lengths.all():
        keys[lengths == 0] = MISSING ^ salt
    return keys, lengths


class Lists:
    """Columns of lists, their elements one after the other, without missing ones.

    Args:
        columns: G of them, each (n,).
        salts: of their keys.
        n: events.
    """

    def __init__(self, columns: Sequence[pl.Series], salts: Sequence[int], n: int) -> None:
        given = pl.element()
        lists = [c.list.eval(given.filter(given != "")) for c in columns]
        #: Elements of each list, shape (G, n).
        self.counts = np.zeros((len(lists), n), np.int64)
        for count, series in zip(self.counts, lists, strict=True):
            count[:] = series.list.len().fill_null(0).to_numpy()
        ends = self.counts.ravel().cumsum().reshape(self.counts.shape)
        #: Where each list's elements begin among all, and where the last's end, shape (G, n + 1).
        self.starts = np.zeros((len(lists), n + 1), np.int64)
        self.starts[:, 1:] = ends
        self.starts[1:, 0] = self.starts[:-1, -1]
        #: Each column's elements, and where they stand among all.
        self.flat = [c.explode(empty_as_null=False, keep_nulls=False) for c in lists]
        self.parts = [slice(int(at[0]), int(at[-1])) for at in self.starts]
        found = [keys_of(c, salt) for c, salt in zip(self.flat, salts, strict=True)]
        self.keys = np.concatenate([np.empty(0, np.uint64), *(h for h, _ in found)])
        self.lengths = np.concatenate([np.empty(0, np.int32), *(size for _, size in found)])

    def most(self, batch: int) -> int:
        """Return the most elements that so many events in a row have."""
        if not self.counts.size:
            return 0
        blocks = np.arange(0, self.counts.shape[1], batch)
        return int(np.add.reduceat(self.counts.sum(axis=0), blocks).max())


def salt_of(field: int) -> int:
    """Return what tells a field's keys from those of others, by its position."""
    return (field + 1) * 0xD1B54A32D192ED03 % (1 << 64)


def valid(text: str | None) -> str | None:
    """Return a text as Polars can hold it: without halves of surrogate pairs, which no event has."""
    if text is None:
        return None
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
