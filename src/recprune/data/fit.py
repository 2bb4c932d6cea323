"""Vocabularies and knots from training rows, and from them alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.encode import floats
from recprune.data.quality import Finding
from recprune.data.vocabulary import VocabularyRule, fit_vocabulary
from recprune.encoding import UNKNOWN, Encoder, Knots, Vocabulary
from recprune.schema import Schema

__all__ = ["MOST_KNOTS", "fit_encoder", "fit_knots"]

MOST_KNOTS = 32
#: Up to so many different values, each is a knot.
EACH_A_KNOT = 16
#: Finite knots must not lie further apart than a float can say.
FAR = 1e300


def fit_encoder(
    train: pl.DataFrame, schema: Schema, rules: Mapping[str, VocabularyRule] | None = None
) -> tuple[Encoder, list[Finding]]:
    """Return the encoder of the training rows, and the fields that they leave constant (dropped).

    Args:
        train: training rows; plain columns.
        schema: the fields.
        rules: field → which values get a row of their own.
    """
    parts: dict[str, Vocabulary | Knots] = {}
    found = []
    for field in schema.fields:
        series = train[field.name]
        if field.kind == "categorical":
            rule = (rules or {}).get(field.name, VocabularyRule())
            least = rule.least(field)
            parts[field.name] = part = fit_vocabulary(series, least, rule.max_size)
            if field.sensitive and (rare := _left_out(series, part)):
                action = f"read as unknown: values that fewer than {least} training rows have"
                found.append(Finding("rare personal values", field.name, "info", rare, action))
            continue
        knots = fit_knots(floats(series))
        if knots is None:
            action = "dropped: it does not vary in the training rows"
            found.append(Finding("constant", field.name, "warning", len(series), action))
        else:
            parts[field.name] = knots
    return Encoder(schema.only(tuple(parts)), parts), found


def _left_out(series: pl.Series, part: Vocabulary) -> int:
    table = series.alias("value").value_counts()
    unknown = part.lookup(table["value"].to_list()) == UNKNOWN
    return int(table["count"].to_numpy()[unknown].sum())


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
