"""The border: pandas, Polars and Arrow tables in, one Polars frame of plain columns out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, overload

import narwhals as nw
import polars as pl

from recprune.data.disk_frame import DiskFrame, Frame, Reader
from recprune.errors import DataError
from recprune.texts import text

__all__ = ["as_text", "check_names", "comparable", "plain", "to_polars", "widened"]


def to_polars(frame: Any) -> pl.DataFrame:
    """Return any table that narwhals knows as a Polars frame; column names become strings.

    Raises:
        DataError: not a table, or two columns of one name.

    >>> to_polars(pl.LazyFrame({"a": [1]})).columns
    ['a']
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    names = _names(frame)
    check_names([str(n) for n in names], "The table")
    if any(not isinstance(n, str) for n in names) and hasattr(frame, "set_axis"):
        frame = frame.set_axis([str(n) for n in names], axis=1)
    try:
        known = nw.from_native(frame)
    except TypeError as error:
        raise DataError(
            f"A {type(frame).__name__} is not a table. Pass a pandas, Polars or Arrow table, or "
            "read a file with Dataset.read(path, …)."
        ) from error
    if isinstance(known, nw.LazyFrame):
        collected: pl.DataFrame = known.collect("polars").to_native()
        return collected
    try:
        converted: pl.DataFrame = known.to_polars()
        return converted
    except (
        TypeError,
        ValueError,
        OverflowError,
        NotImplementedError,
        ImportError,
        pl.exceptions.PolarsError,
    ):
        return pl.DataFrame([_column(known[name]) for name in known.columns])


@overload
def plain(frame: pl.DataFrame) -> pl.DataFrame: ...
@overload
def plain(frame: DiskFrame) -> DiskFrame: ...
@overload
def plain(frame: Frame) -> Frame: ...
def plain(frame: Frame) -> Frame:
    """Return the frame with plain columns: booleans, numbers, text, dates, and lists of these; NaN
    and "" as null.

    Raises:
        DataError: a column of structs, of lists of lists, or of other objects.
    """
    if isinstance(frame, DiskFrame):
        names = frame.columns
        return frame.derived(
            {n: Reader(partial(_plain, frame, n), partial(_plain, frame, n)) for n in names}
        )
    out = []
    for name, kind in frame.schema.items():
        inner = getattr(kind, "inner", None)
        if (inner if inner is not None else kind).is_nested() or kind in (pl.Object, pl.Binary):
            raise DataError(
                f"Column {name!r} holds {kind} values; a field is one number, one category, a list "
                "of categories or a vector of numbers a row. Expand it into such columns, or leave "
                "it out with drop=."
            )
        column = pl.col(name)
        if kind in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
            kind = pl.String()
        elif kind.is_decimal():
            column = column.cast(pl.Float64)
        elif kind == pl.Duration:
            column = column.dt.total_microseconds() / 1e6
        elif inner in (pl.Categorical, pl.Enum):
            column = column.cast(pl.List(pl.String))
        if kind == pl.String:
            column = pl.when(column != "").then(column)
        elif kind.is_float():
            column = column.fill_nan(None)
        out.append(column.alias(name))
    return frame.select(out)


def _plain(frame: DiskFrame, name: str, start: int = 0, stop: int | None = None) -> pl.Series:
    series = frame[name] if stop is None else frame.rows(name, start, stop)
    return plain(series.to_frame())[name]


def comparable(series: pl.Series) -> pl.Series:
    """Return a column whose equal values can be told: lists become text.

    >>> comparable(pl.Series([["a", "b"], None])).to_list()
    ['a\\x1fb', None]
    """
    if not series.dtype.is_nested():
        return series
    return series.cast(pl.List(pl.String)).list.join("\x1f")


def as_text(series: pl.Series) -> pl.Series:
    """Return the values as the text that the runtime knows them by.

    >>> from datetime import datetime
    >>> as_text(pl.Series([datetime(2024, 1, 31), None])).to_list()
    ['2024-01-31 00:00:00', None]
    """
    distinct = series.drop_nulls().unique()
    texts = pl.Series([text(v) for v in distinct.to_list()], dtype=pl.String)
    return series.replace_strict(distinct, texts, default=None, return_dtype=pl.String)


def widened(series: pl.Series) -> pl.Series:
    """Return 32-bit floats as the 64-bit ones with the same digits: 0.1, not 0.10000000149.

    >>> widened(pl.Series([0.1, None], dtype=pl.Float32)).to_list()
    [0.1, None]
    """
    if series.dtype != pl.Float32:
        return series
    digits, exact = series.cast(pl.String).cast(pl.Float64), series.cast(pl.Float64)
    return (
        pl.select(pl.when(exact == exact.round()).then(exact).otherwise(digits))
        .to_series()
        .alias(series.name)
    )


def check_names(names: Sequence[str], owner: str) -> None:
    """Refuse two columns of one name.

    Raises:
        DataError: names the column, and where it stands.
    """
    seen: dict[str, int] = {}
    for i, name in enumerate(names, 1):
        if name in seen:
            raise DataError(
                f"{owner} has two columns named {name!r} (columns {seen[name]} and {i}). "
                "Rename or remove one of them."
            )
        seen[name] = i


def _names(frame: Any) -> list[Any]:
    """Return the column names of a pandas or Arrow table, repeated ones too."""
    for attribute in ("column_names", "columns"):
        names = getattr(frame, attribute, None)
        if attribute == "column_names" and isinstance(names, list):
            return names
        if attribute == "columns" and names is not None and not callable(names):
            return list(names)
    return []


def _column(column: nw.Series[Any]) -> pl.Series:
    """Convert one column alone; one that mixes types becomes text."""
    values, missing = column.to_list(), column.is_null().to_list()
    cleaned = [None if m else v for v, m in zip(values, missing, strict=True)]
    try:
        return pl.Series(column.name, cleaned, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(column.name, [text(v) for v in cleaned], dtype=pl.String)
