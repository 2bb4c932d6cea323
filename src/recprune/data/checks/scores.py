"""A quick model of a label, one column at a time and all of them together. NumPy alone."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["additive", "log_odds", "value_codes"]

#: Bins of a number, at equal steps of rank.
BINS = 32
#: Rows at the mean rate that every value is given beside its own.
PRIOR = 20.0
#: Newton's method on a concave likelihood with few columns is done long before.
STEPS = 8

Array = NDArray[np.float64]


def log_odds(codes: NDArray[np.int64], label: Array, fit: NDArray[np.bool_]) -> Array:
    """Return each row's log-odds by its value, learned on some rows, less those of the mean.

    Smoothed target encoding (Micci-Barreca 2001): a value's rate is that of its rows and of 20 more
    at the mean rate.

    Args:
        codes: each row's value, shape ``(n,)``; see :func:`value_codes`.
        label: 0 or 1, shape ``(n,)``.
        fit: the rows to learn from, shape ``(n,)``.
    """
    size = int(codes.max()) + 1
    rows = np.bincount(codes[fit], minlength=size)
    ones = np.bincount(codes[fit], label[fit], minlength=size)
    mean = label[fit].mean()
    rate = (ones + PRIOR * mean) / (rows + PRIOR)
    odds: Array = np.log(rate / (1 - rate)) - np.log(mean / (1 - mean))
    return odds[codes]


def value_codes(series: pl.Series, numeric: bool) -> NDArray[np.int64]:
    """Return a code for each row's value, shape ``(n,)``: of a number its bin at equal steps of
    rank, of another value its own; missing has one too.
    """
    if not numeric:
        return series.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    x = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = x[np.isfinite(x)]
    steps = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(known, steps)) if len(known) else np.empty(0)
    codes = np.searchsorted(edges, x, side="left").astype(np.int64)
    codes[np.isnan(x)] = len(edges) + 1
    return codes


def additive(x: NDArray[np.floating], label: Array, fit: NDArray[np.bool_]) -> Array:
    """Return the logits of a logistic regression fitted on some rows, for all rows, shape ``(n,)``.

    Newton's method with an L2 penalty of 1 on all but the intercept.

    Args:
        x: columns' scores, shape ``(n, n_columns)``.
        label: 0 or 1, shape ``(n,)``.
        fit: the rows to learn from, shape ``(n,)``.
    """
    whole = np.column_stack([np.ones(len(x)), x]).astype(np.float64)
    rows, target = whole[fit], label[fit]
    weight = np.zeros(whole.shape[1])
    penalty = np.eye(len(weight))
    penalty[0, 0] = 1e-6
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(rows @ weight, -30, 30)))
        curvature = (rows * (p * (1 - p) + 1e-6)[:, None]).T @ rows + penalty
        weight = weight + np.linalg.solve(curvature, rows.T @ (target - p) - penalty @ weight)
    logits: Array = whole @ weight
    return logits
