"""Ids of users and items: their types, their texts, and their positions in a list."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.infer import typed
from recprune.encoding import text

__all__ = ["id_texts", "positions", "read_id"]


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
    """Return ids as integers or text; whole floats (ids beside missing ones in pandas) as integers."""
    if from_text:
        series = typed(series)
    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)
        return whole if (whole.cast(series.dtype) == series).all() else series.cast(pl.String)
    if series.dtype.is_integer() or series.dtype == pl.String:
        return series
    return series.cast(pl.String)
