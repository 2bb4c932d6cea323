"""Resamples of a paired AUC difference: by row, by user, or by user and item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream

__all__ = ["PairedAuc", "resampled_differences"]

Array = NDArray[np.float64]


class PairedAuc:
    """AUC(second) − AUC(first) under row weights, sorted once for all draws.

    Args:
        label: 0 or 1, shape (n_rows,).
        first, second: scores, shape (n_rows,).
    """

    def __init__(
        self,
        label: NDArray[np.floating],
        first: NDArray[np.floating],
        second: NDArray[np.floating],
    ) -> None:
        self.positive = np.asarray(label) == 1
        self.sides = [_Sorted(self.positive, score) for score in (first, second)]

    def difference(self, weight: Array) -> float:
        """Return the difference under non-negative row weights, shape (n_rows,)."""
        first, second = (side.auc(weight) for side in self.sides)
        return second - first


class _Sorted:
    def __init__(self, positive: NDArray[np.bool_], score: NDArray[np.floating]) -> None:
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        self.order, self.positive = order, positive[order].astype(np.float64)
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        # Rows of equal score form one group; most scores are alone, which needs no sums.
        self.starts = None if len(ends) == len(order) else np.append(0, ends[:-1] + 1)

    def auc(self, weight: Array) -> float:
        w = weight[self.order]
        up = w * self.positive
        down = w - up
        if self.starts is not None:
            up, down = (np.add.reduceat(x, self.starts) for x in (up, down))
        below = np.cumsum(down)
        total = up.sum() * below[-1]
        return float((up @ (below - 0.5 * down)) / total) if total else 0.5


def resampled_differences(
    pair: PairedAuc,
    clusters: Sequence[NDArray[np.integer] | None],
    draws: int,
    seed: int,
    name: str,
) -> Array:
    """Return the difference under ``draws`` resamples, shape (draws,).

    Clusters are drawn with replacement (multinomial counts, so each draw has as many clusters as
    the data). With two clusterings, a row's weight is the product of its user's and its item's
    count: the pigeonhole bootstrap of Owen & Eckles 2012 (section 3), which does not understate
    the variance of crossed data. ``None`` as a clustering means every row by itself.
    """
    n = len(pair.positive)
    owners = [
        np.arange(n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
        for cluster in clusters
    ]
    out = np.empty(draws)
    for draw in range(draws):
        # Counted by draw, so that any number of workers would see the same resamples.
        source = stream(seed, name, draw)
        weight = np.ones(n)
        for owner in owners:
            size = int(owner.max()) + 1
            weight *= np.bincount(source.integers(0, size, size), minlength=size)[owner]
        out[draw] = pair.difference(weight)
    return out
