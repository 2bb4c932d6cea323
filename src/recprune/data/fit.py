"""Lookups of all fields from training rows, and from them alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.bags import Components, Sequence
from recprune.data.disk_frame import Frame, blocks, sampled
from recprune.data.encode import floats, vectors
from recprune.data.quality import Finding
from recprune.data.rules import KNOTS, FieldRule, Scale
from recprune.data.vocabulary import vocabulary_of
from recprune.encoding import Encoder
from recprune.lookups import UNKNOWN, Buckets, Knots, Lookup, Vocabulary
from recprune.schema import Field, Schema

__all__ = ["fit_encoder", "fit_knots"]

#: Up to so many different values, each is a knot.
EACH_A_KNOT = 16
#: Most training rows that knots and scales are fitted on, evenly spread.
MOST_ROWS = 1_000_000
#: Finite knots must not lie further apart than a float can say.
FAR = 1e300


def fit_encoder(
    train: Frame, schema: Schema, rules: Mapping[str, FieldRule] | None = None
) -> tuple[Encoder, list[Finding]]:
    """Return the encoder of the training rows, and the fields that they leave constant (dropped).

    Args:
        train: training rows; plain columns.
        schema: the fields.
        rules: field → how its values become rows.
    """
    parts: dict[str, Lookup] = {}
    found = []
    for field in schema.fields:
        name, rule = field.name, (rules or {}).get(field.name, FieldRule())
        if field.kind == "numeric":
            values = floats(sampled(train, name, MOST_ROWS))
            knots = fit_knots(values, rule.scale or "quantile", rule.most_knots)
            if knots is None:
                action = "dropped: it does not vary in the training rows"
                found.append(Finding("constant", name, "warning", len(train), action))
            else:
                parts[name] = knots
        elif field.kind == "dense":
            parts[name] = _components(vectors(sampled(train, name, MOST_ROWS)))
        else:
            elements, rare = _fit_elements(train, field, rule)
            found += rare
            parts[name] = elements
            if field.kind == "sequence":
                length, mean = rule.most_elements, rule.pooling != "sum"
                parts[name] = Sequence(elements, length, mean, rule.separator or "")
    return Encoder(schema.only(tuple(parts)), parts), found


def _fit_elements(
    train: Frame, field: Field, rule: FieldRule
) -> tuple[Vocabulary | Buckets, list[Finding]]:
    if rule.buckets is not None:
        return Buckets(rule.buckets), []
    least, tables = rule.least(field), []
    for _, series in blocks(train, field.name):
        if field.kind == "sequence":
            series = series.explode(empty_as_null=False, keep_nulls=False)
        tables.append(series.alias("value").value_counts())
    counts = tables[0]
    if len(tables) > 1:
        counts = pl.concat(tables).group_by("value").agg(pl.col("count").sum())
    part = vocabulary_of(counts, least, rule.max_size)
    if not field.sensitive:
        return part, []
    unknown = part.lookup(counts["value"].to_list()) == UNKNOWN
    rare = int(counts["count"].to_numpy()[unknown].sum())
    if not rare:
        return part, []
    action = f"read as unknown: values that fewer than {least} training rows have"
    return part, [Finding("rare personal values", field.name, "info", rare, action)]


def _components(values: NDArray[np.float64]) -> Components:
    """Standardise each component over its finite values."""
    finite = np.ma.masked_invalid(np.clip(values, -FAR, FAR, where=np.isfinite(values), out=values))
    with np.errstate(over="ignore", invalid="ignore"):  # such a scale is not usable
        mean, scale = finite.mean(axis=0).filled(0.0), finite.std(axis=0).filled(0.0)
    usable = np.isfinite(scale) & (scale > 0)
    return Components(np.where(np.isfinite(mean), mean, 0.0), np.where(usable, scale, 1.0))


def fit_knots(
    values: NDArray[np.float64], scale: Scale = "quantile", most: int = KNOTS
) -> Knots | None:
    """Return the knots of a numeric field; None if fewer than two finite values differ.

    By ``"quantile"``, up to 16 different values are a knot each. Beyond, ``most`` knots at equal
    steps of rank, but a value that takes one in ``most`` of the rows is one knot and leaves the
    others to the rest: on a column of mostly zeros, plain quantiles would repeat the zero. By
    ``"log"``, knots are at equal steps of sign(x)·log(1 + |x|); by ``"linear"``, at the ends.

    >>> fit_knots(np.array([3.0, 1.0, 1.0, np.nan, np.inf])).points
    array([1., 3.])
    >>> fit_knots(np.arange(1000.0), "log", 4).points.round(1).tolist()
    [0.0, 9.0, 99.0, 999.0]
    """
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(np.clip(finite, -FAR, FAR), return_counts=True)
    if len(distinct) < 2:
        return None
    ends = distinct[[0, -1]] + 0.0
    if scale == "linear":
        return Knots(ends)
    if scale == "log":
        low, high = np.sign(ends) * np.log1p(np.abs(ends))
        steps = np.linspace(low, high, most)[1:-1]
        inner = np.sign(steps) * np.expm1(np.abs(steps))
        inner = inner[(inner > ends[0]) & (inner < ends[1])]
        return Knots(np.unique(np.concatenate([ends, inner])) + 0.0)
    if len(distinct) <= min(EACH_A_KNOT, most):
        return Knots(distinct + 0.0)
    heavy = counts * most >= len(finite)
    rest = np.repeat(distinct[~heavy], counts[~heavy])
    places = np.linspace(0, 1, max(most - int(heavy.sum()), 0))
    quantiles = np.quantile(rest, places) if len(rest) and len(places) else rest[:0]
    points = np.unique(np.concatenate([distinct[heavy], quantiles])) + 0.0
    return Knots(points if len(points) > 1 else ends)
