"""The standard error of an AUC difference, in closed form, with clustered rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import Clusters, PairedAuc
from recprune.metrics.areas import placements

__all__ = ["clustered_delong", "delong_error"]

Array = NDArray[np.float64]


def clustered_delong(
    label: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    clusters: NDArray[Any] | None = None,
    weight: NDArray[Any] | None = None,
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

    With one row a cluster it is DeLong's to the letter. A row of weight w stands for w rows of one
    cluster.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        first, second: scores, shape ``(n_rows,)``.
        clusters: each row's user, shape ``(n_rows,)``; None = every row by itself.
        weight: how much each row counts, > 0, shape ``(n_rows,)``; None = alike.

    Returns:
        The difference and its standard error: NaN where one class lies in a single cluster, so
        that nothing can be said of its spread.

    Raises:
        ParameterError: one class only.

    >>> label = np.array([0, 0, 1, 1])
    >>> clustered_delong(label, np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4]))
    (-0.25, 0.3535...)
    """
    positive = np.asarray(label) == 1
    if not positive.any() or positive.all():
        raise ParameterError("clustered_delong needs rows of both classes; all labels are equal.")
    owner = Clusters(len(positive), None if clusters is None else np.asarray(clusters))
    if weight is None:
        pair = PairedAuc(positive, np.asarray(first)[None], np.asarray(second)[None], owner)
        return float(pair.observed[0]), delong_error(positive, pair.gain[0], owner)
    w = np.asarray(weight, np.float64)
    gain = placements(positive, second, w) - placements(positive, first, w)
    difference = float(np.average(gain[positive], weights=w[positive]))
    return difference, delong_error(positive, gain, owner, w)


def delong_error(
    positive: NDArray[np.bool_], gain: Array, clusters: Clusters, weight: Array | None = None
) -> float:
    """Return the standard error of :func:`clustered_delong`, whose formula and terms these are.

    Args:
        positive: which rows are, shape ``(n_rows,)``, both classes present.
        gain: V10 of a positive row and V01 of a negative one, ``(n_rows,)``; see
            :class:`recprune.evaluation.bootstrap.PairedAuc`.
        clusters: each row's user.
        weight: how much each row counts, > 0; None = alike.
    """
    code, size = clusters.code, clusters.size
    w = np.ones(len(gain)) if weight is None else weight
    excess = w * (gain - np.average(gain[positive], weights=w[positive]))
    up, down = (np.bincount(code[here], excess[here], size) for here in (positive, ~positive))
    rows, others = (np.bincount(code[here], w[here], size) for here in (positive, ~positive))
    ones, zeros = rows.sum(), others.sum()
    with_ones, with_zeros = np.count_nonzero(rows), np.count_nonzero(others)
    if min(with_ones, with_zeros) < 2:
        return float("nan")
    variance = (
        with_ones / (with_ones - 1) * float(up @ up) / ones**2
        + with_zeros / (with_zeros - 1) * float(down @ down) / zeros**2
        + 2 * size / (size - 1) * float(up @ down) / (ones * zeros)
    )
    # The three factors differ, so a variance near zero may come out a little below it.
    return float(np.sqrt(max(variance, 0.0)))
