"""Areas under curves: ROC (AUC), ROC within users (GAUC), precision against recall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune._support import compiled
from recprune.errors import ParameterError
from recprune.metrics._checks import Array, binary, both_classes, matched, numbers, weights

__all__ = ["auc", "average_precision", "gauc", "group_auc", "placements"]

#: Rows from which one walk over both classes pays for the time that numba takes to load.
MANY = 1 << 20


def auc(label: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the share of (positive, negative) pairs that the scores put in order.

    A pair with equal scores counts one half (Mann–Whitney). Without weights the count is exact.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        score: higher = more likely positive, shape ``(n_rows,)``; infinities are allowed.
        weight: of each row, ≥ 0, shape ``(n_rows,)``; a pair weighs the product of its rows'.

    Raises:
        ParameterError: lengths differ, a score is NaN, a label is not 0/1, or one class only.

    Row 0 (negative) lies below both positives: 2 pairs. Row 1 ties with row 3: one half; it
    lies above row 2: nothing. So 2.5 of 4 pairs.

    >>> auc([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.6])
    0.625
    """
    positive = binary(label, "auc")
    x = matched(numbers(score, "score", "auc"), len(positive), "score", "auc")
    if weight is not None:
        return _weighted(positive, x, weights(weight, len(positive), "auc"))
    ones, zeros = both_classes(positive, "auc")
    high, low = np.sort(x[positive]), np.sort(x[~positive])
    if len(x) >= MANY and _fits_kernels(x.dtype):
        halves = int(_walk(low, high))
    elif ones <= zeros:  # looking the rarer class up in the other one is the cheaper way round
        halves = _ranks(low, high)
    else:
        halves = 2 * ones * zeros - _ranks(high, low)
    return halves / (2 * ones * zeros)


def _ranks(among: Array, values: Array) -> int:
    """Return twice the number of (among < value) pairs plus the number of equal ones."""
    left = int(np.searchsorted(among, values, side="left").sum(dtype=np.int64))
    return left + int(np.searchsorted(among, values, side="right").sum(dtype=np.int64))


@compiled
def _walk(among: Array, values: Array) -> int:
    """Return the same as :func:`_ranks`, of two sorted arrays."""
    below, upto, total, size = 0, 0, 0, len(among)
    for value in values:
        while below < size and among[below] < value:
            below += 1
        upto = max(upto, below)
        while upto < size and among[upto] <= value:
            upto += 1
        total += below + upto
    return total


def _fits_kernels(dtype: np.dtype[Any]) -> bool:
    return dtype.isnative and dtype.kind in "iuf" and dtype.itemsize in (4, 8)


def _weighted(positive: NDArray[np.bool_], x: Array, w: NDArray[np.float64]) -> float:
    both_classes(positive, "auc")
    negative = ~positive
    if not (w[positive].any() and w[negative].any()):
        raise ParameterError.of("weight", "auc", "above 0 for some row of each class", "all zeros")
    # Each class on its own scale, as only ratios count: no sum or product overflows or vanishes.
    above, w = w[positive] / w[positive].max(), w[negative] / w[negative].max()
    order = np.argsort(x[negative], kind="stable")
    low = x[negative][order]
    below = np.concatenate([[0.0], np.cumsum(w[order])])
    high = x[positive]
    left, right = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float(above @ (below[left] + below[right]) / (2 * above.sum() * below[-1]))


