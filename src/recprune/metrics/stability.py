"""How far one distribution has moved from another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from recprune.errors import ParameterError

__all__ = ["population_stability"]

#: Stands for the share of a part that nothing fell into.
LEAST = 1e-4


def population_stability(counts: ArrayLike, reference: ArrayLike) -> float:
    """Return the population stability index of counts against those of a reference.

    PSI = Σ (p − q) ln(p / q) over the parts, p and q their shares. Below 0.1 little has moved,
    beyond 0.25 much (the rule of thumb of credit scoring: Siddiqi 2006, *Credit Risk Scorecards*,
    chapter 10). A share below 1/10,000 counts as that.

    Args:
        counts: how often each part came up, shape ``(n_parts,)``.
        reference: how often it usually does, shape ``(n_parts,)``.

    Raises:
        ParameterError: shapes differ, or nothing was counted.

    Shares of 0.5 and 0.5 against 0.25 and 0.75: 0.25 · ln 2 + 0.25 · ln 1.5.

    >>> round(population_stability([10, 10], [5, 15]), 4)
    0.2747
    """
    owner = "population_stability"
    late, usual = np.asarray(counts, np.float64), np.asarray(reference, np.float64)
    if late.ndim != 1 or late.shape != usual.shape:
        raise ParameterError.of("reference", owner, f"of shape {late.shape}", usual.shape)
    for name, given in (("counts", late), ("reference", usual)):
        if not given.sum() > 0:
            raise ParameterError.of(name, owner, "counts with a sum above 0", given.sum())
    p, q = (np.maximum(x / x.sum(), LEAST) for x in (late, usual))
    return float(((p - q) * np.log(p / q)).sum())
