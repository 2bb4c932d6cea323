"""Columns of lists: sequences of categories as lists of text, vectors as arrays of numbers."""

from __future__ import annotations

import polars as pl

from recprune.data.frames import as_text
from recprune.errors import DataError

__all__ = ["read_dense", "read_sequence", "split_texts"]


def split_texts(series: pl.Series, separator: str) -> pl.Series:
    """Return texts as lists.

    >>> split_texts(pl.Series(["a|b", None]), "|").to_list()
    [['a', 'b'], None]
    """
    return series.str.split(separator)


def read_sequence(series: pl.Series) -> pl.Series:
    """Return lists of text, as all parts know values; elements that are missing are left out.

    >>> read_sequence(pl.Series([[1.0, None], []])).to_list()
    [['1'], []]
    """
    lists = series.cast(pl.List(series.dtype.inner)) if series.dtype == pl.Array else series  # type: ignore[attr-defined]
    flat = lists.list.drop_nulls().explode(empty_as_null=False, keep_nulls=False)
    texts = flat if flat.dtype == pl.String else as_text(flat)
    sizes = lists.list.drop_nulls().list.len()
    owner = pl.Series(range(len(lists)), dtype=pl.UInt32)
    table = pl.DataFrame(
        {"row": owner.repeat_by(sizes.fill_null(0)).explode(empty_as_null=False), "text": texts}
    )
    table = table.filter(pl.col("text").is_not_null() & (pl.col("text") != ""))
    grouped = table.group_by("row", maintain_order=True).agg("text")
    empty = pl.Series("empty", [[]], dtype=pl.List(pl.String))
    joined = pl.DataFrame({"row": owner, "known": lists.is_not_null()}).join(
        grouped, "row", "left", maintain_order="left"
    )
    filled = pl.when("known").then(pl.col("text").fill_null(empty.first()))
    return joined.select(filled.alias(series.name)).to_series()


def read_dense(series: pl.Series) -> pl.Series:
    """Return vectors as arrays of float64.

    Raises:
        DataError: vectors differ in length, or hold something else than numbers.

    >>> read_dense(pl.Series([[1, 2], None])).dtype
    Array(Float64, shape=(2,))
    """
    lists = series.cast(pl.List(series.dtype.inner))  # type: ignore[attr-defined]
    sizes = lists.list.len().drop_nulls()
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
