"""How far a column's values in the test rows have moved from those in the training rows."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.checks.sheet import Sheet
from recprune.data.quality import Finding, Severity

__all__ = ["drifted", "population_stability"]

#: The usual reading of the index: below 0.1 none, from 0.25 on much.
SOME, MUCH = 0.1, 0.25
#: Numbers are cut at deciles; of categories the most frequent count by themselves.
BINS, VALUES = 10, 20
#: An index within so many standard deviations of chance is no drift.
CHANCE = 4.0


def population_stability(train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    """Return the population stability index of two histograms, Σ (q − p)·ln(q / p).

    This is Jeffreys' divergence (Siddiqi 2006, chapter 9; Yurdakul 2018, "Statistical properties of
    population stability index"). Half a row in each bin keeps empty ones finite.

    Args:
        train: rows a bin, shape ``(n_bins,)``; p is their distribution.
        test: the same of the test rows; q is theirs.

    >>> round(population_stability(np.array([500, 500]), np.array([800, 200])), 2)
    0.41
    """
    p = (train + 0.5) / (train.sum() + len(train) / 2)
    q = (test + 0.5) / (test.sum() + len(test) / 2)
    return float(((q - p) * np.log(q / p)).sum())


def drifted(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields whose values moved between training and test rows; ``value`` = the index.

    From 0.1 on it is an info, from 0.25 on a warning, if chance alone does not explain it: without
    a shift, PSI ÷ (1/n + 1/m) is χ² with bins − 1 degrees of freedom (Yurdakul 2018, theorem 3.1).
    Ids of users and items are left out: a split by user has other users by intent.
    """
    rows = sheet.parts[1].rows
    found = []
    for name in sheet.fields if rows else []:
        counts = _histograms(sheet, name)
        n, m = counts.sum(axis=1)
        if not n:
            return ()
        value = population_stability(counts[0], counts[1])
        free = counts.shape[1] - 1
        chance = (free + CHANCE * np.sqrt(2 * free)) * (1 / n + 1 / m)
        if value < max(SOME, chance):
            continue
        severity: Severity = "warning" if value >= MUCH else "info"
        message = f"{name!r} is distributed otherwise in the test rows (PSI {value:.2f})."
        action = "used as it is; what was learned from it may not hold later"
        found.append(Finding("drift", name, severity, rows, action, message, value))
    return tuple(found)


def _histograms(sheet: Sheet, name: str) -> NDArray[np.int64]:
    """Return rows a bin, shape ``(2, n_bins)``: of the training and of the test rows."""
    train, test = (part.frame[name] for part in sheet.parts)
    if sheet.kinds[name] == "numeric":
        values = [s.cast(pl.Float64).fill_null(float("nan")).to_numpy() for s in (train, test)]
        known = values[0][np.isfinite(values[0])]
        steps = np.linspace(0, 1, BINS + 1)[1:-1]
        edges = np.unique(np.quantile(known, steps)) if len(known) else np.empty(0)
        size = len(edges) + 2  # the last bin is for missing values
        codes = [np.where(np.isnan(x), size - 1, np.searchsorted(edges, x)) for x in values]
    else:
        counts = train.alias("value").value_counts()
        top = counts.sort("count", "value", descending=[True, False])["value"].head(VALUES)
        places = pl.Series(range(1, len(top) + 1), dtype=pl.Int64)
        codes = [
            s.replace_strict(top, places, default=0, return_dtype=pl.Int64).to_numpy()
            for s in (train, test)
        ]
        size = len(top) + 1
    both = np.stack([np.bincount(c, minlength=size) for c in codes])
    return both[:, both.sum(axis=0) > 0]
