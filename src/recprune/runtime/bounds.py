"""Upper bounds of the logits of a block of items, so that blocks can be skipped exactly.

Named axes: B blocks, K columns of sums, H neurons. A block's items lie in a box: column by column
a middle and a half width, (B, K). Interval arithmetic takes the box through the head (Moore 1966;
for layers: Gowal et al. 2018, section 3): of a product, the half width goes through the absolute
weights; of a relu, both ends do; the square of a sum is at most (|middle| + half width)².

What rounding may add to a bound, or to a score that is held against it, is bounded too (Higham
2002, section 3.1: a sum of n products is off by at most γₙ = n·u / (1 − n·u) of the sum of their
absolute values), and added. So a bound holds for the numbers as they are computed.
"""

from __future__ import annotations

import numpy as np

from recprune.runtime.heads import FirstHead, Head, TowersHead
from recprune.runtime.tensors import F32, F64

__all__ = ["Bound", "bound_of"]

#: Half the distance from 1 to the next float32.
UNIT = 2.0**-24
#: Additions and roundings behind a column of an item's sums, at most; a generous count.
STEPS = 32


class Bound:
    """Upper bounds over fixed boxes.

    Args:
        head: what makes logits of sums.
        middle: of each box, (B, K).
        half: widths, (B, K).
    """

    def __init__(self, head: FirstHead, middle: F32, half: F32) -> None:
        self.head, self.middle, self.half = head, middle, half
        self.layers = [(w, b, np.abs(w)) for w, b in head.later_layers()]
        #: The largest absolute value of each column.
        self.reach: F64 = (np.abs(middle) + half).max(axis=0).astype(np.float64)

    def __call__(self, shift: F32) -> F32:
        """Return the bounds, (B,), when ``shift``, (K,) or (B, K), is added to all of a block."""
        head, half = self.head, self.half
        middle = self.middle + shift
        middle += head.start
        bound: F32 = middle[:, head.linear] + half[:, head.linear]
        if head.pairs:
            sums = np.abs(middle[:, head.linear + 1 :])
            sums += half[:, head.linear + 1 :]
            bound += 0.5 * np.einsum("bk,bk->b", sums, sums)
        if self.layers:
            bound += self._layers(middle[:, : head.hidden], half[:, : head.hidden])
        return bound + np.float32(self._rounding(np.abs(shift)))

    def _layers(self, middle: F32, half: F32) -> F32:
        for weight, bias, size in self.layers:
            high, low = np.maximum(middle + half, 0), np.maximum(middle - half, 0)
            middle, half = (high + low) @ weight, (high - low) @ size
            middle *= 0.5
            half *= 0.5
            middle += bias
        return (middle + half)[:, 0]

    def _rounding(self, shift: F32) -> float:
        """Return what rounding may add up to, in the bound and in the score together."""
        head = self.head
        largest = self.reach + (shift if shift.ndim == 1 else shift.max(axis=0)) + abs(head.start)
        off = STEPS * UNIT * largest
        total = off[head.linear]
        if head.pairs:
            sums, err = largest[head.linear + 1 :], off[head.linear + 1 :]
            total += sums @ err + _gamma(len(sums) + 2) * (sums @ sums)
        largest, off = largest[: head.hidden], off[: head.hidden]
        for _, bias, size in self.layers:
            off = off @ size + _gamma(len(size) + 4) * (largest @ size + np.abs(bias))
            largest = largest @ size + np.abs(bias)
        if self.layers:
            total += off[0] + 4 * UNIT * largest[0]
        return float(4 * total)


class DotBound:
    """Upper bounds of the products of boxes of vectors with one vector.

    Args:
        middle: of each box, (B, V).
        half: widths, (B, V).
    """

    def __init__(self, middle: F32, half: F32) -> None:
        self.middle, self.half = middle, half
        self.reach: F64 = (np.abs(middle) + half).max(axis=0).astype(np.float64)

    def __call__(self, vector: F32) -> F32:
        """Return the bounds, (B,), of the products with a vector, (V,)."""
        size = np.abs(vector)
        off = _gamma(len(vector) + 8) * (self.reach @ size)
        bound: F32 = self.middle @ vector + self.half @ size
        return bound + np.float32(4 * off)


def bound_of(head: Head, middle: F32, half: F32) -> Bound | DotBound | None:
    """Return what bounds a head's logits over boxes; None where nothing does."""
    if isinstance(head, TowersHead):
        return DotBound(middle, half)
    return Bound(head, middle, half) if isinstance(head, FirstHead) else None


def _gamma(steps: int) -> float:
    return steps * UNIT / (1 - steps * UNIT)
