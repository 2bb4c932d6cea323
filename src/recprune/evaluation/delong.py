"""The standard error of an AUC difference, in closed form, with clustered rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["clustered_delong"]

Array = NDArray[np.float64]


def clustered_delong(
    label: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    clusters: NDArray[np.integer] | None = None,
) -> tuple[float, float]:
    """Return AUC(second) − AUC(first) on the same rows, and its standard error.

    The structural components of DeLong et al. 1988 (eq. 3 and 4), summed within clusters as in
    Obuchowski 1997 (eq. 3 to 5). With one row a cluster it is DeLong's, up to terms of 1/n.

    Args:
        label: 0 or 1, shape (n_rows,), both present.
        first, second: scores, shape (n_rows,).
        clusters: each row's user, shape (n_rows,); None = every row by itself.
    """
    positive = np.asarray(label) == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise ParameterError("clustered_delong needs rows of both classes; all labels are equal.")
    above, below = (
        b - a
        for a, b in zip(_components(positive, first), _components(positive, second), strict=True)
    )
    difference = float(above.mean())
    share = np.empty(len(positive))
    share[positive] = (above - difference) / ones
    share[~positive] = (below - difference) / zeros
    if clusters is None:
        return difference, float(np.sqrt(_unbiased(share[positive]) + _unbiased(share[~positive])))
    _, owner = np.unique(clusters, return_inverse=True)
    return difference, float(np.sqrt(_unbiased(np.bincount(owner, share).astype(np.float64))))


def _components(positive: NDArray[np.bool_], score: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return, for each positive, the share of negatives below it, and for each negative, the
    share of positives above it; ties count one half.
    """
    high, low = np.sort(score[positive]), np.sort(score[~positive])
    above = _share_below(low, score[positive])
    return above, 1 - _share_below(high, score[~positive])


def _share_below(sorted_scores: NDArray[np.floating], values: NDArray[np.floating]) -> Array:
    left = np.searchsorted(sorted_scores, values, side="left")
    right = np.searchsorted(sorted_scores, values, side="right")
    return np.asarray((left + right) / (2 * len(sorted_scores)))


def _unbiased(share: Array) -> float:
    """Return the variance of the sum of independent shares whose mean is near zero."""
    n = len(share)
    return float((share**2).sum()) * n / max(n - 1, 1)
