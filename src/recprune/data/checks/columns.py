"""Checks of one column at a time: missing values, spellings, ids in disguise, far values."""

from __future__ import annotations

import numpy as np
import polars as pl

from recprune.data.checks.sheet import Sheet
from recprune.data.quality import Finding, Severity

__all__ = [
    "heavy_tails",
    "id_like",
    "many_values",
    "missing_values",
    "near_duplicate_values",
    "spaces",
]

#: From this share of missing values on, a column is worth a warning.
MOSTLY = 0.5
#: Distinct among so many values: ids, not categories. Of fewer values nothing can be said.
DISTINCT, LEAST = 0.95, 30
#: More values than this, and fewer than this many rows a value on average.
MANY, ROWS_A_VALUE = 1000, 10
#: A value so many times the middle half's width from the median is far out.
FAR = 20.0
KEPT = "kept as they are: each spelling is a value of its own"


def missing_values(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields with missing values; ``value`` = the share of rows."""
    found, n = [], len(sheet.frame)
    for name, kind in sheet.kinds.items():
        rows = sheet.frame[name].null_count()
        if 0 < rows < n:
            severity: Severity = "warning" if rows > MOSTLY * n else "info"
            read = "a category of its own" if kind == "categorical" else "the unknown row"
            message = f"{name!r} has no value in {rows / n:.1%} of the rows."
            found.append(
                Finding(
                    "missing_values", name, severity, rows, f"read as {read}", message, rows / n
                )
            )
    return tuple(found)


def spaces(sheet: Sheet) -> tuple[Finding, ...]:
    """Report names, and texts, that begin or end with white space."""
    found = []
    for name in dict.fromkeys([*sheet.fields, *sheet.roles.values()]):
        if name != name.strip():
            message = "The column's name has spaces around it."
            action = f"kept as it is: write {name!r} exactly"
            found.append(Finding("spaces_in_name", name, "info", len(sheet.frame), action, message))
    for name, values in sheet.words.items():
        stray = values.filter(values != values.str.strip_chars())
        if len(stray):
            counts = _counts(sheet, name, stray)
            example = counts["value"][0]
            message = f"Values of {name!r} begin or end with spaces, such as {example!r}."
            rows = int(counts["count"].sum())
            found.append(Finding("spaces", name, "warning", rows, KEPT, message))
    return tuple(found)


def near_duplicate_values(sheet: Sheet) -> tuple[Finding, ...]:
    """Report values that differ in letter case or outer spaces alone, such as ``" Male"`` and
    ``"male"``; ``rows`` counts all but each one's most frequent spelling, ``value`` the ones.
    """
    found = []
    for name, values in sheet.words.items():
        folded = values.str.strip_chars().str.to_lowercase()
        several = values.filter(folded.is_duplicated())
        if not len(several):
            continue
        alike = _counts(sheet, name, several).with_columns(
            pl.col("value").str.strip_chars().str.to_lowercase().alias("folded")
        )
        alike = alike.sort("folded", maintain_order=True)
        groups = alike.group_by("folded", maintain_order=True).agg(
            rows=pl.col("count").sum() - pl.col("count").max(), some=pl.col("value").head(2)
        )
        one, other = groups["some"][0].to_list()
        message = (
            f"{len(groups):,} of the values of {name!r} come in several spellings, such as {one!r} "
            f"and {other!r}."
        )
        rows, value = int(groups["rows"].sum()), float(len(groups))
        found.append(Finding("near_duplicate_values", name, "warning", rows, KEPT, message, value))
    return tuple(found)


def id_like(sheet: Sheet) -> tuple[Finding, ...]:
    """Report whole numbers and texts that differ in nearly every row; ``value`` = share distinct."""
    found = []
    for name in sheet.fields:
        series = sheet.frame[name]
        n, distinct = len(series) - series.null_count(), sheet.distinct[name]
        if series.dtype.is_float() or n < LEAST or distinct < DISTINCT * n:
            continue
        message = f"{name!r} has {distinct:,} different values in {n:,} rows, as an id has."
        action = (
            "used as it is; leave it out with --drop, or name it with --user or --item if it is one"
        )
        found.append(Finding("id_like", name, "warning", n, action, message, distinct / n))
    return tuple(found)


def many_values(sheet: Sheet) -> tuple[Finding, ...]:
    """Report categories with many values of few rows each; ``value`` = the number of values."""
    found = []
    for name in sheet.fields:
        n = len(sheet.frame) - sheet.frame[name].null_count()
        size = sheet.distinct[name]
        if sheet.kinds[name] != "categorical" or not MANY < size < DISTINCT * n:
            continue
        if size * ROWS_A_VALUE > n:
            message = f"{name!r} has {size:,} values, {n / size:.1f} rows each on average."
            action = "used as it is; min_count in the schema lets rare values share a row"
            found.append(Finding("many_values", name, "info", n, action, message, float(size)))
    return tuple(found)


def heavy_tails(sheet: Sheet) -> tuple[Finding, ...]:
    """Report numbers of which a few lie very far out; ``value`` = the farthest.

    Far is twenty interquartile ranges from the median. A column whose middle half is one value has
    no such range and is left out.
    """
    found = []
    for name in sheet.numbers:
        some = sheet.some(sheet.frame[name]).cast(pl.Float64).drop_nulls()
        some = some.filter(some.is_finite())
        if not len(some):
            continue
        low, middle, high = np.quantile(some.to_numpy(), [0.25, 0.5, 0.75])
        if (reach := FAR * (high - low)) == 0:
            continue
        column = sheet.frame[name].cast(pl.Float64)
        far = column.filter(~column.is_between(middle - reach, middle + reach))
        far = far.filter(far.is_finite())
        if len(far):
            farthest = float(far.to_numpy()[np.argmax(np.abs(far.to_numpy() - middle))])
            message = f"{name!r} has values far from its median of {middle:g}: up to {farthest:g}."
            action = "read by rank, so they do no harm"
            found.append(Finding("heavy_tail", name, "info", len(far), action, message, farthest))
    return tuple(found)


def _counts(sheet: Sheet, name: str, values: pl.Series) -> pl.DataFrame:
    """Return ``value`` and ``count`` of some of a column's values, the most frequent first."""
    column = sheet.frame[name]
    counts = column.filter(column.is_in(values.implode())).alias("value").value_counts()
    return counts.sort("count", "value", descending=[True, False])
