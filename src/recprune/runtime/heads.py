"""From summed contributions to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from recprune.runtime.parts import Part, Towers
from recprune.runtime.tensors import F32, Layer

__all__ = ["FirstHead", "Head", "PartsHead", "TowersHead"]


class Head(Protocol):
    """What makes logits of what a model's fields sum up."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""

    def one(self, total: F32) -> F32:
        """Return the logit, shape (1,), of one row's sums (K,), overwritten."""

    def __call__(self, total: F32) -> F32:
        """Return the logits, shape (n,), of sums (n, K), which are overwritten."""


class FirstHead:
    """First order, FM and plain hidden layers, which need no more than one product's columns.

    Args:
        layers: the hidden layers, then the one of shape (1, H); or none at all.
        bias: the model's.
        sums: columns from the first order on: 1 + D with FM, else 1.
    """

    def __init__(self, layers: Sequence[Layer], bias: float, sums: int) -> None:
        self.hidden = len(layers[0][0]) if layers else 0
        self.linear = self.hidden + 1 if layers else 0
        self.inputs = self.linear + sums
        self.pairs, self.bias = sums > 1, bias
        start = np.zeros(self.inputs)
        start[self.linear] = bias
        if layers:
            start[: self.hidden], start[self.hidden] = layers[0][1], 1
        self.start: F32 = start.astype(np.float32)
        self.later: list[F32] = []
        for weight, add in layers[1:]:
            matrix = np.zeros((weight.shape[1] + 1, weight.shape[0] + 1))
            matrix[:-1, :-1], matrix[-1, :-1], matrix[-1, -1] = weight.T, add, 1
            self.later.append(matrix.astype(np.float32))
        if layers:
            # Rows of zeros for the columns that are no unit: the whole array goes in as it lies.
            self.later[0] = np.pad(self.later[0], ((0, sums), (0, 0)))
            # The last product has one column and hands on no column of ones.
            self.later[-1] = np.ascontiguousarray(self.later[-1][:, 0])
        # An array as the second operand spares NumPy turning 0 into one, a third of a small relu.
        self.zeros: list[F32] = [np.zeros(len(m), np.float32) for m in self.later]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.start.nbytes + sum(m.nbytes for m in self.later)

    def later_layers(self) -> list[tuple[F32, F32]]:
        """Return the layers after the first one: matrices (H_in, H_out) and biases (H_out,)."""
        layers, width = [], self.hidden
        for matrix in self.later:
            whole = matrix.reshape(len(matrix), -1)
            # All but the last hand on a column of ones.
            outputs = slice(None) if matrix.ndim == 1 else slice(-1)
            layers.append((np.ascontiguousarray(whole[:width, outputs]), whole[width, outputs]))
            width = layers[-1][0].shape[1]
        return layers

    def one(self, total: F32) -> F32:
        """Return the logit, shape (1,), of one row's total (K,), overwritten; as a call does."""
        np.add(total, self.start, total)
        logit = total[self.linear]
        if self.pairs:
            sums = total[self.linear + 1 :]
            logit = logit + 0.5 * sums.dot(sums)
        for zeros, matrix in zip(self.zeros, self.later, strict=True):
            np.maximum(total, zeros, out=total)
            total = total.dot(matrix)
        return np.array([logit + total if self.later else logit], np.float32)

    def __call__(self, total: F32) -> F32:
        """Return the logits, shape (n,), of totals (n, K), which are overwritten."""
        np.add(total, self.start, out=total)
        logit: F32 = total[:, self.linear].copy()
        if self.pairs:
            sums = total[:, self.linear + 1 :]
            logit += 0.5 * np.einsum("ij,ij->i", sums, sums)
        for matrix in self.later:
            np.maximum(total, 0, out=total)
            total = total @ matrix
        return logit + total if self.later else logit


class PartsHead:
    """A first head on the first columns, and a model's further parts on those that follow.

    Args:
        first: what it gives is added to.
        parts: each with how many columns of sums are its own; they stand in this order.
    """

    def __init__(self, first: FirstHead, parts: Sequence[tuple[int, Part]]) -> None:
        self.first, self.parts = first, []
        start = first.inputs
        for width, part in parts:
            self.parts.append((slice(start, start + width), part))
            start += width
        #: Where the embeddings themselves stand.
        self.rest = slice(start, None)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.first.nbytes + _nbytes([part for _, part in self.parts])

    def one(self, total: F32) -> F32:
        """Return the logit, shape (1,), of one row's sums (K,), overwritten; as a call does."""
        return self(total[None])

    def __call__(self, total: F32) -> F32:
        """Return the logits, shape (n,), of sums (n, K), which are overwritten."""
        x = total[:, self.rest]
        logit = self.first(total[:, : self.first.inputs])
        for own, part in self.parts:
            logit += part(total[:, own], x)
        return logit


class TowersHead(PartsHead):
    """Two towers and nothing else: a user's and an item's vector can be had apart."""

    def __init__(self, first: FirstHead, towers: Towers) -> None:
        super().__init__(first, [(0, towers)])
        self.towers = towers

    def items(self, total: F32) -> F32:
        """Return the items' vectors, (n, V), from the sums of their fields, (n, K)."""
        return self.towers.items(total[:, self.rest])

    def user(self, total: F32) -> tuple[F32, float]:
        """Return one user's vector, (V,), and what is added to its products, from sums (K,)."""
        user = total[None]
        add = self.first(user[:, : self.first.inputs].copy())
        return self.towers.users(user[:, self.rest])[0], float(add[0])


def _nbytes(thing: Any) -> int:
    """Return the bytes of all arrays that hang on a part."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, list | tuple):
        return sum(map(_nbytes, thing))
    return sum(map(_nbytes, vars(thing).values())) if hasattr(thing, "__dict__") else 0
