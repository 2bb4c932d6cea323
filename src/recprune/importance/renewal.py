"""A ranker's logits where one field reads other rows' values, all else unchanged.

The runtime splits a forward pass into what the fields sum up (first layer, first order, FM) and a
head on these sums. The sums of the rows as they are stay; of the field that changes, its old share
is taken off and the new one added. With first order, FM and plain hidden layers:

- A field's share depends on its own value alone, so that each distinct value among the rows is
  multiplied by the first layer once, and a share is one row of that table.
- A row that draws its own value again keeps its logit, and one that draws the same value in two
  shuffles is scored once: of a field with few or unevenly frequent values that spares most of it.
- What remains is the layers after the first, the processor's speed at products of matrices.

Other parts (cross layers, pairs, inner products, gated streams, towers) get sums and embeddings
renewed in the same way, and are computed anew.

Fields stand outermost where the sums of all rows fit in memory (shapes: n rows, L sums; n·L·4
bytes): streaming them once a field costs 3 % of the time, and a field's shares then stay in the
cache. Where they do not fit, blocks of rows stand outermost, and the fields of a group innermost.
No array has a size of rows × fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.artifact import Artifact
from recprune.encoding import Rows
from recprune.runtime.block import FieldBlock
from recprune.runtime.heads import FirstHead
from recprune.runtime.kernels import relu
from recprune.runtime.weights import Weights

__all__ = ["Renewal"]

F32 = NDArray[np.float32]
Ints = NDArray[np.integer[Any]]

#: Most bytes of the sums that are kept, and of what a group of fields holds where they are not.
KEPT_BYTES, GROUP_BYTES = 1 << 30, 1 << 28
#: Rows of a block times shuffles: what the later layers are computed on at once.
AT_ONCE = 2048


class Renewal:
    """Scores rows with one field's values taken from other rows.

    Args:
        model: of several labels the first one's logit is meant.
        rows: in the model's codes, n of them.

    Raises:
        DataError: rows that another encoder made.
    """

    def __init__(self, model: Artifact, rows: Rows) -> None:
        self.rows, self.encoder = rows, model.encoder
        self.weights = Weights(model)
        self.head = self.weights.heads[0]
        self.block = FieldBlock(self.weights, range(len(self.encoder.sizes)))
        self.block.check(rows)
        n = len(rows)
        #: Whether the sums alone make the logit, by layers that are known here.
        self.plain = isinstance(self.head, FirstHead)
        self.kept: F32 | None = None
        if 4 * n * self.weights.sums <= KEPT_BYTES:
            self.kept = np.empty((n, self.weights.sums), np.float32)
        #: The logits of the rows as they are, shape (n,).
        self.logits: F32 = np.empty(n, np.float32)
        for part in self.block.parts(n):
            total = self.block(rows.codes[part], rows.shares[part])
            if self.kept is not None:
                self.kept[part] = total
            self.logits[part] = self.head(total)

    def shuffled(
        self, fields: Iterable[int], at: Ints, orders: Callable[[int], Ints]
    ) -> Iterator[tuple[int, F32]]:
        """Yield field and logits, shape (R, m), of rows in which it reads other rows' values.

        Args:
            fields: positions in the schema.
            at: which rows, each once, increasing where they are all, shape (m,).
            orders: field → for each of R shuffles and m rows the place in ``at`` whose value is
                read, shape (R, m).
        """
        waiting = list(fields)
        while waiting:
            drawn = orders(waiting[0])
            size = self.at_once(drawn.size)
            group, waiting = waiting[:size], waiting[size:]
            changes = [self._change(group[0], at, drawn)]
            changes += [self._change(field, at, orders(field)) for field in group[1:]]
            step = max(1, min(AT_ONCE // len(drawn), self.block.rows_at_once))
            for start in range(0, len(at), step):
                part = slice(start, start + step)
                # Of all rows a block is seen as it lies.
                here = part if len(at) == len(self.rows) else at[part]
                total = self._sums(here)
                for change in changes:
                    change(part, total, self.logits[here])
            yield from ((f, change.scores) for f, change in zip(group, changes, strict=True))

    def at_once(self, drawn: int) -> int:
        """Return how many fields, of so many drawn values each, are renewed in one reading of the
        rows: one where the sums are kept."""
        return 1 if self.kept is not None else max(1, GROUP_BYTES // max(drawn * 24, 1))

    def _sums(self, rows: Ints | slice) -> F32:
        if self.kept is not None:
            return self.kept[rows]
        return self.block(self.rows.codes[rows], self.rows.shares[rows]).copy()

    def _change(self, field: int, at: Ints, orders: Ints) -> _Folded | _Parts:
        slots, shares = self.encoder.slots[field], self.encoder.share_slots[field]
        own = Rows(self.rows.codes[at, slots], self.rows.shares[at, shares])
        block = FieldBlock(self.weights, [field])
        if self.plain:
            assert isinstance(self.head, FirstHead)
            return _Folded(block, self.head, own, orders)
        return _Parts(block, self.head, own, orders)


class _Folded:
    """One field of a model of first order, FM and plain hidden layers.

    Args:
        block: of the field alone.
        head: the model's.
        rows: the field's own codes and shares, m rows.
        orders: shape (R, m).
    """

    def __init__(self, block: FieldBlock, head: FirstHead, rows: Rows, orders: Ints) -> None:
        places, first = _distinct(rows, int(block.limits[0]))
        self.table = block.all(Rows(rows.codes[first], rows.shares[first]))
        self.old, self.new = places, places[orders]
        self.head, self.layers = head, head.later_layers()
        self.scores: F32 = np.empty(orders.shape, np.float32)

    def __call__(self, part: slice, total: F32, logits: F32) -> None:
        """Fill in the scores of some rows from their sums as they are, (b, L), and logits, (b,)."""
        new = np.ascontiguousarray(self.new[:, part])
        most, hidden = new.size, self.head.hidden
        value, logit = np.empty((most, hidden), np.float32), np.empty(most, np.float32)
        where = np.empty(new.shape, np.int64)
        shape = hidden, self.head.linear
        m = _renew(
            (total, self.head.start),
            self.table,
            (self.old[part], new),
            shape,
            (value, logit, where),
        )
        value, logit = value[:m], logit[:m]
        for matrix, bias in self.layers[:-1]:
            value = value @ matrix
            relu(value, bias)
        if self.layers:
            matrix, bias = self.layers[-1]
            logit += value @ matrix[:, 0]
            logit += bias[0]
        _spread(where, logit, logits, self.scores[:, part])


class _Parts:
    """One field of any other model; arguments as of :class:`_Folded`."""

    def __init__(self, block: FieldBlock, head: Any, rows: Rows, orders: Ints) -> None:
        self.block, self.head, self.rows, self.orders = block, head, rows, orders
        self.scores: F32 = np.empty(orders.shape, np.float32)

    def __call__(self, part: slice, total: F32, logits: F32) -> None:
        """Fill in the scores of some rows from their sums as they are, (b, K)."""
        without = total - self._share(np.arange(part.start, part.start + len(total)))
        for order, scores in zip(self.orders, self.scores, strict=True):
            scores[part] = self.head(without + self._share(order[part]))

    def _share(self, places: Ints) -> F32:
        rows = self.rows[places]
        if len(places) <= self.block.rows_at_once:
            return self.block(rows.codes, rows.shares)
        return self.block.all(rows)


def _distinct(rows: Rows, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's place among its field's distinct values, and a row that has each.

    Args:
        rows: of one field.
        size: rows of its table.
    """
    n, slots = rows.codes.shape
    if slots > 1:  # bags are rarely equal
        return np.arange(n), np.arange(n)
    code = rows.codes[:, 0]
    if rows.shares.shape[1]:
        share = np.ascontiguousarray(rows.shares[:, 0]).view(np.uint32)
        both = code.astype(np.uint64) << np.uint64(32) | share
        _, first, places = np.unique(both, return_index=True, return_inverse=True)
        return places.astype(np.int64), first
    holder = np.full(size, -1, np.int64)
    holder[code] = np.arange(n)
    used = np.flatnonzero(holder >= 0)
    first = holder[used]
    holder[used] = np.arange(len(used))
    return holder[code], first


