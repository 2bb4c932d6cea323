"""Upper bounds of the logits of a block of items, so that blocks can be skipped exactly.

Named axes: B blocks, G groups of them, K columns of sums, H neurons. A block's items lie in a box: column by column
a middle and a half width, (B, K). Interval arithmetic takes its ends through the head (Moore 1966;
for layers: Gowal et al. 2018, section 3): a product takes the upper end through the positive
weights and the lower end through the negative ones; a relu keeps both; the square of a sum is at
most that of its larger end.

What rounding may add to a bound, or to a score that is held against it, is bounded too (Higham
2002, section 3.1: a sum of n products is off by at most γₙ = n·u / (1 − n·u) of the sum of their
absolute values), and added. So a bound holds for the numbers as they are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.runtime.box_kernels import box_ends
from recprune.runtime.heads import FirstHead, Head, TowersHead
from recprune.runtime.tensors import F32, F64

__all__ = ["Bound", "bound_of"]

IntArray = NDArray[np.integer[Any]]
#: Half the distance from 1 to the next float32.
UNIT = 2.0**-24
#: Additions and roundings behind a column of an item's sums, at most; a generous count.
STEPS = 32
#: Bytes of the boxes that are taken through the layers at once, so that they stay in the cache.
BATCH_BYTES = 1 << 17


class Bound:
    """Upper bounds over fixed boxes.

    Args:
        head: what makes logits of sums.
        middle: of each box, (B, K).
        half: widths, (B, K).
        group: of each box, (B,).
    """

    def __init__(self, head: FirstHead, middle: F32, half: F32, group: IntArray) -> None:
        self.head, self.group = head, group.astype(np.intp)
        self._every, self._alone = np.arange(len(group)), np.zeros(len(group), np.intp)
        both = middle + half + head.start, middle - half + head.start
        #: Upper and lower ends of each box's neurons, (B, H) each.
        self.neurons = _columns(both, slice(0, head.hidden))
        #: Likewise of its first order and of its dims' sums, (B, K − H) each.
        self.sums = _columns(both, slice(head.linear, head.inputs))
        layers = head.later_layers()
        #: For rounding: absolute weights and biases.
        self.sizes = [(np.abs(weight), np.abs(bias)) for weight, bias in layers]
        #: (2H, 2H') and (2H',): from both ends of a layer's inputs to both ends of its outputs.
        self.layers = [_both_ends(weight, bias) for weight, bias in layers]
        if len(layers) > 1:
            # Of the last layer's inputs one end each: the upper where its weight is positive.
            weight = layers[-1][0][:, 0]
            matrix, bias = self.layers[-2]
            upper = np.arange(len(weight)) + np.where(weight > 0, 0, len(weight))
            self.layers[-2:] = [
                (np.ascontiguousarray(matrix[:, upper]), bias[upper]),
                (layers[-1][0], layers[-1][1]),
            ]
        elif layers:
            self.layers = [(self.layers[0][0][:, :1], self.layers[0][1][:1])]
        #: The largest absolute value of each column.
        self.reach: F64 = (np.abs(middle) + half).max(axis=0).astype(np.float64)
        width = max([2 * head.hidden, *(2 * len(b) for _, b in self.layers), 1])
        self.batch = max(BATCH_BYTES // (4 * width), 16)

    @property
    def nbytes(self) -> int:
        """Bytes of the boxes."""
        return sum(end.nbytes for end in (*self.neurons, *self.sums))

    def __call__(
        self, shift: F32, reach: F32, some: IntArray | None = None, *, compiled: bool = False
    ) -> F32:
        """Return the bounds, (B,).

        Args:
            shift: what is added to all boxes, (K,), or to those of each group, (G, K).
            reach: the largest absolute value of each column that comes into it, (K,).
            some: positions of the boxes that are asked for; None = all.
            compiled: whether numba is there to form ends and squares in one pass.
        """
        asked = self._every if some is None else some.astype(np.intp, copy=False)
        group = self.group if shift.ndim > 1 else self._alone
        shift, linear = np.atleast_2d(shift), self.head.linear
        bound = np.empty(len(asked), np.float32)
        for start in range(0, len(asked), self.batch):
            part = slice(start, min(start + self.batch, len(asked)))
            if compiled:
                value = box_ends(
                    self.neurons, self.sums, shift, asked[part], group, linear, bound[part]
                )
            else:
                # Of neighbours NumPy makes no copy.
                boxes = part if some is None else asked[part]
                value = self._ends(boxes, shift.take(group[boxes], axis=0), bound[part])
            if not self.layers:
                continue
            *inner, (matrix, bias) = self.layers
            for weight, add in inner:
                value = value @ weight
                value += add
                np.maximum(value, 0, out=value)
            bound[part] += value @ matrix[:, 0] + bias[0]
        return bound + np.float32(self._rounding(reach))

    def _ends(self, boxes: slice | IntArray, shift: F32, bound: F32) -> F32:
        """Do as :func:`recprune.runtime.box_kernels.box_ends`; ``shift`` is each box's own."""
        high, low = (end[boxes] for end in self.sums)
        rest = shift[:, self.head.linear : self.head.inputs]
        bound[:] = high[:, 0] + rest[:, 0]
        if self.head.pairs:
            sums = np.maximum(high[:, 1:] + rest[:, 1:], -(low[:, 1:] + rest[:, 1:]))
            bound += np.float32(0.5) * np.einsum("bk,bk->b", sums, sums)
        high, low = (end[boxes] for end in self.neurons)
        hidden = self.head.hidden
        value = np.empty((len(high), 2 * hidden), np.float32)
        np.add(high, shift[:, :hidden], out=value[:, :hidden])
        np.add(low, shift[:, :hidden], out=value[:, hidden:])
        return np.maximum(value, 0, out=value)

    def _rounding(self, reach: F32) -> float:
        """Return what rounding may add up to, in the bound and in the score together."""
        head = self.head
        largest = self.reach + reach + abs(head.start)
        off = STEPS * UNIT * largest
        total = off[head.linear]
        if head.pairs:
            sums, err = largest[head.linear + 1 :], off[head.linear + 1 :]
            total += sums @ err + _gamma(len(sums) + 2) * (sums @ sums)
        largest, off = largest[: head.hidden], off[: head.hidden]
        for size, bias in self.sizes:
            off = off @ size + _gamma(2 * len(size) + 4) * (largest @ size + bias)
            largest = largest @ size + bias
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

    @property
    def nbytes(self) -> int:
        """Bytes of the boxes."""
        return self.middle.nbytes + self.half.nbytes

    def __call__(
        self, shift: F32, reach: F32, some: IntArray | None = None, *, compiled: bool = False
    ) -> F32:
        """Return the bounds, (B,), of the products with a vector, (V,), and its absolute values.

        Args:
            shift: the vector.
            reach: its absolute values.
            some: see :class:`Bound`.
            compiled: likewise; these are plain products, and NumPy's always.
        """
        off = _gamma(len(shift) + 8) * (self.reach @ reach)
        places = slice(None) if some is None else some
        bound: F32 = self.middle[places] @ shift + self.half[places] @ reach
        return bound + np.float32(4 * off)


def _columns(both: tuple[F32, F32], part: slice) -> tuple[F32, F32]:
    high, low = (np.ascontiguousarray(end[:, part]) for end in both)
    return high, low


def bound_of(head: Head, middle: F32, half: F32, group: IntArray) -> Bound | DotBound | None:
    """Return what bounds a head's logits over boxes, see :class:`Bound`; None where nothing does."""
    if isinstance(head, TowersHead):
        return DotBound(middle, half)
    return Bound(head, middle, half, group) if isinstance(head, FirstHead) else None


def _both_ends(weight: F32, bias: F32) -> tuple[F32, F32]:
    """Return what takes both ends of inputs, (upper, lower), to both ends of outputs."""
    plus, minus = np.maximum(weight, 0), np.minimum(weight, 0)
    return np.block([[plus, minus], [minus, plus]]), np.concatenate([bias, bias])


def _gamma(steps: int) -> float:
    return steps * UNIT / (1 - steps * UNIT)
