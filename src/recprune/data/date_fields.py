"""Columns of dates as fields: hour, weekday, month, and age in days, each a field of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from recprune.data.infer import Column, dates_of
from recprune.dates import DATE_PARTS, DAY, DatePart
from recprune.errors import DataError

__all__ = ["expand_date", "moments", "part_of"]


def moments(series: pl.Series) -> pl.Series:
    """Return dates, texts of dates, or seconds since 1970 as microseconds since 1970.

    Raises:
        DataError: text that is no date of one known form.
    """
    if series.dtype == pl.String:
        dates = dates_of(series)
        if dates is None:
            numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
            if numbers.null_count() > series.null_count():
                raise DataError(
                    f"Column {series.name!r} is a date by the schema, and holds text of no known "
                    f"form, such as {series.drop_nulls()[0]!r}. Write dates as 2024-12-31, "
                    "2024-12-31 23:59:59 or seconds since 1970."
                )
            series = numbers
        else:
            series = dates
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("us")).dt.epoch("us")
    return (series.cast(pl.Float64) * 1e6).cast(pl.Int64, strict=False)


def part_of(micros: pl.Series, part: DatePart, now: pl.Series | None) -> pl.Series:
    """Return a part of each moment, as :func:`recprune.dates.date_part` does of raw values.

    >>> part_of(pl.Series("t", [0, None]), "weekday", None).to_list()
    [3, None]
    """
    dates = micros.cast(pl.Datetime("us")).dt
    if part == "age":
        return ((micros if now is None else now - micros) / DAY).alias(micros.name)
    if part == "hour":
        return dates.hour().cast(pl.Int64)
    if part == "month":
        return dates.month().cast(pl.Int64)
    return dates.weekday().cast(pl.Int64) - 1


def expand_date(
    series: pl.Series, now: pl.Series | None, parts: Sequence[DatePart] = DATE_PARTS
) -> Iterator[tuple[DatePart, Column]]:
    """Yield the parts of a date that vary, each as a column.

    Args:
        series: dates; missing ones are null.
        now: when each row happened, in microseconds; None = not known.
        parts: those wanted.
    """
    micros = moments(series)
    for part in parts:
        values = part_of(micros, part, now).alias(f"{series.name}.{part}")
        if values.drop_nulls().n_unique() > 1:
            yield part, Column(values, "numeric" if part == "age" else "categorical")
