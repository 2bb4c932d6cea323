"""The forward pass by compiled kernels: fewer passes over memory than NumPy alone takes.

Named axes as in :mod:`recprune.runtime.kernels`. A block of rows is gathered once: first order and
FM are summed on the way, and what remains is the hidden layers, NumPy's products with a compiled
pass (bias and relu) after each. Few rows, of which each product would cost more to call than to
compute, go through one compiled function from codes to logits.

*Folded tables.* A pruned model's tables are often so small that they can be multiplied by the first
layer beforehand: (rows, dims) @ (dims, neurons). Fields are folded from the smallest on, as long as
all folded rows together stay in the processor's cache; each folded field is one part less of the
first product. The sums are the same up to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import kernel_of
from recprune.runtime import kernels
from recprune.runtime.heads import FirstHead, PartsHead
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights

__all__ = ["Fused"]

#: Most bytes of folded rows.
FOLDED_BYTES = 8 << 20
#: Rows folded at once.
FOLDED_AT_ONCE = 1024
#: Bytes of what a block of rows is computed in, and the most rows of one.
BLOCK_BYTES, MOST_ROWS, FEWEST_ROWS = 1 << 20, 1024, 512
#: Rows, and multiplications by weights that are not folded, up to which a call is compiled whole:
#: it multiplies at a third of the BLAS's speed, and spares all other calls.
FEW_ROWS, FEW_PRODUCTS = 8, 25_000

ONE, NUMBER, BAG = 0, 1, 2


class Fused:
    """One model's forward pass.

    Holds nothing that a call changes but each thread's own buffers.

    Args:
        weights: the model's.
    """

    def __init__(self, weights: Weights) -> None:
        self.heads = weights.heads
        first = _first(weights.heads[0])
        hidden, extra = first.hidden, weights.first.shape[2] - first.inputs
        #: N, and how many of these columns are neurons.
        self.wide, self.hidden = hidden + extra, hidden
        columns = [*range(hidden), *range(first.inputs, first.inputs + extra)]
        lead = weights.width > len(weights.inputs.union)
        self.fields, inputs, folded, counts = _fields(weights, columns)
        start = np.zeros(_width(self.wide, weights), np.float32)
        start[:hidden] = first.start[:hidden]
        self.tables = weights.table, folded, start
        self.matrix = _matrix(weights, columns, inputs, len(start))
        self.shape = (*counts, weights.fm)
        self.closing = (hidden, self.wide, weights.width, lead, weights.fm)
        self.layers = first.later_layers()
        #: Where the embeddings themselves stand among the inputs, for parts that need them.
        self.embeddings = _embeddings(weights, inputs) if weights.carries else slice(0)
        outputs = [len(bias) for _, bias in self.layers]
        product = len(start) if len(self.matrix) else 0
        self.widths = [len(start), len(self.matrix), product, *outputs[:-1]]
        row_bytes = 4 * max(sum(self.widths), 1)
        self.rows_at_once = max(min(BLOCK_BYTES // row_bytes, MOST_ROWS), FEWEST_ROWS)
        #: Columns of codes and of shares.
        self.slots, self.shares = sum(weights.slots), weights.n_shares
        #: Rows up to which one function answers all; 0 where one row is too much for it.
        self.few = 0
        if self.layers and not any(isinstance(head, PartsHead) for head in self.heads):
            products = self.matrix.size + sum(matrix.size for matrix, _ in self.layers)
            self.few = min(FEW_ROWS, FEW_PRODUCTS // max(products, 1))
        if self.few:
            head = [*counts, *self.closing[1:], len(self.matrix), len(start), 1 + len(outputs)]
            self.numbers = np.array([*head, hidden, *outputs, *self.fields.ravel()], np.int64)
            layers = [array.ravel() for layer in self.layers for array in layer]
            self.packed = np.concatenate([start, self.matrix.ravel(), *layers]).astype(np.float32)
            self.packed[-1] += first.bias
        self._front, self._whole = kernel_of(kernels.front), kernel_of(kernels.whole)
        self._close, self._relu = kernel_of(kernels.close), kernel_of(kernels.relu)
        self._local = threading.local()

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays beside the table, which is not its own."""
        own = 0 if self.tables[1] is self.tables[0] else self.tables[1].nbytes
        return own + self.matrix.nbytes + sum(m.nbytes for m, _ in self.layers)

    def __call__(self, codes: NDArray[Any], shares: F32, label: int = 0) -> F32 | None:
        """Return the logits, (n,), of codes (n, S) and shares; None = they are not this model's.

        Args:
            codes: of any whole numbers.
            shares: see :class:`recprune.encoding.Rows`.
            label: position of the label.
        """
        n = len(codes)
        if codes.shape != (n, self.slots) or shares.shape != (n, self.shares):
            return None
        codes, shares = _plain(codes, np.int32), _plain(shares, np.float32)
        if 0 < n <= self.few:
            logits = np.empty(n, np.float32)
            bad = self._whole(codes, shares, self.numbers, self.tables[:2], self.packed, logits)
            return logits if bad < 0 else None
        head = self.heads[label]
        logits = np.full(n, _first(head).bias, np.float32)
        buffers: list[F32] | None = getattr(self._local, "buffers", None)
        if buffers is None:
            shapes = [(self.rows_at_once, width) for width in self.widths]
            buffers = self._local.buffers = [np.empty(shape, np.float32) for shape in shapes]
        count = -(-n // self.rows_at_once)
        for i in range(count):
            part = slice(i * n // count, (i + 1) * n // count)
            sums, inputs, *outs = (buffer[: part.stop - part.start] for buffer in buffers)
            out = sums, inputs, logits[part]
            batch = codes[part], shares[part]
            if self._front(batch, self.fields, self.tables, self.shape, out) >= 0:
                return None
            value, more = sums, sums[:0]
            if len(self.matrix):
                value, more = np.matmul(inputs, self.matrix, out=outs[0]), sums
            self._close(value, more, self.closing, logits[part])
            if isinstance(head, PartsHead):
                x, shift = inputs[:, self.embeddings], self.hidden - head.first.inputs
                for own, term in head.parts:
                    mine = value[:, own.start + shift : own.stop + shift]
                    logits[part] += term(mine, x)
            if self.layers:
                logits[part] += self._later(value, outs[1:])
        return logits

    def _later(self, value: F32, outs: Sequence[F32]) -> F32:
        """Return what the later layers make of the first one's neurons, (n,)."""
        for (matrix, bias), out in zip(self.layers[:-1], outs, strict=True):
            np.matmul(value[:, : len(matrix)], matrix, out=out)
            self._relu(out, bias)
            value = out
        matrix, bias = self.layers[-1]
        logit: F32 = value[:, : len(matrix)] @ matrix[:, 0]
        return logit


def _first(head: Any) -> FirstHead:
    first: FirstHead = head.first if isinstance(head, PartsHead) else head
    return first


def _plain(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return an array as the kernels are compiled for: of this type, in one piece, writable."""
    if array.dtype == dtype and array.flags.carray and type(array) is np.ndarray:
        return array
    return np.array(array, dtype, order="C", subok=False)


def _fields(
    weights: Weights, columns: Sequence[int]
) -> tuple[NDArray[np.int64], list[tuple[int, int]], F32, tuple[int, int]]:
    """Return the kernels' fields, each field's inputs, the folded rows, and two counts.

    The inputs are from which to which of the table's columns. The counts are of the fields of one
    row: the folded ones, and all.
    """
    kinds = [
        NUMBER if i in weights.numeric else BAG if i in weights.bags else ONE
        for i in range(len(weights.names))
    ]
    every = range(len(kinds))
    slots = np.cumsum([0, *weights.slots])
    shares = np.cumsum([0, *(n if k else 0 for n, k in zip(weights.slots, kinds, strict=True))])
    width = _width(len(columns), weights)
    chosen: list[int] = []
    if columns and not weights.carries:
        chosen = _folded(weights.sizes, 4 * width)
    elif not weights.carries:
        chosen = [i for i in every if kinds[i] == ONE]
    folded, starts = weights.table, {i: int(weights.offsets[i]) for i in chosen}
    if columns:
        ends = np.cumsum([0, *(int(weights.sizes[i]) for i in chosen)]).tolist()
        starts = dict(zip(chosen, ends, strict=False))
        folded = np.zeros((ends[-1], width), np.float32)
        for i in chosen:
            _fold(weights, i, columns, folded[starts[i] :][: weights.sizes[i]])
    lead = weights.width - len(weights.inputs.union)
    inputs, at = [], 0
    fields = np.empty((len(kinds), 10), np.int64)
    for i, own in enumerate(weights.columns):
        run = (0, 0)
        if i not in chosen:
            # With the first-order weight, where there is one.
            used = [*range(lead), *own.tolist()]
            run = (used[0], used[-1] + 1) if used else (0, 0)
        place = slots[i], weights.slots[i], weights.offsets[i], weights.sizes[i]
        fields[i] = (*place, kinds[i], shares[i], starts.get(i, -1), *run, at)
        inputs.append(run)
        at += run[1] - run[0]
    order = sorted(every, key=lambda i: (kinds[i] != ONE, i not in chosen, i))
    counts = sum(kinds[i] == ONE for i in chosen), kinds.count(ONE)
    return fields[order], inputs, folded, counts


def _fold(weights: Weights, field: int, columns: Sequence[int], out: F32) -> None:
    """Write a field's folded rows, some at a time: in 64 bits they take as much again."""
    matrix = weights.first[field][:, columns].astype(np.float64)
    table = weights.table[weights.offsets[field] :][: len(out)]
    for start in range(0, len(out), FOLDED_AT_ONCE):
        rows, into = (array[start : start + FOLDED_AT_ONCE] for array in (table, out))
        into[:, : len(columns)] = rows.astype(np.float64) @ matrix
        into[:, len(columns) :][:, : weights.width] = rows


def _matrix(
    weights: Weights, columns: Sequence[int], inputs: Sequence[tuple[int, int]], width: int
) -> F32:
    """Return the inputs' matrix, (I, width): the columns' product, then each table column's sum."""
    runs = [np.empty((0, width), np.float32)]
    for i, (first, last) in enumerate(inputs):
        run = np.zeros((last - first, width), np.float32)
        run[:, : len(columns)] = weights.first[i, first:last][:, columns]
        run[:, len(columns) + first : len(columns) + last] = np.eye(last - first)
        runs.append(run)
    return np.concatenate(runs)


def _width(columns: int, weights: Weights) -> int:
    """Return the columns of the sums: a multiple of the 8 that a processor adds at once, or W."""
    return -(-(columns + weights.width) // 8) * 8 if columns else weights.width


def _folded(sizes: NDArray[Any], row_bytes: int) -> list[int]:
    """Return the positions of the fields to fold, increasing."""
    smallest = np.argsort(sizes, kind="stable")
    fits = np.cumsum(sizes[smallest].astype(np.int64)) * row_bytes <= FOLDED_BYTES
    return sorted(smallest[fits].tolist())


def _embeddings(weights: Weights, inputs: Sequence[tuple[int, int]]) -> slice | NDArray[np.intp]:
    """Return where the fields' own dims stand among the inputs."""
    starts = np.cumsum([0, *(b - a for a, b in inputs)])
    places = [
        own - a + at for own, (a, _), at in zip(weights.columns, inputs, starts[:-1], strict=True)
    ]
    found = np.concatenate([*places, np.empty(0, np.intp)]).astype(np.intp)
    return slice(None) if len(found) == starts[-1] else found
