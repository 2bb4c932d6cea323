"""Dates that cannot be: before 1900, the clock's zero, far in the future, the 31st of June."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.infer import Column, micros, read_column
from recprune.data.quality import Finding
from recprune.dates import DAY

__all__ = ["impossible_dates", "impossible_times"]

#: Years from which dates of people, sessions and goods can come.
FIRST_YEAR, LAST_YEAR = 1900, 2099
#: One value in a hundred may lie outside the span that the others fill.
EDGE = 0.01
#: A date further behind the others than they span, and than ten years, was not meant.
LEAST_SPAN = 10.0
#: The clock's zero among dates that reach back to it: so many rows, so many times a date's mean.
ZEROS, TIMES = 10, 10
#: From this share of values of a date's form on, a text column is one of dates.
DATES = 0.5
YEAR = 365.25 * DAY
#: Years that a clock's numbers are from, whatever it counts: seconds, milli- or microseconds.
CLOCKS = {unit: (10 * YEAR / unit, 130 * YEAR / unit) for unit in (1_000_000, 1_000, 1)}
#: Year, month and day in either order, with the separators in use.
ISO = r"^\s*(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?$"
LOCAL = r"^\s*(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[T ].*)?$"


def impossible_dates(column: Column) -> tuple[Finding, ...]:
    """Report the dates of a column that cannot be; nothing of a column of other things.

    A date cannot be if its year is before 1900 or after 2099; if it lies behind 99 in a hundred of
    the others by more than these span (and more than ten years); if it is 1970-01-01, a clock's
    zero, with no other date within a year, or ten times as often as other days; or if there is no
    such day (text of a date's form, such as 2024-13-01, which is read as categories).

    >>> from datetime import date
    >>> days = pl.Series("d", [date(2024, 5, d) for d in range(1, 31)] + [date(9999, 12, 31)])
    >>> impossible_dates(Column(days, "date"))[0].message
    "'d' holds dates that cannot be: 1 after 2099 (such as 9999-12-31)."
    """
    series = column.series
    if series.dtype == pl.String:
        bad = {"that no calendar has": _no_days(series.drop_nulls())}
        return _report(series.name, bad, "kept as categories")
    if series.dtype not in (pl.Date, pl.Datetime):
        return ()
    days = series.drop_nulls()
    return _report(series.name, _outside(days, micros(days).to_numpy()), "read as they are")


def impossible_times(series: pl.Series) -> tuple[Finding, ...]:
    """Report the same of the column that orders the rows: dates, or a clock's numbers since 1970.

    >>> seconds = pl.Series("t", [0, *range(1_600_000_000, 1_600_000_050)])
    >>> impossible_times(seconds)[0].message
    "'t' holds dates that cannot be: 1 of a clock's zero (such as 0)."
    """
    read = series
    if series.dtype == pl.String:
        read = read_column(series, None, from_text=True).series
    times = read.drop_nulls()
    if read.dtype in (pl.Date, pl.Datetime):
        since = micros(times).to_numpy()
    elif read.dtype.is_numeric():
        since = _clock(times.cast(pl.Float64).to_numpy())
        times = times.head(len(since))
    else:
        return ()
    return _report(series.name, _outside(times, since), "kept: rows are ordered by them")


def _report(name: str, groups: dict[str, pl.Series], action: str) -> tuple[Finding, ...]:
    bad = {why: values for why, values in groups.items() if len(values)}
    if not bad:
        return ()
    listed = ", ".join(f"{len(v):,} {why} (such as {v[0]})" for why, v in bad.items())
    message = f"{name!r} holds dates that cannot be: {listed}."
    rows = sum(map(len, bad.values()))
    return (Finding("impossible_date", name, "warning", rows, action, message),)


def _outside(
    values: pl.Series, time: NDArray[np.float64] | NDArray[np.int64]
) -> dict[str, pl.Series]:
    """Return reason → values, of times in microseconds since 1970; none of no times."""
    first, last = ((year - 1970) * YEAR for year in (FIRST_YEAR, LAST_YEAR + 1))
    # A day on either side: years differ in length, clocks in zone, and no bound is that exact.
    early, late = time < first - DAY, time > last + DAY
    zero = np.abs(time) <= DAY
    fine = time[~(early | late | zero)]
    far = np.zeros_like(zero)
    if len(fine):
        low, high = np.quantile(fine, [EDGE, 1 - EDGE])
        far = ~late & (time > high + max(high - low, LEAST_SPAN * YEAR))
        alone = np.abs(fine).min() > YEAR
        often = zero.sum() >= max(ZEROS, TIMES * len(fine) / np.unique(fine // DAY).size)
    if not len(fine) or not (alone or often):
        zero = np.zeros_like(zero)
    masks = {
        f"before {FIRST_YEAR}": early,
        f"after {LAST_YEAR}": late,
        "far behind all others": far,
        "of a clock's zero": zero,
    }
    return {why: values.filter(pl.Series(mask)) for why, mask in masks.items()}


def _clock(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a clock's numbers as microseconds since 1970; no numbers where they are no clock's."""
    finite = numbers[np.isfinite(numbers)]
    middle = float(np.median(finite)) if len(finite) == len(numbers) > 0 else 0.0
    for unit, (low, high) in CLOCKS.items():
        if low < middle < high:
            return numbers * unit
    return numbers[:0]


def _no_days(texts: pl.Series) -> pl.Series:
    """Return the texts that have a date's form and name no day."""
    head = texts.head(1000)
    if not len(texts) or _share(head.str.contains(ISO) | head.str.contains(LOCAL)) < DATES:
        return texts.head(0)
    iso, local = texts.str.extract_groups(ISO), texts.str.extract_groups(LOCAL)
    numbers = pl.DataFrame(
        {
            "year": iso.struct.field("1").fill_null(local.struct.field("3")),
            "a": iso.struct.field("2").fill_null(local.struct.field("1")),
            "b": iso.struct.field("3").fill_null(local.struct.field("2")),
            "iso": iso.struct.field("1").is_not_null(),
        }
    ).with_columns(pl.col("year", "a", "b").cast(pl.Int32))
    # A local date may be day-month or month-day: it is possible if either reading is.
    swapped = pl.col("iso").not_() & _possible("b", "a")
    fine = numbers.select(pl.col("year").is_null() | _possible("a", "b") | swapped).to_series()
    return texts.filter(~fine)


def _possible(month: str, day: str) -> pl.Expr:
    months = pl.when(pl.col(month).is_between(1, 12)).then(pl.col(month))
    length = pl.date(pl.col("year"), months, 1).dt.month_end().dt.day()
    years = pl.col("year").is_between(FIRST_YEAR, LAST_YEAR)
    return (years & (pl.col(day) >= 1) & (pl.col(day) <= length)).fill_null(value=False)


def _share(mask: pl.Series) -> float:
    return float(mask.sum()) / len(mask)
