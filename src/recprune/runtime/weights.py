"""The model's weights, arranged so that a forward pass is one gather and one product a layer.

Named axes: n rows, F fields, S slots (one a field; of bags, sequences and vectors, several), N
numeric fields, D dims, H neurons of the first layer.

*Fused table.* All fields' tables are one array ``table`` (R, 1 + D) with offsets. Fields whose dims
were cut one by one are spread to the original dims with zeros, so that FM sums match by dim. A
numeric field has a second block of rows, the differences to the next knot's row, so that its value
is ``row + share · difference``.

*One product.* With the gathered rows side by side as one vector a row, a single matrix gives every
linear thing at once::

    (n, F·(1+D)) @ (F·(1+D), K)  →  K = [ H pre-activations | 1 | first order | D sums ]

The column of ones (set by the bias) carries the later layers' biases inside their matrices.

*No squares.* FM (Rendle 2010, lemma 3.1) needs ½(Σ_d (Σ_f e_fd)² − Σ_f Σ_d e_fd²). A categorical
row's own −½‖e‖² depends on that row alone: it is added to its first-order weight beforehand. Only
numeric fields, whose e lies between two rows, and bags, whose e is a weighted sum, form it while
scoring.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.encoding import Rows
from recprune.errors import ArtifactError, DataError

__all__ = ["FieldBlock", "Head", "Weights"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
BLOCK_BYTES = 1 << 21
MOST_ROWS, FEWEST_ROWS = 1024, 128


class Weights:
    """The fused table and first matrix of all fields, and the head that follows.

    Args:
        artifact: a model as read by :func:`recprune.artifact.read_artifact`.

    Raises:
        ArtifactError: tensors that do not make a model of the declared class.
    """

    def __init__(self, artifact: Artifact) -> None:
        encoder, state = artifact.encoder, artifact.state
        self.names, self.numeric, self.bags = encoder.schema.names, encoder.numeric, encoder.bags
        self.slots = [s.stop - s.start for s in encoder.slots]
        self.sizes = np.array(encoder.sizes, np.uint32)
        fm = "fm" in artifact.model["parts"]
        dims = [_dims(artifact, name) for name in self.names]
        union = np.unique(np.concatenate([*dims, np.empty(0, np.int32)]))
        self.width = 1 + len(union)
        layers = _layers(artifact, sum(map(len, dims)))
        self.head = Head(layers, state["bias"].astype(np.float64), self.width if fm else 1)

        hidden = self.head.hidden
        blocks: list[F64] = []
        slopes: list[F64] = []
        first = np.zeros((len(self.names), self.width, self.head.inputs))
        start = 0
        for i, name in enumerate(self.names):
            columns = 1 + np.searchsorted(union, dims[i])
            block = np.zeros((encoder.sizes[i], self.width))
            block[:, [0, *columns]] = state[f"table.{name}"]
            if i in self.numeric:
                slopes.append(np.diff(block, axis=0, append=block[-1:]))
            elif fm and i not in self.bags:
                block[:, 0] -= 0.5 * np.square(block[:, 1:]).sum(axis=1)
            blocks.append(block)
            first[i, 0, self.head.linear] = 1
            if fm:
                sums = self.head.linear + 1 + np.arange(len(union))
                first[i, 1 + np.arange(len(union)), sums] = 1
            if hidden:
                first[i, columns, :hidden] = layers[0][0][:, start : start + len(columns)].T
            start += len(columns)
        parts = [*blocks, *slopes]
        self.table: F32 = np.ascontiguousarray(np.concatenate(parts), np.float32)
        self.first: F32 = first.astype(np.float32)
        starts = np.cumsum([0, *map(len, parts)])
        self.offsets, self.slope_offsets = starts[: len(blocks)], starts[len(blocks) : -1]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that a forward pass reads."""
        return self.table.nbytes + self.first.nbytes + self.head.nbytes

    def block(self, fields: Sequence[int]) -> FieldBlock:
        """Return the gather and product of these fields (positions, increasing)."""
        return FieldBlock(self, fields)


