"""Which positions of which tensors go together: a union–find over positions, in NumPy.

Every position of every dimension that could be cut has a *label*, an int; 0 = fixed, as inputs,
constants and dimensions of size 1 are. An operation that lines two dimensions up unites their
labels, position by position; one that needs a dimension whole *freezes* its labels, with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dims", "Labels", "Vector"]

#: Labels of one dimension, shape (size,).
Vector = NDArray[np.int64]
#: Labels of a tensor, one vector a dimension.
Dims = list[Vector]


class Labels:
    """Classes of labels that are cut together or not at all.

    >>> labels = Labels()
    >>> a, b = labels.fresh(3), labels.fresh(3)
    >>> joined = labels.unite([a, b], "added")
    >>> labels.freeze(b[:1], "part of the output")
    >>> labels.reasons(a)
    ['part of the output', '', '']
    """

    def __init__(self) -> None:
        self._parent: Vector = np.zeros(1, np.int64)
        self._why: NDArray[np.int32] = np.zeros(1, np.int32)
        self._texts = [""]

    def fresh(self, size: int) -> Vector:
        """Return new labels for a dimension; one of size 1 is never cut, so it is fixed."""
        if size == 1:
            return np.zeros(1, np.int64)
        new = np.arange(len(self._parent), len(self._parent) + size)
        self._parent = np.concatenate([self._parent, new])
        self._why = np.concatenate([self._why, np.zeros(size, np.int32)])
        return new

    def roots(self, labels: Vector) -> Vector:
        """Return the smallest label of each one's class."""
        found = self._parent[labels]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                break
            found = above
        self._parent[labels] = found
        return found

    def freeze(self, labels: Vector, reason: str) -> None:
        """Say why these must stay; the first reason of a class stands."""
        roots = np.unique(self.roots(labels))
        roots = roots[(roots != 0) & (self._why[roots] == 0)]
        if len(roots):
            self._texts.append(reason)
            self._why[roots] = len(self._texts) - 1

    def frozen(self, labels: Vector) -> NDArray[np.bool_]:
        """Tell which labels are fixed or frozen."""
        roots = self.roots(labels)
        fixed: NDArray[np.bool_] = (roots == 0) | (self._why[roots] != 0)
        return fixed

    def reasons(self, labels: Vector) -> list[str]:
        """Return each label's reason to stay; ``""`` = it can be cut, or is fixed by nature."""
        return [self._texts[w] for w in self._why[self.roots(labels)]]

    def unite(self, several: Sequence[Vector], where: str) -> Vector:
        """Line dimensions of one size up; return the labels of what comes out.

        A label that meets a fixed position is frozen: the other side cannot follow a cut.
        """
        out = several[0]
        for other in several[1:]:
            here, there = out != 0, other != 0
            self._join(out[here & there], other[here & there])
            reason = f"lined up with a dimension of fixed size ({where})"
            self.freeze(out[here & ~there], reason)
            self.freeze(other[there & ~here], reason)
            out = np.where(here, out, other)
        return out

    def _join(self, left: Vector, right: Vector) -> None:
        touched = []
        while True:
            a, b = self.roots(left), self.roots(right)
            differ = a != b
            if not differ.any():
                break
            low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
            touched += [low, high]
            # Of several partners the smallest is linked now, the others in the next round.
            np.minimum.at(self._parent, high, low)
        if touched:
            nodes = np.unique(np.concatenate(touched))
            nodes = nodes[self._why[nodes] != 0]
            self._why[self.roots(nodes)] = self._why[nodes]

    def merged(self, outer: Vector, inner: Vector, where: str) -> Vector:
        """Return the labels of two neighbouring dimensions that were flattened into one.

        Only one of the two can be cut afterwards; where both could, it is the inner one.
        """
        if not outer.any() and not inner.any():
            return np.zeros(len(outer) * len(inner), np.int64)
        if not self.frozen(outer).all() and not self.frozen(inner).all():
            self.freeze(outer, f"flattened together with another dimension that is cut ({where})")
        o = np.broadcast_to(outer[:, None], (len(outer), len(inner)))
        i = np.broadcast_to(inner[None, :], o.shape)
        # A frozen label is kept rather than none, so that its reason is known further on.
        take_outer = ~self.frozen(outer)[:, None] | (i == 0)
        return np.where(take_outer, o, i).reshape(-1)

    def parted(self, labels: Vector, sizes: Sequence[int], where: str) -> Dims:
        """Return the labels of the dimensions that one was split into (by a view)."""
        dims: Dims = []
        for size in sizes[:-1]:
            grid = labels.reshape(size, -1)
            roots = self.roots(labels).reshape(size, -1)
            if (roots == roots[:, :1]).all():
                dims.append(grid[:, 0].copy())
                labels = np.zeros(grid.shape[1], np.int64)
            else:
                dims.append(np.zeros(size, np.int64))
                labels = self.unite(list(grid), where)
        return [*dims, labels]