@compiled
def _renew(
    sums: tuple[F32, F32],
    table: F32,
    codes: tuple[NDArray[np.int64], NDArray[np.int64]],
    shape: tuple[int, int],
    out: tuple[F32, F32, NDArray[np.int64]],
) -> int:
    """Renew one field's share of some rows' sums.

    Args:
        sums: of the rows as they are (b, L), and what is added to each of them (L,).
        table: the share of each value, (U, L).
        codes: each row's own value (b,), and those drawn (R, b).
        shape: H, and the column of the first order, after which those of FM stand.
        out: the first layer's neurons (≥ m, H), first order and FM (≥ m,), and where each drawn
            value's are, (R, b); −1 = it is the row's own.

    Returns:
        m.
    """
    total, start = sums
    old, new = codes
    hidden, linear = shape
    value, logit, where = out
    width, m = total.shape[1], 0
    without = np.empty(width, np.float32)
    for r in range(len(total)):
        own = old[r]
        fresh = True
        for k in range(len(new)):
            code = new[k, r]
            found = -2
            if code == own:
                found = -1
            for j in range(k):
                if new[j, r] == code:
                    found = where[j, r]
            if found == -2:
                if fresh:
                    for w in range(width):
                        without[w] = total[r, w] + start[w] - table[own, w]
                    fresh = False
                row = value[m]
                for h in range(hidden):
                    row[h] = max(without[h] + table[code, h], np.float32(0))
                pairs = np.float32(0)
                for w in range(linear + 1, width):
                    x = without[w] + table[code, w]
                    pairs += x * x
                logit[m] = without[linear] + table[code, linear] + np.float32(0.5) * pairs
                found = m
                m += 1
            where[k, r] = found
    return m


@compiled
def _spread(where: NDArray[np.int64], logit: F32, own: F32, out: F32) -> None:
    """Write each drawn value's logit, or the row's own, into ``out`` (R, b)."""
    for k in range(len(where)):
        for r in range(where.shape[1]):
            at = where[k, r]
            out[k, r] = own[r] if at < 0 else logit[at]