class FieldBlock:
    """What some of the fields add to the first layer, the first order and the FM sums."""

    def __init__(self, weights: Weights, fields: Sequence[int]) -> None:
        numeric = [i for i in fields if i in weights.numeric]
        bags = [i for i in fields if i in weights.bags]
        # Numbers, then bags, stand last, so that what is squared is one slice of the values.
        order = [i for i in fields if i not in (*numeric, *bags)] + numeric + bags
        widths = [weights.slots[i] for i in order]
        self.width, self.linear = weights.width, weights.head.linear
        self.table, self.n_slots, self.n_numeric = weights.table, sum(widths), len(numeric)
        self.names = np.repeat(
            [weights.names[i] for i in fields], [weights.slots[i] for i in fields]
        )
        self.limits = np.repeat(weights.sizes[list(fields)], [weights.slots[i] for i in fields])
        self.select = _columns(fields, weights.slots, order + numeric)
        slopes = [weights.slope_offsets[weights.numeric.index(i)] for i in numeric]
        self.offsets = np.array([*np.repeat(weights.offsets[order], widths), *slopes], np.intp)
        self.matrix: F32 = weights.first[order].reshape(-1, weights.head.inputs)
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
        if weights.head.pairs and (numeric or bags):
            one = np.full(self.width, -0.5, np.float32)
            one[0] = 0
            self.squares = np.tile(one, len(numeric) + len(bags))
        self._local = threading.local()
        row_bytes = 4 * (self.offsets.size * self.width + 2 * weights.head.inputs)
        self.rows_at_once = min(max(BLOCK_BYTES // max(row_bytes, 1), FEWEST_ROWS), MOST_ROWS)

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
            return out
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
        np.matmul(flat[:, : self.used], self.matrix, out=out)
        if self.squares is not None:
            squares = buffers.step[:n]
            np.square(flat[:, self.low : self.used], out=squares)
            out[:, self.linear] += squares @ self.squares
        return out

    def all(self, rows: Rows) -> F32:
        """Return the contributions of any number of rows, shape (n, K), as an array of its own."""
        out = np.empty((len(rows), self.matrix.shape[1]), np.float32)
        for part in self.parts(len(rows)):
            out[part] = self(rows.codes[part], rows.shares[part])
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
        self.out = np.empty((n, block.matrix.shape[1]), np.float32)


class Head:
    """From summed contributions, shape (n, K), to logits, shape (n,).

    Args:
        layers: weight (H_out, H_in) and bias (H_out,) of each hidden layer, then (1, H) and none.
        bias: shape (1,).
        sums: columns from the first order on: 1 + D with FM, else 1.
    """

    def __init__(self, layers: list[tuple[F64, F64]], bias: F64, sums: int) -> None:
        self.hidden = len(layers[0][0]) if layers else 0
        self.linear = self.hidden + 1 if layers else 0
        self.inputs = self.linear + sums
        self.pairs = sums > 1
        start = np.zeros(self.inputs)
        start[self.linear] = bias[0]
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


def _dims(artifact: Artifact, name: str) -> NDArray[np.int32]:
    """Return which of the original dims each column of the field's embedding is."""
    size = artifact.state[f"table.{name}"].shape[1] - 1
    axis = artifact.layout.axes.get(f"dims.{name}")
    units = np.arange(size, dtype=np.int32) if axis is None else axis.units
    if size < 0 or len(units) != size or (np.diff(units) <= 0).any():
        raise ArtifactError(f"Field {name!r} has {size} dims; its layout names {len(units)}.")
    return units


def _layers(artifact: Artifact, width: int) -> list[tuple[F64, F64]]:
    """Return the hidden layers' weights and biases, checked to fit each other."""
    state = artifact.state
    if state.get("bias", np.empty(0)).shape != (1,):
        raise ArtifactError("The model has no tensor 'bias' of shape (1,).")
    count = sum(n.startswith("mlp.") and n.endswith(".bias") for n in state)
    if not count:
        return []
    layers: list[tuple[F64, F64]] = []
    for stage in [*map(str, range(count)), "out"]:
        weight = state.get(f"mlp.{stage}.weight")
        rows = 1 if stage == "out" or weight is None else len(weight)
        bias = np.zeros(1) if stage == "out" else state.get(f"mlp.{stage}.bias", np.empty(0))
        if weight is None or weight.shape != (rows, width) or bias.shape != (rows,):
            raise ArtifactError(f"Tensor 'mlp.{stage}.weight' must have {width} columns.")
        layers.append((weight.astype(np.float64), bias.astype(np.float64)))
        width = rows
    return layers


def _columns(
    fields: Sequence[int], widths: Sequence[int], chosen: Sequence[int]
) -> NDArray[np.intp]:
    """Return the columns of the chosen fields, where ``fields`` stand side by side, so wide."""
    ends = dict(zip(fields, np.cumsum([widths[i] for i in fields]).tolist(), strict=True))
    runs = [np.arange(ends[i] - widths[i], ends[i], dtype=np.intp) for i in chosen]
    return np.concatenate([*runs, np.empty(0, np.intp)])
