"""A catalogue's rows through first order, FM and plain hidden layers, by compiled kernels.

NumPy passes over a batch six times before its first product. Here one pass adds the user, and makes
neurons, first order and FM of the sums; a product reads nothing but neurons; and one pass follows it.

Few items under small layers are one pass altogether: there a call of the BLAS takes longer than its
arithmetic.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from recprune._support import kernel_of
from recprune.runtime import kernels, scan_kernels
from recprune.runtime.heads import FirstHead
from recprune.runtime.tensors import F32

__all__ = ["QuickHead"]

Ints = NDArray[np.intp]
#: Bytes of a batch of neurons, so that it stays in the processor's cache, and its rows.
BATCH_BYTES, FEWEST_ROWS, MOST_ROWS = 1 << 17, 64, 2048
#: Rows that are also kept as columns, and multiplications a row, up to which one pass does all.
FEW_ROWS, FEW_PRODUCTS = 8192, 1536


class QuickHead:
    """Does as a head does to what is kept of the items. Loads numba.

    Args:
        head: which.
        side: what the items' fields add up to, (R, K).

    Raises:
        ImportError: there is no numba.
    """

    def __init__(self, head: FirstHead, side: F32) -> None:
        self._side, self._start = side, head.start
        self._shape = head.hidden, head.linear, head.inputs if head.pairs else head.linear + 1
        self._layers = head.later_layers()
        widths = [head.hidden, *(len(bias) for _, bias in self._layers)]
        rows = BATCH_BYTES // (4 * max([*widths, 1]))
        #: Of one size always: with another the BLAS may take another kernel and round otherwise.
        self.batch = min(max(rows // FEWEST_ROWS * FEWEST_ROWS, FEWEST_ROWS), MOST_ROWS)
        self._widths = widths[:-1] if self._layers else [0]
        self._enter, self._relu = kernel_of(scan_kernels.enter), kernel_of(kernels.relu)
        #: :func:`recprune.runtime.scan_kernels.largest`, one step nearer.
        self.largest = kernel_of(scan_kernels.largest)
        self._local = threading.local()
        products = sum(weight.size for weight, _ in self._layers)
        self._columns: F32 | None = None
        if len(side) <= FEW_ROWS and products <= FEW_PRODUCTS:
            self._columns = np.ascontiguousarray(side.T)
            self._sizes = np.array(widths or [0], np.intp)
            packed = [part.ravel() for weight, bias in self._layers for part in (weight.T, bias)]
            self._packed = np.concatenate([np.empty(0, np.float32), *packed])
            self._narrow = kernel_of(scan_kernels.narrow)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept beside the items' side."""
        return 0 if self._columns is None else self._columns.nbytes

    def all(self, shift: F32) -> F32 | None:
        """Return every row's logit, (R,), where one pass does all; None = it does not.

        Args:
            shift: what the user adds to every row, (K,).
        """
        if self._columns is None:
            return None
        return self._passed(self._columns, shift + self._start)

    def _passed(self, columns: F32, shift: F32) -> F32:
        logits = np.empty(columns.shape[1], np.float32)
        self._narrow(columns, shift, self._shape, self._sizes, self._packed, logits)
        return logits

    def __call__(self, rows: Ints, shift: F32, group: Ints) -> F32:
        """Return the logits of some rows, (m,).

        Args:
            rows: positions, (m,).
            shift: what the user adds to each group's, (G, K).
            group: of each of the m rows.
        """
        shift = shift + self._start
        if self._columns is not None:
            if len(shift) == 1:
                return self._passed(self._columns.take(rows, 1), shift[0])
            # The same addition as the kernel's, and then nothing: the same logits to the bit.
            total = self._columns.take(rows, 1) + shift.take(group, 0).T
            return self._passed(np.ascontiguousarray(total), np.zeros_like(shift[0]))
        logits = np.empty(len(rows), np.float32)
        buffers = self._buffers()
        for low in range(0, len(rows), self.batch):
            part = slice(low, low + self.batch)
            mine, value = logits[part], buffers[0]
            self._enter(self._side, rows[part], shift, group[part], self._shape, (value, mine))
            for number, (weight, bias) in enumerate(self._layers):
                if number == len(self._layers) - 1:
                    mine += (value @ weight[:, 0])[: len(mine)]
                    mine += bias[0]
                else:
                    value = np.matmul(value, weight, out=buffers[number + 1])
                    self._relu(value, bias)
        return logits

    def _buffers(self) -> list[F32]:
        """Return this thread's; what a shorter batch leaves of the last is scored and unread."""
        buffers: list[F32] | None = getattr(self._local, "buffers", None)
        if buffers is None:
            buffers = [np.zeros((self.batch, width), np.float32) for width in self._widths]
            self._local.buffers = buffers
        return buffers
