"""Rows in the order of a model's scores: what AUC, its parts and its resamples need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["LANES", "Ranked"]

Array = NDArray[np.float64]

#: Resamples that one pass over the rows does: their counts for a cluster fill one load.
LANES = 16
#: What a row is, in its order: positive, tied with another row, the last of those tied.
POSITIVE, TIED, LAST = np.uint8(1), np.uint8(2), np.uint8(4)


class Ranked:
    """Labelled rows, sorted once by a model's scores, the lowest first.

    Args:
        positive: bool, shape ``(n_rows,)``.
        score: shape ``(n_rows,)``; equal scores are ties.
    """

    def __init__(self, positive: NDArray[np.bool_], score: NDArray[Any]) -> None:
        # Rows of one score are one group, so that their order does not matter.
        self._order = np.argsort(score)
        ordered = score[self._order]
        self._ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        self._size = np.diff(self._ends, prepend=-1)
        kind = positive[self._order].astype(np.uint8)
        if len(self._ends) < len(ordered):
            kind[np.repeat(self._size > 1, self._size)] |= TIED
            kind[self._ends[self._size > 1]] |= LAST
        self._kind = kind

    def placements(self) -> Array:
        """Return, for each positive row, the share of negatives below it, and for each negative
        row the share of positives above it; ties count one half. In the rows' order, ``(n_rows,)``.
        """
        one = (self._kind & POSITIVE).astype(bool)
        high = np.cumsum(one)[self._ends]
        low = self._ends + 1 - high
        below = (low + np.append(0, low[:-1])) / (2 * low[-1])
        above = 1 - (high + np.append(0, high[:-1])) / (2 * high[-1])
        if len(self._ends) < len(one):
            below, above = np.repeat(below, self._size), np.repeat(above, self._size)
        out = np.empty(len(one))
        out[self._order] = np.where(one, below, above)
        return out

    def codes(self, code: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return each row's cluster, in the order of the scores."""
        return code[self._order].astype(np.int32)

    def areas(self, code: NDArray[np.int32], counts: NDArray[np.uint8]) -> Array:
        """Return the AUC in each resample, NaN where a class is missing, shape ``(LANES,)``.

        Args:
            code: from :meth:`codes`.
            counts: how often each cluster occurs in each, shape ``(n_clusters, LANES)``.
        """
        pairs, sums = np.empty(LANES), np.empty((2, LANES))
        _weighted_pairs(code, self._kind, counts, pairs, sums)
        with np.errstate(invalid="ignore"):
            return np.asarray(pairs / (sums[0] * sums[1]))


@compiled
def _weighted_pairs(
    code: NDArray[np.int32],
    kind: NDArray[np.uint8],
    counts: NDArray[np.uint8],
    pairs: Array,
    sums: Array,
) -> None:
    """Weigh the pairs of a positive and a negative row that are in order, ties one half.

    Whole numbers and halves in 64 bits: the sums are exact, whatever their order, as long as there
    are fewer than 2**52 pairs.

    Args:
        code, kind, counts: of rows in the order of their scores; see :class:`Ranked`.
        pairs: out, shape ``(LANES,)``.
        sums: out, weights of all negative rows and of all positive ones, shape ``(2, LANES)``.
    """
    below, found, ones = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    high, low = np.zeros(LANES), np.zeros(LANES)
    for i in range(len(code)):
        c, what = code[i], kind[i]
        if what == 0:
            for d in range(LANES):
                below[d] += counts[c, d]
        elif what == 1:
            for d in range(LANES):
                found[d] += counts[c, d] * below[d]
                ones[d] += counts[c, d]
        else:
            if what & 1:
                for d in range(LANES):
                    high[d] += counts[c, d]
            else:
                for d in range(LANES):
                    low[d] += counts[c, d]
            if what & 4:
                for d in range(LANES):
                    found[d] += high[d] * (below[d] + low[d] / 2)
                    below[d] += low[d]
                    ones[d] += high[d]
                    high[d] = low[d] = 0.0
    for d in range(LANES):
        pairs[d], sums[0, d], sums[1, d] = found[d], below[d], ones[d]
