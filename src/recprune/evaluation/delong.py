"""The standard error of an AUC difference, in closed form, with clustered rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["clustered_delong", "influences"]

Array = NDArray[np.float64]


def clustered_delong(
    label: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    clusters: NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Return AUC(second) − AUC(first) on the same rows, and its standard error.

    The structural components of DeLong et al. 1988, "Comparing the areas under two or more
    correlated receiver operating characteristic curves" (V10 and V01), summed within clusters as
    in Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data": with m and n rows of
    each class in a cluster, out of M and N, and d the difference,

    - S10 = I10 / ((I10 − 1) M) · Σ (V10 − m d)²  over the I10 clusters with a positive row,
    - S01 = I01 / ((I01 − 1) N) · Σ (V01 − n d)²  over the I01 clusters with a negative row,
    - S11 = I / (I − 1) · Σ (V10 − m d)(V01 − n d)  over all I clusters,
    - variance = S10 / M + S01 / N + 2 S11 / (M N).

    With one row a cluster it is DeLong's to the letter.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        first, second: scores, shape ``(n_rows,)``.
        clusters: each row's user, shape ``(n_rows,)``; None = every row by itself.

    Returns:
        The difference and its standard error: NaN where one class lies in a single cluster, so
        that nothing can be said of its spread.

    Raises:
        ParameterError: one class only.

    >>> label = np.array([0, 0, 1, 1])
    >>> clustered_delong(label, np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4]))
    (-0.25, 0.3535...)
    """
    difference, above, below, positive = _components(label, first, second)
    ones, zeros = len(above), len(below)
    code = (
        np.arange(len(positive))
        if clusters is None
        else np.unique(clusters, return_inverse=True)[1].ravel()
    )
    size = int(code.max()) + 1
    up = np.bincount(code[positive], above - difference, size)
    down = np.bincount(code[~positive], below - difference, size)
    with_ones = np.count_nonzero(np.bincount(code[positive], minlength=size))
    with_zeros = np.count_nonzero(np.bincount(code[~positive], minlength=size))
    if min(with_ones, with_zeros) < 2:
        return difference, float("nan")
    variance = (
        with_ones / (with_ones - 1) * float(up @ up) / ones**2
        + with_zeros / (with_zeros - 1) * float(down @ down) / zeros**2
        + 2 * size / (size - 1) * float(up @ down) / (ones * zeros)
    )
    # The three factors differ, so a variance near zero may come out a little below it.
    return difference, float(np.sqrt(max(variance, 0.0)))


def influences(
    label: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
) -> Array:
    """Return how far each row moves the AUC difference: they sum to 0, shape ``(n_rows,)``.

    The variance of the difference is about the sum over clusters of (a cluster's sum)².

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        first, second: scores, shape ``(n_rows,)``.
    """
    difference, above, below, positive = _components(label, first, second)
    out = np.empty(len(positive))
    out[positive] = (above - difference) / len(above)
    out[~positive] = (below - difference) / len(below)
    return out


def _components(
    label: NDArray[Any], first: NDArray[Any], second: NDArray[Any]
) -> tuple[float, Array, Array, NDArray[np.bool_]]:
    """Return the difference, and each positive's and each negative's part in it."""
    positive = np.asarray(label) == 1
    if not positive.any() or positive.all():
        raise ParameterError("clustered_delong needs rows of both classes; all labels are equal.")
    above, below = (
        b - a
        for a, b in zip(_placements(positive, first), _placements(positive, second), strict=True)
    )
    return float(above.mean()), above, below, positive


def _placements(positive: NDArray[np.bool_], score: NDArray[Any]) -> tuple[Array, Array]:
    """Return, for each positive, the share of negatives below it, and for each negative, the
    share of positives above it; ties count one half.
    """
    score = np.asarray(score)
    high, low = score[positive], score[~positive]
    return _share_below(np.sort(low), high), 1 - _share_below(np.sort(high), low)


def _share_below(among: NDArray[Any], values: NDArray[Any]) -> Array:
    # Sorted needles find their places in a cache-friendly walk.
    order = np.argsort(values, kind="stable")
    left = np.searchsorted(among, values[order], side="left")
    right = np.searchsorted(among, values[order], side="right")
    out = np.empty(len(values))
    out[order] = (left + right) / (2 * len(among))
    return out
