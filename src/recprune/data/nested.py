"""Columns of lists: sequences of categories as lists of text, vectors as arrays of numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.frames import as_text
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["is_vector", "lengths_of", "lists_of", "read_dense", "read_sequence"]


def lengths_of(series: pl.Series) -> set[int]:
    """Return the lengths that the lists of a column have."""
    if series.dtype == pl.Array:
        return {int(series.dtype.shape[0])}  # type: ignore[attr-defined]
    lists = series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    return set(lists.list.len().drop_nulls().unique())


def is_vector(dtype: pl.DataType, lengths: set[int], stated: Kind | None = None) -> bool:
    """Tell vectors, whose numbers are all there in every row, from lists of categories."""
    if stated is not None:
        return stated == "dense"
    inner = dtype.inner  # type: ignore[attr-defined]
    numbers = inner.is_float() or (dtype == pl.Array and inner.is_numeric())
    return bool(numbers) and len(lengths) == 1 and max(lengths) > 1


def lists_of(flat: pl.Series, sizes: NDArray[np.int64], missing: pl.Series) -> pl.Series:
    """Return elements that stand one after the other as lists.

    >>> lists_of(pl.Series(["a", "b"]), np.array([2, 0, 0]), pl.Series([False, False, True])).to_list()
    [['a', 'b'], [], None]
    """
    rows = np.arange(len(sizes), dtype=np.uint32)
    elements = pl.DataFrame({"row": np.repeat(rows, sizes), "text": flat})
    lists = elements.group_by("row", maintain_order=True).agg("text")
    table = pl.DataFrame({"row": rows, "missing": missing})
    joined = table.join(lists, "row", "left", maintain_order="left")
    empty = pl.lit(pl.Series([[]], dtype=pl.List(flat.dtype)))
    filled = pl.when(~pl.col("missing")).then(pl.col("text").fill_null(empty))
    return joined.select(filled).to_series()


def read_sequence(series: pl.Series) -> pl.Series:
    """Return lists of text, as all parts know values; elements that are missing are left out.

    >>> read_sequence(pl.Series([[1.0, None], []])).to_list()
    [['1'], []]
    """
    lists = series.cast(pl.List(series.dtype.inner)) if series.dtype == pl.Array else series  # type: ignore[attr-defined]
    sizes = lists.list.len().fill_null(0).to_numpy()
    flat = lists.explode(empty_as_null=False, keep_nulls=False)
    texts = flat if flat.dtype == pl.String else as_text(flat)
    owner = np.repeat(np.arange(len(lists)), sizes)
    kept = (texts.is_not_null() & (texts != "")).fill_null(False).to_numpy()
    counts = np.bincount(owner[kept], minlength=len(lists))
    return lists_of(texts.filter(pl.Series(kept)), counts, lists.is_null()).alias(series.name)


def read_dense(series: pl.Series) -> pl.Series:
    """Return vectors as arrays of float64.

    Raises:
        DataError: vectors differ in length, or hold something else than numbers.

    >>> read_dense(pl.Series([[1, 2], None])).dtype
    Array(Float64, shape=(2,))
    """
    lists = series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    sizes = pl.Series(list(lengths_of(series)), dtype=pl.Int64)
    if not len(sizes) or sizes.min() != sizes.max() or not sizes.max():
        raise DataError(
            f"Column {series.name!r} is a vector, whose values all have one length; it has "
            f'{sizes.min()!r} to {sizes.max()!r} numbers. Fill them up, or give it kind = "sequence".'
        )
    try:
        return lists.cast(pl.List(pl.Float64)).cast(pl.Array(pl.Float64, int(sizes[0])))
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"Column {series.name!r} is a vector, and one of its values is not a number: {first}"
        ) from error
