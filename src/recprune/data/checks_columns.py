"""Checks that look at one column, or at two side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl

from recprune.data.quality import Finding, Severity
from recprune.schema import Schema

__all__ = [
    "heavy_tails",
    "id_like",
    "many_values",
    "missing_values",
    "near_duplicate_columns",
    "near_duplicate_values",
    "spaces",
]

#: From this share of missing values on, a column is worth a warning.
MOSTLY = 0.5
#: Distinct among so many values: ids, not categories.
DISTINCT = 0.95
#: More values than this, and fewer than this many rows a value on average.
MANY, ROWS_A_VALUE = 1000, 10
#: The farthest thousandth lies this many times the middle half's width from the median.
FAR = 20.0
#: Rank correlation of columns that say the same.
SAME = 0.999
#: Rows that pairs of columns are compared on.
SAMPLE = 20_000


def missing_values(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report fields with missing values."""
    for field in schema.fields:
        missing = frame[field.name].null_count()
        if missing:
            kind = "a category of its own" if field.kind == "categorical" else "the unknown row"
            severity: Severity = "warning" if missing > MOSTLY * len(frame) else "info"
            share = f"{missing / len(frame):.1%} of the rows"
            action = f"read as {kind}: {share} have no value"
            yield Finding("missing_values", field.name, severity, missing, action)


def spaces(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report names and values with spaces before or after them."""
    for name in schema.names:
        if name != name.strip():
            action = f"kept as it is: the name has spaces around it; write {name!r} exactly"
            yield Finding("spaces_in_name", name, "info", len(frame), action)
        if frame[name].dtype == pl.String:
            column = frame[name]
            rows = int((column != column.str.strip_chars()).sum())
            if rows:
                action = "kept as they are: values have spaces around them"
                yield Finding("spaces", name, "warning", rows, action)


def near_duplicate_values(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report values that differ in letter case or outer spaces only."""
    for name in schema.names:
        if frame[name].dtype != pl.String:
            continue
        counts = frame[name].drop_nulls().alias("value").value_counts()
        folded = counts.with_columns(
            pl.col("value").str.strip_chars().str.to_lowercase().alias("folded")
        )
        alike = folded.filter(pl.len().over("folded") > 1).sort("folded", "value")
        if len(alike):
            twins = alike.filter(pl.col("folded") == alike["folded"][0])["value"].to_list()
            action = f"kept apart: values such as {' and '.join(map(repr, twins[:3]))}"
            rows = int(alike["count"].sum())
            yield Finding("near_duplicate_values", name, "warning", rows, action)


def near_duplicate_columns(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report pairs of fields that say the same: one value for one value, or the same order."""
    step = max(1, len(frame) // SAMPLE)
    ranks = {
        f.name: frame[f.name].gather_every(step).rank("dense").fill_null(0).to_numpy()
        for f in schema.fields
    }
    numeric = {f.name for f in schema.fields if f.kind == "numeric"}
    distinct = {name: len(np.unique(rank)) for name, rank in ranks.items()}
    for a, b in itertools.combinations(schema.names, 2):
        if frame[a].dtype == frame[b].dtype and frame[a].equals(frame[b], null_equal=True):
            continue  # reported as a duplicate when the table was read
        # Where hardly a value repeats, any two columns go together one to one.
        repeats = 1 < distinct[a] == distinct[b] <= len(ranks[a]) / 2
        same = repeats and _pairs(ranks[a], ranks[b]) == distinct[a]
        why = "each value of one goes with one value of the other"
        if not same and {a, b} <= numeric and min(distinct[a], distinct[b]) > 1:
            same = abs(np.corrcoef(_fractional(ranks[a]), _fractional(ranks[b]))[0, 1]) > SAME
            why = "they put the rows in the same order"
        if same:
            action = f"kept, though it says the same as {a!r}: {why}"
            yield Finding("near_duplicate_column", b, "warning", len(frame), action)


def id_like(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report fields whose values are nearly all different and that are no user's or item's id."""
    for field in schema.fields:
        column = frame[field.name].drop_nulls()
        if field.name in (schema.user, schema.item) or column.dtype.is_float():
            continue
        if len(column) and column.n_unique() >= DISTINCT * len(column):
            action = "used as it is: nearly every row has a value of its own, as an id has"
            yield Finding("id_like", field.name, "warning", len(column), action)


def many_values(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report categories with many values of few rows each."""
    for field in schema.fields:
        if field.kind != "categorical" or field.name in (schema.user, schema.item):
            continue
        size = frame[field.name].n_unique()
        if size > MANY and size * ROWS_A_VALUE > len(frame):
            action = f"used as it is: {size:,} values, {len(frame) / size:.1f} rows each on average"
            yield Finding("many_values", field.name, "info", len(frame), action)


def heavy_tails(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Report numbers of which a few lie very far out."""
    for field in schema.fields:
        if field.kind != "numeric":
            continue
        column = frame[field.name].cast(pl.Float64).drop_nulls()
        column = column.filter(column.is_finite())
        if not len(column):
            continue
        low, middle, high = (float(column.quantile(q) or 0.0) for q in (0.25, 0.5, 0.75))
        far = (column - middle).abs() > FAR * (high - low)
        if high > low and far.any():
            action = f"read by rank, so they do no harm: values up to {column.to_numpy().max():g}"
            yield Finding("heavy_tail", field.name, "info", int(far.sum()), action)


def _pairs(a: np.ndarray, b: np.ndarray) -> int:
    return len(np.unique(a.astype(np.int64) * (int(b.max()) + 1) + b.astype(np.int64)))


def _fractional(rank: np.ndarray) -> np.ndarray:
    return pl.Series(rank).rank("average").to_numpy()
