"""What one column holds: numbers, categories or dates. Every repair is counted and reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from recprune.data.frames import as_text, comparable, widened
from recprune.data.nested import is_vector, lengths_of, read_dense, read_sequence
from recprune.data.quality import Finding
from recprune.dates import DAY
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = [
    "SLIPS",
    "Column",
    "coded",
    "dates_of",
    "micros",
    "numbers_of",
    "read_column",
    "read_time",
    "typed",
]

#: From this share of numbers on, what is no number in a text column counts as a slip.
SLIPS = 0.99
#: From this share of numbers on, a text column that stays categorical is reported as mixed.
MIXED = 0.5
#: Up to so many different numbers, a text column of numbers is read as codes of categories.
FEW = 20
DATES = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%d.%m.%Y %H:%M",
    "%d-%m-%Y",
)


@dataclass(frozen=True, eq=False)
class Column:
    """A column read: plain values, what they are, and what was found.

    ``kind`` None = of no use as it is (no value, or one value in all rows; ``reason`` says so).
    """

    series: pl.Series
    kind: Kind | Literal["date"] | None
    findings: tuple[Finding, ...] = ()
    reason: str = ""


def typed(series: pl.Series) -> pl.Series:
    """Give a column read from a text file the type that all its values have, if they have one.

    Numbers with leading zeros are codes and stay text; so do columns with any other text.

    >>> [typed(pl.Series(v)).dtype for v in (["1", "2"], ["1.5", None], ["TRUE", "false"], ["01"])]
    [Int64, Float64, Boolean, String]
    """
    if series.dtype != pl.String or series.null_count() == len(series):
        return series
    sample = series.drop_nulls().head(100)
    if numbers_of(sample).null_count() == 0:
        numbers = numbers_of(series)
        if numbers.null_count() > series.null_count() or coded(series):
            return series
        whole = series.str.strip_chars().cast(pl.Int64, strict=False)
        return whole if whole.null_count() == series.null_count() else numbers.fill_nan(None)
    words = series.str.to_lowercase()
    if words.is_in(["true", "false"]).all():
        return words == "true"
    return series


def read_column(series: pl.Series, wanted: Kind | None = None, from_text: bool = False) -> Column:
    """Decide what a column holds.

    Args:
        series: a plain column (:func:`recprune.data.frames.plain`).
        wanted: the kind that the schema states, which wins.
        from_text: the column comes from a text file, whose numbers are text by nature.

    Raises:
        DataError: the schema wants numbers and the column holds none.
    """
    n = len(series) - series.null_count()
    if n == 0:
        return Column(series, None, (), "missing")
    if from_text and wanted != "categorical":
        series = typed(series)
    if series.dtype.is_nested():
        return _nested(series, wanted)
    if wanted in ("sequence", "dense"):
        raise DataError(
            f"Column {series.name!r} is {wanted} by the schema, and holds {series.dtype} values. Give "
            "it lists, or name the 'separator' that its texts are split by."
        )
    if series.dtype.is_temporal():
        return _date(series, wanted)
    if series.dtype == pl.String and wanted != "categorical":
        return _text(series, wanted, from_text)
    if series.dtype == pl.Boolean and wanted == "numeric":
        series = series.cast(pl.UInt8)
    if series.dtype == pl.Boolean or wanted == "categorical" or not series.dtype.is_numeric():
        return _categorical(series)
    return _numeric(series)


def read_time(series: pl.Series) -> pl.Series:
    """Return a column that orders rows: dates as microseconds, numbers as they are.

    Raises:
        DataError: text that is neither.

    >>> read_time(pl.Series("t", ["2024-01-02", "2024-01-01"])).arg_sort().to_list()
    [1, 0]
    """
    if series.dtype == pl.String:
        numbers = numbers_of(series)
        if numbers.null_count() == series.null_count():
            return numbers
        dates = dates_of(series)
        if dates is None:
            raise DataError(
                f"Time column {series.name!r} holds text that is neither numbers nor dates of one "
                f"known form, such as {series.drop_nulls()[0]!r}. Write the times as 2024-12-31, "
                "2024-12-31 23:59:59 or seconds since 1970."
            )
        series = dates
    if series.dtype.is_temporal():
        return micros(series)
    if not series.dtype.is_numeric():
        raise DataError(
            f"Time column {series.name!r} holds {series.dtype} values; it must be dates or numbers."
        )
    # NumPy has no integers of 128 bits.
    return series.cast(pl.Float64) if series.dtype in (pl.Int128, pl.UInt128) else series


def _text(series: pl.Series, wanted: Kind | None, from_text: bool) -> Column:
    n = len(series) - series.null_count()
    numbers = numbers_of(series)
    good = len(series) - numbers.null_count()
    stray = n - good
    if wanted == "numeric":
        dates = dates_of(series) if good == 0 else None
        if dates is not None:
            return _date(dates, wanted)
        if good == 0:
            raise DataError(
                f"Column {series.name!r} is numeric by the schema, and none of its values is a number "
                f'(such as {series.drop_nulls()[0]!r}). Give it kind = "categorical".'
            )
    elif good == 0:
        dates = dates_of(series)
        return _categorical(series) if dates is None else _date(dates, wanted)
    elif good < SLIPS * n or coded(series) or (not from_text and numbers.n_unique() <= FEW):
        column = _categorical(series)
        if column.kind is None or not stray or good < MIXED * n:
            return column
        action = f"kept as categories: {good} of {n} values are numbers, the others are text"
        return Column(
            series, column.kind, (Finding("mixed", series.name, "warning", stray, action),)
        )
    found: tuple[Finding, ...] = ()
    if stray:
        bad = series.filter(numbers.is_null() & series.is_not_null())[0]
        action = f"read as missing: text among numbers, such as {bad!r}"
        found = (Finding("mixed", series.name, "warning", stray, action),)
    column = _numeric(numbers.fill_nan(None))
    return Column(column.series, column.kind, (*found, *column.findings), column.reason)


def _nested(series: pl.Series, wanted: Kind | None) -> Column:
    if wanted in ("categorical", "numeric"):
        raise DataError(
            f"Column {series.name!r} is {wanted} by the schema, and holds {series.dtype} values. Give "
            'it kind = "sequence" or "dense".'
        )
    if is_vector(series.dtype, lengths_of(series), wanted):
        return Column(read_dense(series), "dense")
    lists = read_sequence(series)
    if not lists.list.len().sum():
        return Column(lists, None, (), "missing")
    if not lists.null_count() and comparable(lists).n_unique() == 1:
        return Column(lists, None, (), "constant")
    return Column(lists, "sequence")


def _numeric(series: pl.Series) -> Column:
    found: tuple[Finding, ...] = ()
    if series.dtype.is_float():
        infinite = int(series.is_infinite().sum() or 0)
        if infinite:
            action = "read as the end of the range of the finite values"
            found = (Finding("infinite", series.name, "warning", infinite, action),)
    values = series.drop_nulls()
    finite = values.filter(values.is_finite()) if found else values
    if finite.n_unique() >= 2:
        return Column(series, "numeric", found)
    if values.n_unique() < 2 and not series.null_count():
        return Column(series, None, found, "constant")
    # One number and holes, or infinities: no line can be drawn, but the difference can be told.
    series = widened(series)
    return Column(as_text(series) if found else series, "categorical", found)


def _categorical(series: pl.Series) -> Column:
    if series.null_count() == 0 and series.n_unique() == 1:
        return Column(series, None, (), "constant")
    return Column(widened(series), "categorical")


def _date(series: pl.Series, wanted: Kind | None) -> Column:
    if wanted == "numeric":
        return _numeric(micros(series) / DAY)
    if wanted == "categorical":
        return _categorical(as_text(series))
    return Column(series, "date")


def micros(series: pl.Series) -> pl.Series:
    """Return dates as microseconds since 1970, times of day since midnight."""
    if series.dtype == pl.Time:
        return series.cast(pl.Int64) // 1000
    return series.cast(pl.Datetime("us")).dt.epoch("us")


def numbers_of(series: pl.Series) -> pl.Series:
    """Return text as float64, with null for what is no number."""
    plain = series.cast(pl.Float64, strict=False)
    if plain.null_count() == series.null_count():
        return plain
    return series.str.strip_chars().cast(pl.Float64, strict=False).alias(series.name)


def coded(series: pl.Series) -> bool:
    """Tell codes such as 02139 from numbers: a leading zero is lost in a number."""
    # Most numbers begin with another digit, and need no slow search.
    odd = series.filter((series < "1") | (series >= ":"))
    return bool(odd.str.contains(r"^\s*[-+]?0\d").any())


def dates_of(series: pl.Series) -> pl.Series | None:
    """Return text as dates if all of it has one of the known forms."""
    sample = series.drop_nulls().head(50)
    for form in DATES:
        if sample.str.to_datetime(form, strict=False, time_unit="us").null_count():
            continue
        parsed = series.str.to_datetime(form, strict=False, time_unit="us")
        if parsed.null_count() == series.null_count():
            return parsed
    return None
