"""The gather and the product of some of a model's fields.

Named axes: n rows, F fields, S slots (one a field; of bags, sequences and vectors, several), N
numeric fields, K columns of what the fields sum up (see :mod:`recprune.runtime.weights`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights

__all__ = ["FieldBlock"]

BLOCK_BYTES = 1 << 21
MOST_ROWS, FEWEST_ROWS = 1024, 128


class FieldBlock:
    """What some of the fields add to a model's sums: first layer, first order, FM sums, embeddings.

    Args:
        weights: the model's.
        fields: positions of the fields, increasing.
    """

    def __init__(self, weights: Weights, fields: Sequence[int]) -> None:
        numeric = [i for i in fields if i in weights.numeric]
        bags = [i for i in fields if i in weights.bags]
        # Numbers, then bags, stand last, so that what is squared is one slice of the values.
        order = [i for i in fields if i not in (*numeric, *bags)] + numeric + bags
        widths = [weights.slots[i] for i in order]
        self.width, self.linear = weights.width, weights.linear
        self.table, self.n_slots, self.n_numeric = weights.table, sum(widths), len(numeric)
        self.names = np.repeat(
            [weights.names[i] for i in fields], [weights.slots[i] for i in fields]
        )
        self.limits = np.repeat(weights.sizes[list(fields)], [weights.slots[i] for i in fields])
        self.select = _columns(fields, weights.slots, order + numeric)
        slopes = [weights.slope_offsets[weights.numeric.index(i)] for i in numeric]
        self.offsets = np.array([*np.repeat(weights.offsets[order], widths), *slopes], np.intp)
        self.matrix: F32 = weights.first[order].reshape(-1, weights.first.shape[2])
        self.columns = self.offsets.size * self.width
        #: Where numbers, then bags' slots, then steps to the upper knots start among the columns.
        single = len(order) - len(bags)
        starts = np.array([single - len(numeric), single, self.n_slots]) * self.width
        self.low, self.bag_at, self.high = starts.tolist()
        #: End of the values; those of bags lie over their first slots.
        self.used = len(order) * self.width
        shares = [n if i in (*numeric, *bags) else 0 for i, n in enumerate(weights.slots)]
        self.n_shares = sum(shares[i] for i in fields)
        self.number_shares: Any = _columns(fields, shares, numeric) if bags else slice(None)
        self.bags: _Bags | None = None
        if bags:
            sizes = [shares[i] for i in bags]
            self.bags = _Bags(_columns(fields, shares, bags), sizes, self.width)
        # shares @ spread repeats each share over its field's columns; faster than broadcasting.
        self.spread: F32 = np.kron(np.eye(len(numeric)), np.ones(self.width)).astype(np.float32)
        self.squares: F32 | None = None
        if weights.fm and (numeric or bags):
            one = np.full(self.width, -0.5, np.float32)
            one[0] = 0
            self.squares = np.tile(one, len(numeric) + len(bags))
        self._local = threading.local()
        #: Columns of what is summed up, K: first those of the product, then embeddings as they are.
        self.sums = weights.sums
        self.carry = _carry(weights, order) if weights.carries else None
        row_bytes = 4 * (self.offsets.size * self.width + 2 * self.sums)
        self.rows_at_once = min(max(BLOCK_BYTES // max(row_bytes, 1), FEWEST_ROWS), MOST_ROWS)

    def __getstate__(self) -> dict[str, Any]:
        # Buffers of a thread stay where they are.
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def check(self, rows: Rows) -> None:
        """Refuse rows that another encoder made, as far as their shapes and codes tell.

        Raises:
            DataError: another number of fields, or a code beyond its field's table.
        """
        codes, n = rows.codes, len(rows.codes)
        if codes.shape != (n, self.n_slots) or rows.shares.shape != (n, self.n_shares):
            raise DataError(
                f"Encoded rows must have {self.n_slots} codes and {self.n_shares} shares each. "
                f"Got shapes {codes.shape} and {rows.shares.shape}; encode with this model's "
                "own encoder."
            )
        # Seen as unsigned, a negative code is a huge one.
        beyond = codes.astype(np.int32, copy=False).view(np.uint32) >= self.limits
        if np.count_nonzero(beyond):
            field = str(self.names[int(np.argmax(beyond.any(axis=0)))])
            raise DataError(
                f"Field {field!r} has a code beyond its table; encode with this model's own encoder."
            )

    def parts(self, n: int) -> Iterator[slice]:
        """Cut ``n`` rows into even parts of at most ``rows_at_once``."""
        count = -(-n // self.rows_at_once)
        for i in range(count):
            yield slice(i * n // count, (i + 1) * n // count)

    def one(self, codes: NDArray[Any], shares: F32) -> F32:
        """Return the contribution, shape (K,), of one row: codes (1, S) and its shares.

        The same as a call with one row, in the fewest steps: at this size a step costs more than
        its arithmetic.
        """
        value = self.table.take(codes[0].take(self.select) + self.offsets, 0)
        flat = value.reshape(-1)
        if self.squares is None and not self.n_numeric and self.bags is None:
            out: F32 = flat.dot(self.matrix)
            return out if self.carry is None else self._carried(flat, out)
        if self.n_numeric:
            share = shares if self.bags is None else shares[:, self.number_shares]
            at = self.bag_at // self.width
            step, number = value[self.n_slots :], value[at - self.n_numeric : at]
            np.multiply(step, share.T, step)
            np.add(number, step, number)
        if self.bags is not None:
            self.bags(
                flat[None, self.bag_at : self.high], shares, flat[None, self.bag_at : self.used]
            )
        out = flat[: self.used].dot(self.matrix)
        if self.squares is not None:
            x = flat[self.low : self.used]
            out[self.linear] += np.multiply(x, self.squares).dot(x)
        return out if self.carry is None else self._carried(flat, out)

    def _carried(self, flat: F32, product: F32) -> F32:
        """Return the product, (L,), and the embeddings of ``flat`` as one row's sums, (K,)."""
        out = np.zeros(self.sums, np.float32)
        out[: len(product)] = product
        assert self.carry is not None
        out[self.carry[1]] = flat.take(self.carry[0])
        return out

    def __call__(self, codes: NDArray[Any], shares: F32) -> F32:
        """Return the contribution, shape (n, K), of codes (n, S) and shares.

        It lies in this thread's own buffer until the thread's next call. At most ``rows_at_once``
        rows: the buffers then stay in the processor's cache.
        """
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None:
            buffers = self._local.buffers = _Buffers(self)
        n = len(codes)
        index, value = buffers.index[:n], buffers.value[:n]
        # Codes were checked; "clip" only spares NumPy its own copy.
        np.take(codes, self.select, axis=1, out=buffers.codes[:n], mode="clip")
        np.add(buffers.codes[:n], self.offsets, out=index)
        self.table.take(index, axis=0, out=value, mode="clip")
        flat, out = value.reshape(n, self.columns), buffers.out[:n]
        if self.n_numeric:
            step, number = (
                buffers.step[:n, : self.bag_at - self.low],
                flat[:, self.low : self.bag_at],
            )
            np.matmul(shares[:, self.number_shares], self.spread, out=step)
            np.multiply(step, flat[:, self.high :], out=step)
            np.add(number, step, out=number)
        if self.bags is not None:
            self.bags(flat[:, self.bag_at : self.high], shares, flat[:, self.bag_at : self.used])
        if self.carry is None:
            np.matmul(flat[:, : self.used], self.matrix, out=out)
        else:
            np.matmul(flat[:, : self.used], self.matrix, out=out[:, : self.matrix.shape[1]])
            # The columns of other fields' embeddings stay as the buffer was made: zero.
            out[:, self.carry[1]] = flat.take(self.carry[0], axis=1)
        if self.squares is not None:
            squares = buffers.step[:n]
            np.square(flat[:, self.low : self.used], out=squares)
            out[:, self.linear] += squares @ self.squares
        return out

    def all(self, rows: Rows, then: Callable[[F32], F32] | None = None) -> F32:
        """Return the contributions of any number of rows, shape (n, K), as an array of its own.

        Args:
            rows: encoded.
            then: what is made of each part's contributions and returned instead.
        """
        nothing = np.empty((0, self.sums), np.float32)
        width = (nothing if then is None else then(nothing)).shape[1]
        out = np.empty((len(rows), width), np.float32)
        for part in self.parts(len(rows)):
            total = self(rows.codes[part], rows.shares[part])
            out[part] = total if then is None else then(total)
        return out


