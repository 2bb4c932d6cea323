"""Fields as matrices: indicator columns, cells of a table of counts, and columns for trees.

All kinds of fields have all three. Missing and unseen values are values of their own in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import require, stream
from recprune.data import Split
from recprune.encoding import Encoder, Rows
from recprune.lookups import FIRST, UNKNOWN

__all__ = ["Cells", "one_hot", "row_weights", "some_rows", "tree_columns"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Cells of a bag (a sequence or vector), and the ridge penalty of its least squares, in rows.
TENTHS, RIDGE = 10, 20.0


def some_rows(split: Split, most: int, seed: int, what: str) -> Split:
    """Return at most so many rows, in order; which ones depends on ``seed`` and ``what`` alone."""
    if len(split) <= most:
        return split
    return split.take(np.sort(stream(seed, what).permutation(len(split))[:most]))


def row_weights(split: Split) -> Floats:
    """Return how much each row counts, mean 1, shape (n,); all alike where none counts."""
    weight = split.extras.weight
    if weight is None or not weight.any():
        return np.ones(len(split))
    return np.asarray(weight / weight.mean(dtype=np.float64), np.float64)


def one_hot(encoder: Encoder, rows: Rows) -> tuple[Any, Ints]:
    """Return the sparse design matrix (n_rows, all fields' table rows), and each column's field.

    A number has the shares of its two knots, a bag the weights of its elements or components.
    """
    sparse = require("scipy.sparse", "train")
    offsets = np.concatenate([[0], np.cumsum(encoder.sizes)])
    owner = np.repeat(np.arange(len(encoder.sizes)), [s.stop - s.start for s in encoder.slots])
    low = np.ones(rows.codes.shape, np.float32)
    index, values = [rows.codes + offsets[owner]], [low]
    for i in (*encoder.numeric, *encoder.bags):
        slots, shares = encoder.slots[i], rows.shares[:, encoder.share_slots[i]]
        if i in encoder.bags:
            low[:, slots] = shares
        else:
            low[:, slots] = 1 - shares
            index.append(rows.codes[:, slots] + offsets[i] + 1)
            values.append(shares)
    value, column = np.concatenate(values, axis=1), np.concatenate(index, axis=1)
    used = value != 0
    starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    shape = (len(rows), offsets[-1])
    matrix = sparse.csr_matrix((value[used], column[used], starts), shape=shape)
    return matrix, np.repeat(np.arange(len(encoder.sizes)), encoder.sizes)


@dataclass(frozen=True)
class Cells:
    """Each field as one categorical variable.

    A category is a cell of its own, a number belongs to its nearest knot, and a bag to the tenth
    that its least-squares prediction of the label falls in. That prediction is cross-fitted: each
    half of the rows is predicted by weights of the other half, and new rows by the mean of both.

    Args:
        encoder: of the fields.
        weights: of each bag: the two halves' weights of its table rows, shape (rows, 2).
        edges: of each bag: where its tenths end, shape (9,).
    """

    encoder: Encoder
    weights: dict[int, Floats]
    edges: dict[int, Floats]

    @classmethod
    def fitted(cls, split: Split, seed: int) -> tuple[Cells, Ints]:
        """Return the cells of these rows' fields, and each row's cell of each field, (n, F)."""
        encoder, cells = split.encoder, cls(split.encoder, {}, {})
        codes = cells._single(split.rows)
        half = stream(seed, "halves").permutation(len(split)) % 2
        for i in encoder.bags:
            matrix = _columns(encoder, split.rows, i)
            both = np.stack([_least_squares(matrix, split, half == h) for h in (0, 1)], axis=1)
            value = np.asarray(matrix @ both)[np.arange(len(split)), 1 - half]
            cells.weights[i] = both
            cells.edges[i] = np.quantile(value, np.arange(1, TENTHS) / TENTHS)
            codes[:, i] = np.searchsorted(cells.edges[i], value)
        return cells, codes

    @property
    def sizes(self) -> Ints:
        """Number of cells of each field, empty ones included."""
        bags = self.encoder.bags
        return np.array([TENTHS if i in bags else n for i, n in enumerate(self.encoder.sizes)])

    def of(self, rows: Rows) -> Ints:
        """Return each row's cell of each field, shape (n, F)."""
        codes = self._single(rows)
        for i, weights in self.weights.items():
            value = _columns(self.encoder, rows, i) @ weights.mean(axis=1)
            codes[:, i] = np.searchsorted(self.edges[i], value)
        return codes

    def _single(self, rows: Rows) -> Ints:
        encoder = self.encoder
        codes = rows.codes[:, [s.start for s in encoder.slots]].astype(np.int64)
        shares = [encoder.share_slots[i].start for i in encoder.numeric]
        codes[:, list(encoder.numeric)] += rows.shares[:, shares] >= 0.5
        return codes


def _columns(encoder: Encoder, rows: Rows, field: int) -> Any:
    name = (encoder.schema.names[field],)
    return one_hot(encoder.take(name, {}), rows.select(*encoder.columns_of(name)))[0]


def _least_squares(matrix: Any, split: Split, chosen: NDArray[np.bool_]) -> Floats:
    lsqr = require("scipy.sparse.linalg", "train").lsqr
    weight, label = row_weights(split)[chosen], split.label[chosen].astype(np.float64)
    root = np.sqrt(weight)
    label = (label - np.average(label, weights=weight)) * root
    scaled = matrix[chosen].multiply(root[:, None]).tocsr()
    return np.asarray(lsqr(scaled, label, damp=np.sqrt(RIDGE), iter_lim=50)[0], np.float64)


def tree_columns(encoder: Encoder, rows: Rows) -> tuple[NDArray[np.float32], Ints]:
    """Return a dense matrix for trees, and each column's field.

    A category is its code, which counts by frequency, a number its place among the knots, a vector
    its components, and a sequence the share of each of its most frequent elements; missing and
    unseen is NaN. Splits by sets of categories, as LightGBM has them, learn the training labels of
    useless fields of many values by heart: on the planted table it stopped after 14 trees.
    """
    parts: list[NDArray[np.float32]] = []
    owner: list[int] = []
    for i, field in enumerate(encoder.schema.fields):
        codes = rows.codes[:, encoder.slots[i]]
        shares = rows.shares[:, encoder.share_slots[i]]
        unknown = codes[:, :1] == UNKNOWN
        if field.kind == "categorical":
            part = codes.astype(np.float32)
        elif field.kind == "numeric":
            part = codes + shares
        elif field.kind == "dense":
            part = shares.copy()
        else:
            part, unknown = _elements(codes, shares)
        part = np.where(unknown, np.float32(np.nan), part)
        parts.append(part.astype(np.float32))
        owner += [i] * part.shape[1]
    return np.concatenate(parts, axis=1), np.array(owner)


#: Elements of a sequence that have a column: those of the lowest codes, which are the most frequent.
ELEMENTS = 32


def _elements(
    codes: NDArray[np.int32], shares: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    place = codes - FIRST
    used = (shares != 0) & (place >= 0)
    row, slot = np.nonzero(used & (place < ELEMENTS))
    part = np.zeros((len(codes), ELEMENTS), np.float32)
    np.add.at(part, (row, place[row, slot]), shares[row, slot])
    return part, ~used.any(axis=1, keepdims=True)
