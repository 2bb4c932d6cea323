"""How far a column's values in the test rows have moved from those in the training rows."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.checks.sheet import Sheet
from recprune.data.quality import Finding, Severity
from recprune.metrics import population_stability

__all__ = ["drifted"]

#: The usual reading of the index: below 0.1 none, from 0.25 on much.
SOME, MUCH = 0.1, 0.25
#: Numbers are cut at deciles; of categories the most frequent count by themselves.
BINS, VALUES = 10, 20
#: An index within so many standard deviations of chance is no drift.
CHANCE = 4.0
#: Rows added to each bin: of few rows, an empty bin says little.
PRIOR = 0.5


def drifted(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields whose values moved between training and test rows; ``value`` = the index.

    From 0.1 on it is an info, from 0.25 on a warning, if chance alone does not explain it: without
    a shift, PSI ÷ (1/n + 1/m) is χ² with bins − 1 degrees of freedom (Yurdakul 2018, "Statistical
    properties of population stability index", theorem 3.1).
    Ids of users and items are left out: a split by user has other users by intent.
    """
    rows = sheet.parts[1].rows
    found = []
    for name in sheet.fields if rows else []:
        counts = _histograms(sheet, name)
        n, m = counts.sum(axis=1)
        if not n:
            return ()
        value = population_stability(counts[1] + PRIOR, counts[0] + PRIOR)
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
