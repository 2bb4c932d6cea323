"""Ids of users and items: their types, their texts, and their positions in a list."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.frames import as_text, widened
from recprune.data.infer import typed
from recprune.texts import text

__all__ = ["id_texts", "positions", "read_id"]

#: Larger whole floats no longer tell neighbours apart.
EXACT = 2.0**53


def id_texts(ids: pl.Series) -> list[str]:
    """Return ids as the text that all parts know them by."""
    return [str(text(i)) for i in ids.to_list()]


def positions(values: pl.Series, ids: pl.Series) -> NDArray[np.int64]:
    """Return each value's position in ``ids`` (without repeats); -1 = not there.

    >>> positions(pl.Series(["b", "x", "a"]), pl.Series(["a", "b"])).tolist()
    [1, -1, 0]
    """
    place = pl.Series(np.arange(len(ids)))
    found = values.replace_strict(ids, place, default=-1, return_dtype=pl.Int64)
    return found.to_numpy()


def read_id(series: pl.Series, from_text: bool = False) -> pl.Series:
    """Return ids as integers or text; whole floats (ids beside missing ones in pandas) as integers.

    Ids of a text file that no 64-bit integer holds stay as they are spelt: rounded, two users
    would become one.

    >>> read_id(pl.Series([1.0, None])).to_list(), read_id(pl.Series([0.5, 1e20])).to_list()
    ([1, None], ['0.5', '100000000000000000000'])
    >>> read_id(pl.Series(["12345678901234567890", "nan"]), from_text=True).to_list()
    ['12345678901234567890', None]
    """
    read = typed(series) if from_text else series
    if read.dtype.is_float():
        read = read.fill_nan(None)
        exact = (read.abs() <= EXACT).all()
        whole = read.cast(pl.Int64, strict=False)
        if exact and (whole.cast(read.dtype) == read).all():
            return whole
        if series.dtype == pl.String:
            return pl.select(
                pl.when(read.is_not_null()).then(series).alias(series.name)
            ).to_series()
        return as_text(widened(read))
    if read.dtype.is_integer() or read.dtype == pl.String:
        return read
    return as_text(read)