class _Bags:
    """The weighted sums of the slots of sequences and vectors.

    Args:
        shares: each slot's column among the shares.
        sizes: slots of each bag.
        width: columns of a slot.
    """

    def __init__(self, shares: NDArray[np.intp], sizes: Sequence[int], width: int) -> None:
        self.shares, self.width = shares, width
        self.starts = np.cumsum([0, *sizes[:-1]])

    def __call__(self, slots: F32, shares: F32, out: F32) -> None:
        """Write the bags' values into ``out``, (n, bags · width), which may be part of ``slots``."""
        n = len(slots)
        weighted = slots.reshape(n, -1, self.width) * shares[:, self.shares, None]
        out[:] = np.add.reduceat(weighted, self.starts, axis=1).reshape(n, -1)


class _Buffers:
    """One thread's working memory for one block."""

    def __init__(self, block: FieldBlock) -> None:
        n, width = block.rows_at_once, block.width
        self.codes = np.empty((n, block.select.size), np.int32)
        self.index = np.empty((n, block.select.size), np.intp)
        self.value = np.empty((n, block.select.size, width), np.float32)
        self.step = np.empty((n, block.used - block.low), np.float32)
        self.out = np.zeros((n, block.sums), np.float32)


def _columns(
    fields: Sequence[int], widths: Sequence[int], chosen: Sequence[int]
) -> NDArray[np.intp]:
    """Return the columns of the chosen fields, where ``fields`` stand side by side, so wide."""
    ends = dict(zip(fields, np.cumsum([widths[i] for i in fields]).tolist(), strict=True))
    runs = [np.arange(ends[i] - widths[i], ends[i], dtype=np.intp) for i in chosen]
    return np.concatenate([*runs, np.empty(0, np.intp)])


def _carry(
    weights: Weights, order: Sequence[int]
) -> tuple[NDArray[np.intp], slice | NDArray[np.intp]]:
    """Return where the fields' embeddings stand among the values, and among the sums."""
    start = weights.first.shape[2]
    places = {i: n * weights.width for n, i in enumerate(order)}
    fields = sorted(order)
    source = [places[i] + weights.columns[i] for i in fields]
    target = start + weights.inputs.columns(fields)
    run: slice | NDArray[np.intp] = target
    if len(target) and target[-1] - target[0] + 1 == len(target):
        run = slice(int(target[0]), int(target[-1]) + 1)
    return np.concatenate([*source, np.empty(0, np.intp)]).astype(np.intp), run
