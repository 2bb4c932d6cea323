"""Vocabularies and knots from training rows, and from them alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.encode import floats
from recprune.data.quality import Finding
from recprune.encoding import Encoder, Knots, Vocabulary, text
from recprune.schema import Schema

__all__ = ["MOST_KNOTS", "fit_encoder", "fit_knots", "fit_vocabulary"]

MOST_KNOTS = 32
#: Up to so many different values, each is a knot.
EACH_A_KNOT = 16
#: Finite knots must not lie further apart than a float can say.
FAR = 1e300


def fit_encoder(
    train: pl.DataFrame, schema: Schema, counts: Mapping[str, int] | None = None
) -> tuple[Encoder, list[Finding]]:
    """Return the encoder of the training rows, and the fields that they leave constant (dropped).

    Args:
        train: training rows; plain columns.
        schema: the fields.
        counts: field → least count of a value with a row of its own; default 1.
    """
    parts: dict[str, Vocabulary | Knots] = {}
    found = []
    for field in schema.fields:
        series = train[field.name]
        if field.kind == "categorical":
            parts[field.name] = fit_vocabulary(series, (counts or {}).get(field.name, 1))
            continue
        knots = fit_knots(floats(series))
        if knots is None:
            action = "dropped: it does not vary in the training rows"
            found.append(Finding("constant", field.name, "warning", len(series), action))
        else:
            parts[field.name] = knots
    return Encoder(schema.only(tuple(parts)), parts), found


def fit_vocabulary(series: pl.Series, min_count: int = 1) -> Vocabulary:
    """Return the values that come at least ``min_count`` times, most frequent first, ties by text.

    >>> fit_vocabulary(pl.Series(["b", "a", None, "a", "b", "c"]), 2).values
    ('a', 'b')
    """
    table = series.alias("value").value_counts()
    counts: dict[str | None, int] = {}
    for value, count in zip(table["value"].to_list(), table["count"].to_list(), strict=True):
        word = text(value)
        counts[word] = counts.get(word, 0) + count
    kept = [(w, c) for w, c in counts.items() if c >= min_count]
    kept.sort(key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))
    return Vocabulary(tuple(word for word, _ in kept))


def fit_knots(values: NDArray[np.float64]) -> Knots | None:
    """Return the knots of a numeric field; None if fewer than two finite values differ.

    Up to 16 different values are a knot each. Beyond, 32 knots at equal steps of rank, but a value
    that takes a 32nd of the rows or more is one knot and leaves the others to the rest: on a column
    of mostly zeros, plain quantiles would repeat the zero.

    >>> fit_knots(np.array([3.0, 1.0, 1.0, np.nan, np.inf])).points
    array([1., 3.])
    """
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(np.clip(finite, -FAR, FAR), return_counts=True)
    if len(distinct) < 2:
        return None
    if len(distinct) <= EACH_A_KNOT:
        return Knots(distinct + 0.0)
    heavy = counts * MOST_KNOTS >= len(finite)
    rest = np.repeat(distinct[~heavy], counts[~heavy])
    places = np.linspace(0, 1, MOST_KNOTS - int(heavy.sum()))
    quantiles = np.quantile(rest, places) if len(rest) and len(places) else rest[:0]
    return Knots(np.unique(np.concatenate([distinct[heavy], quantiles])) + 0.0)