def placements(
    positive: NDArray[np.bool_], score: Array, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each positive's weighted share of negatives below it (ties one half), and each
    negative's of positives above it: V10 and V01 of DeLong et al. 1988, whose means are the AUC.

    Args:
        positive: which rows are, shape ``(n_rows,)``.
        score: shape ``(n_rows,)``.
        weight: of each row, some above 0 in each class, shape ``(n_rows,)``.

    >>> placements(np.array([False, False, True]), np.array([1, 2, 2]), np.ones(3)).tolist()
    [1.0, 0.5, 0.75]
    """
    out = np.empty(len(score))
    for here, sign in ((positive, 1.0), (~positive, -1.0)):
        order = np.argsort(sign * score[~here], kind="stable")
        others = (sign * score[~here])[order]
        below = np.concatenate([[0.0], np.cumsum(weight[~here][order])])
        mine = sign * score[here]
        left = below[np.searchsorted(others, mine, "left")]
        out[here] = (left + below[np.searchsorted(others, mine, "right")]) / (2 * below[-1])
    return out


def group_auc(
    label: ArrayLike, score: ArrayLike, users: ArrayLike
) -> tuple[Array, NDArray[np.float64], NDArray[np.int64]]:
    """Return each user's own AUC.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        score: shape ``(n_rows,)``.
        users: user of each row, shape ``(n_rows,)``.

    Returns:
        The distinct users in order, their AUC (NaN where a user has one class only), and their
        rows, each of shape ``(n_users,)``.

    Raises:
        ParameterError: lengths differ, a score is NaN, a label is not 0/1, or the users cannot be
            put in order.
    """
    positive = binary(label, "group_auc")
    n = len(positive)
    x = matched(numbers(score, "score", "group_auc"), n, "score", "group_auc")
    who = np.asarray(users)
    if who.ndim != 1:
        raise ParameterError.of("users", "group_auc", "a one-axis array", f"{who.ndim} axes")
    try:
        names, code = np.unique(matched(who, n, "users", "group_auc"), return_inverse=True)
    except TypeError:
        raise ParameterError.of(
            "users", "group_auc", "values of one type, none missing", f"an array of {who.dtype}"
        ) from None
    order = np.lexsort((x, code))
    code, x, positive = code[order], x[order], positive[order]
    starts = np.flatnonzero(np.append(True, (code[1:] != code[:-1]) | (x[1:] != x[:-1])))
    sizes = np.diff(np.append(starts, n))
    rank = np.repeat(starts + (sizes + 1) / 2, sizes)  # the mean rank of equal scores
    rows = np.bincount(code, minlength=len(names))
    first = np.cumsum(rows) - rows
    ones = np.bincount(code, weights=positive, minlength=len(names))
    ranks = np.bincount(code, weights=positive * (rank - first[code]), minlength=len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (ranks - ones * (ones + 1) / 2) / (ones * (rows - ones))
    return names, values, rows.astype(np.int64)


def gauc(label: ArrayLike, score: ArrayLike, users: ArrayLike) -> float:
    """Return the mean of the users' own AUC, weighted by their rows (impressions).

    Users with one class have no AUC and are left out; :func:`group_auc` tells which (Zhou et al.
    2018, "Deep Interest Network for Click-Through Rate Prediction", eq. 7).

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        score: shape ``(n_rows,)``.
        users: user of each row, shape ``(n_rows,)``.

    Raises:
        ParameterError: as :func:`group_auc`, or no user has both classes.

    User 7 has AUC 1 on 2 rows, user 8 has 0.5 on 3 rows, user 9 no negative row.

    >>> gauc([1, 0, 1, 0, 0, 1], [0.9, 0.1, 0.5, 0.2, 0.7, 0.3], [7, 7, 8, 8, 8, 9])
    0.7
    """
    _, values, rows = group_auc(label, score, users)
    known = ~np.isnan(values)
    if not known.any():
        raise ParameterError.of("label", "gauc", "of both classes for some user", "no such user")
    return float(np.average(values[known], weights=rows[known]))


def average_precision(label: ArrayLike, score: ArrayLike) -> float:
    """Return the area under precision against recall, as a step function (PR-AUC).

    Σ over distinct scores, from the highest, of (recall gained) × precision; equal scores enter
    together.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, with a positive.
        score: shape ``(n_rows,)``.

    Raises:
        ParameterError: lengths differ, a score is NaN, a label is not 0/1, or no positive row.

    Half of recall is gained at precision 1, the other half at precision 2/3.

    >>> round(average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), 4)
    0.8333
    """
    owner = "average_precision"
    positive = binary(label, owner)
    x = matched(numbers(score, "score", owner), len(positive), "score", owner)
    ones = int(np.count_nonzero(positive))
    if not ones:
        raise ParameterError.of("label", owner, "an array with a positive row", "zeros only")
    order = np.argsort(x, kind="stable")[::-1]
    x, hits = x[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(x[1:] != x[:-1], True))
    caught = hits[ends]
    gained = np.diff(caught, prepend=0) / ones
    return float(np.sum(gained * caught / (ends + 1)))
