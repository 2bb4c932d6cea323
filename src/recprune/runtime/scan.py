"""The best items for one user: blocks whose bound is too low are skipped, the others scored.

The answer is that of scoring every item, to the last tie. A batch of rows is scored from the large
blocks of the highest bounds; their k-th best score is an edge, and a block whose bound is below it
holds nothing that could enter. Of the large blocks that are left the small ones are bounded, and what
is left of them is scored. Rows are scored in batches of one size always, the last filled up: with
another size the BLAS may take another kernel and round otherwise.

Whether bounds pay depends on the model and its catalogue. The first requests tell: where more than
half of the rows had to be scored all the same, bounds are formed no longer. Counts decide, not the
clock, and the answers are the same either way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.runtime.bounds import Bound, DotBound, bound_of
from recprune.runtime.heads import FirstHead, Head, TowersHead
from recprune.runtime.items import Items
from recprune.runtime.quick import QuickHead
from recprune.runtime.tensors import F32

__all__ = ["Asked", "Scan"]

IntArray = NDArray[np.integer[Any]]
#: Bytes of a batch of rows, so that it stays in the processor's cache, and its rows.
BATCH_BYTES, FEWEST_ROWS, MOST_ROWS = 1 << 17, 64, 2048
#: Requests that tell whether bounds pay, and the share of rows that they may leave to be scored.
TRIALS, MOST_SCORED = 4, 0.5
#: Best items that are found in one pass, each put in its place among the others.
MOST_CHOSEN = 128


@dataclass(frozen=True, eq=False)
class Asked:
    """What one user adds to the items' sums.

    Args:
        shift: of every item, (K,), or of each group's items, (G, K); of two towers, the vector.
        reach: the largest absolute value of each column that comes into it, (K,).
        apart: positions of the items that are scored apart, increasing.
        sums: some of these, as positions in ``apart`` ↦ what is added to theirs instead, (m, K).
        add: to every logit.
        compiled: whether the kernels score the rows; of one request they do or they do not.
    """

    shift: F32
    reach: F32
    apart: NDArray[np.intp]
    sums: Callable[[IntArray], F32]
    add: float = 0.0
    compiled: bool = False


class Scan:
    """The catalogue under one head.

    Args:
        items: the catalogue's distinct rows.
        head: what makes logits of their sums.
        compiled: whether numba is loaded, given so many rows of work more.
    """

    def __init__(self, items: Items, head: Head, compiled: Callable[[int], bool]) -> None:
        self.items, self.head, self.compiled = items, head, compiled
        rows = BATCH_BYTES // max(4 * items.width, 1)
        #: Rows of a batch: a multiple of what any BLAS takes at once.
        self.batch = min(max(rows // FEWEST_ROWS * FEWEST_ROWS, FEWEST_ROWS), MOST_ROWS)
        self._local = threading.local()
        self._every, self._alone = np.arange(len(items)), np.zeros(len(items), np.intp)
        #: Requests with bounds, and the rows that they had to score.
        self.tried, self.scored = 0, 0

    @cached_property
    def bounds(self) -> list[Bound | DotBound]:
        """What bounds the logits of the large blocks, and of the small ones; empty if nothing does."""
        found = []
        for blocks in self.items.blocks:
            boxes = self.items.boxes(blocks)
            bound = None if boxes is None else bound_of(self.head, *boxes, blocks.group)
            found += [] if bound is None else [bound]
        return found

    @cached_property
    def quick(self) -> QuickHead | None:
        """What scores rows by the kernels; None where a head has parts of its own, or nothing is
        kept. Loads numba.
        """
        if not isinstance(self.head, FirstHead) or self.items.kept is None:
            return None
        return QuickHead(self.head, self.items.kept)

    @property
    def nbytes(self) -> int:
        """Bytes of the bounds, and of what the kernels keep, once they were used."""
        quick: QuickHead | None = self.__dict__.get("quick")
        bounds: list[Bound | DotBound] = self.__dict__.get("bounds", [])
        return sum(each.nbytes for each in (*bounds, *([] if quick is None else [quick])))

    def all(self, asked: Asked) -> F32:
        """Return every item's logit, (n,)."""
        logits = self._score(asked, slice(0, len(self.items)))[self.items.row_of]
        logits[asked.apart] = self._apart(asked, np.arange(len(asked.apart)))
        return logits

    def best(
        self, asked: Asked, k: int, only: IntArray | None, without: IntArray
    ) -> tuple[NDArray[np.intp], F32]:
        """Return the positions of the k best items, best first, ties by position; and their logits.

        Args:
            asked: the user.
            k: how many; fewer come back where fewer are left.
            only: positions to choose from; None = all.
            without: positions to leave out.
        """
        items = self.items
        if only is None and not len(asked.apart) and k <= MOST_CHOSEN and not self._bounds_pay:
            quickly = self._largest(asked, k, without)
            if quickly is not None:
                return quickly
        if only is not None and len(only) <= max(len(items) // 64, self.batch):
            return self._best_of(asked, k, np.setdiff1d(only, without))
        open_ = np.full(len(items.row_of), only is None)
        if only is not None:
            open_[only] = True
        open_[without] = False
        own = np.flatnonzero(open_[asked.apart])
        apart, found = asked.apart[own], self._apart(asked, own)
        open_[asked.apart] = False
        rows, scores = self._rows(asked, k, self._left(open_, only is not None), found)
        # As many rows as items are asked for hold at least as many items.
        near = np.flatnonzero(~(scores < _edge(scores, k)))
        places, owner = items.members(rows[near])
        allowed = np.flatnonzero(open_[places])
        places = np.concatenate([places[allowed], apart])
        scores = np.concatenate([scores[near][owner[allowed]], found])
        # NaN ranks last, as in top_k.
        order = np.lexsort((places, np.negative(scores)))[:k]
        return places[order], scores[order]

    def _best_of(self, asked: Asked, k: int, few: NDArray[np.intp]) -> tuple[NDArray[np.intp], F32]:
        """Do as :meth:`best` among few items, increasing: nothing is as long as the catalogue."""
        apart, own, _ = np.intersect1d(asked.apart, few, assume_unique=True, return_indices=True)
        others = np.setdiff1d(few, apart, assume_unique=True)
        rows, at = np.unique(self.items.row_of[others], return_inverse=True)
        places = np.concatenate([others, apart])
        scores = np.concatenate([self._score(asked, rows)[at], self._apart(asked, own)])
        order = np.lexsort((places, np.negative(scores)))[:k]
        return places[order], scores[order]

    def _left(self, open_: NDArray[np.bool_], few: bool) -> NDArray[np.bool_] | None:
        """Return which rows have an item that may be returned, (R,); None = all have.

        Args:
            open_: which items may be, (n,).
            few: whether these are few; else those that may not are.
        """
        items = self.items
        if few:
            left = np.zeros(len(items), bool)
            left[items.row_of[open_]] = True
            return left
        rows = items.row_of[np.flatnonzero(~open_)]
        if not len(rows):
            return None
        rows, closed = np.unique(rows, return_counts=True)
        left = np.ones(len(items), bool)
        left[rows[closed == items.counts[rows]]] = False
        return left

    def _rows(
        self, asked: Asked, k: int, left: NDArray[np.bool_] | None, found: F32
    ) -> tuple[IntArray, F32]:
        """Return rows among which the best are, and their logits.

        Args:
            asked: the user.
            k: how many items are wanted.
            left: which rows have an item that may be returned, (R,); None = all have.
            found: logits of items that are scored apart.
        """
        n = len(self.items)
        count = n if left is None else np.count_nonzero(left)
        if count <= max(n // 4, 2 * self.batch) and left is not None:
            rows: IntArray = np.flatnonzero(left)
            return rows, self._score(asked, rows)
        if self._bounds_pay:
            return self._bounded(asked, k, left, found)
        logits = self._score(asked, slice(0, n))
        if left is None:
            return np.arange(n), logits
        rows = np.flatnonzero(left)
        return rows, logits[rows]

    @property
    def _bounds_pay(self) -> bool:
        """Whether blocks are bounded: so far that has paid, or it is not known yet."""
        n = len(self._every)
        if n <= 4 * self.batch:
            return False
        pays = self.tried < TRIALS or self.scored <= MOST_SCORED * self.tried * n
        return bool(pays and self.bounds)

    def _largest(
        self, asked: Asked, k: int, without: IntArray
    ) -> tuple[NDArray[np.intp], F32] | None:
        """Do as :meth:`best` among all items, in one pass; None where the kernels cannot."""
        if not asked.compiled or self.quick is None:
            return None
        logits = self.quick.all(asked.shift) if asked.shift.ndim == 1 else None
        if logits is None:
            logits = self._score(asked, slice(0, len(self.items)))
        places, scores = np.empty(k, np.intp), np.empty(k, np.float32)
        count = self.quick.largest(logits, self.items.row_of, without, places, scores)
        return None if count < 0 else (places[:count], scores[:count])

    def _bounded(
        self, asked: Asked, k: int, left: NDArray[np.bool_] | None, found: F32
    ) -> tuple[IntArray, F32]:
        """Do as :meth:`_rows` by bounds."""
        large, small = self.items.blocks
        add, count = np.float32(asked.add), len(large.group)
        compiled = self.compiled(count)
        most = self.bounds[0](asked.shift, asked.reach, compiled=compiled) + add
        some = min(max(self.batch, 2 * k) * count // len(self.items) + 1, count)
        first = np.argpartition(-most, some - 1)[:some]
        rows = _among(large.rows(first), left)
        logits = self._score(asked, rows)
        edge = _edge(np.concatenate([found, logits]), k)
        most[first] = -np.inf
        near = small.of(np.flatnonzero(~(most < edge) & (most != -np.inf)))
        bound = self.bounds[1](asked.shift, asked.reach, near, compiled=compiled)
        near = near[~(bound + add < edge)]
        more = _among(small.rows(near), left)
        self.tried, self.scored = self.tried + 1, self.scored + len(rows) + len(more)
        return np.append(rows, more), np.append(logits, self._score(asked, more))

    def _score(self, asked: Asked, rows: slice | IntArray, sums: F32 | None = None) -> F32:
        """Return the logits of some rows, (m,).

        Args:
            asked: the user.
            rows: positions; a slice has both ends.
            sums: what is added to each row, (m, K); None = what the user adds to its group.
        """
        if asked.compiled and self.quick is not None:
            return self._quickly(self.quick, asked, rows, sums)
        items, first = self.items, rows.start if isinstance(rows, slice) else 0
        m = rows.stop - first if isinstance(rows, slice) else len(rows)
        out, total = np.empty(m, np.float32), self._buffer()
        for low in range(0, m, self.batch):
            high = min(low + self.batch, m)
            here = slice(low, high)
            part = slice(first + low, first + high) if isinstance(rows, slice) else rows[here]
            mine = total[: high - low]
            items.side(part, mine)
            if isinstance(self.head, TowersHead):
                out[here] = (total @ asked.shift)[: high - low]
                continue
            if sums is not None:
                mine += sums[here]
            elif asked.shift.ndim == 1:
                mine += asked.shift
            else:
                mine += asked.shift.take(items.group_of[part], axis=0)
            out[here] = self.head(total)[: high - low]
        out += np.float32(asked.add)
        return out

    def _quickly(
        self, head: QuickHead, asked: Asked, rows: slice | IntArray, sums: F32 | None
    ) -> F32:
        """Do as :meth:`_score` by the kernels."""
        rows = self._every[rows] if isinstance(rows, slice) else rows.astype(np.intp, copy=False)
        if sums is not None:
            shift, group = sums, np.arange(len(rows))
        elif asked.shift.ndim == 1:
            shift, group = asked.shift[None], self._alone[: len(rows)]
        else:
            shift, group = asked.shift, self.items.group_of[rows]
        return head(rows, shift, group)

    def _apart(self, asked: Asked, own: IntArray) -> F32:
        """Return the logits of some of the items that are scored apart."""
        if not len(own):
            return np.empty(0, np.float32)
        return self._score(asked, self.items.row_of[asked.apart[own]], asked.sums(own))

    def _buffer(self) -> F32:
        """Return this thread's batch; what a shorter one leaves of the last is scored and unread."""
        buffer: F32 | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = np.zeros((self.batch, self.items.width), np.float32)
            self._local.buffer = buffer
        return buffer


def _among(rows: NDArray[np.intp], left: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    """Return those of the rows that are left; None = all are."""
    return rows if left is None else rows[left[rows]]


def _edge(scores: F32, k: int) -> float:
    """Return the k-th highest score, NaN counted last; −inf where there are fewer."""
    if len(scores) < k:
        return -np.inf
    return -float(np.partition(np.negative(scores), k - 1)[k - 1])
