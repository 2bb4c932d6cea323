"""The catalogue's items under one model: alike ones once, near ones in blocks.

Named axes: n items, R distinct rows, B blocks, G groups, K columns of what the fields sum up (see
:mod:`recprune.runtime.weights`; of two towers, the length of an item's vector).

*Alike.* Pruning maps many values to one row, so that items become alike. Items with the same codes
and the same values of the columns that cross fields go by are one distinct row: scored once, and
equal to the last bit, so that ties are ties.

*Groups and blocks.* A group holds the rows with one value of each such column, hence what the user's
histories add is the same for all of them. It is one block or several: rows near each other, split
at the median of the column of the widest spread until a block has at most 64, and further until it
has at most 16 (Bentley 1975, *k-d trees*): large blocks, each of them one small block or several.

*Fine columns.* A column with about as many values as there are items (the item id) would make a
group of each item. It splits nothing: the items whose value a user has a history with are scored
apart, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.catalogue import Catalogue
from recprune.encoding import Encoder, Rows
from recprune.runtime.block import FieldBlock
from recprune.runtime.tensors import F32

__all__ = ["Blocks", "Items"]

IntArray = NDArray[np.integer[Any]]
#: Rows of a large and of a small block at most.
MOST = 64, 16
#: Items of a group on average, at least, for a column to split groups.
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Blocks:
    """The rows cut into blocks of one size.

    Args:
        starts: first row of each, then their number, (B + 1,).
        group: of each, (B,).
        within: first block of each larger block, then their number.
    """

    starts: NDArray[np.intp]
    group: NDArray[np.intp]
    within: NDArray[np.intp]

    def rows(self, blocks: IntArray) -> NDArray[np.intp]:
        """Return the rows of these blocks, one block after the other."""
        return _ranges(self.starts[blocks], self.starts[blocks + 1])

    def of(self, larger: IntArray) -> NDArray[np.intp]:
        """Return the blocks that these larger blocks consist of."""
        return _ranges(self.within[larger], self.within[larger + 1])


class Items:
    """Distinct rows of a catalogue, in the order of their blocks.

    Args:
        catalogue: the items.
        encoder: of the item fields alone.
        block: what these fields add to the sums.
        then: what is made of an item's sums, (n, K) ↦ (n, V); None = they are kept as they are.
        limit: bytes that may be kept; more is computed anew for each request. None = no limit.
        near: whether near rows shall share a block: worth it where blocks can be bounded.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        encoder: Encoder,
        block: FieldBlock,
        then: Callable[[F32], F32] | None,
        limit: int | None,
        near: bool,
    ) -> None:
        self._block, self._then = block, then
        rows, n = _encoded(catalogue, encoder), len(catalogue)
        group, self.coarse = _groups(catalogue)
        first, self.row_of = _distinct(group, rows)
        self.codes, self.shares = rows.codes[first], rows.shares[first]
        nothing = np.empty((0, block.sums), np.float32)
        self.width = (nothing if then is None else then(nothing)).shape[1]
        self.kept: F32 | None = None
        order, groups = _runs(group[first])
        large = small = groups
        if limit is None or 4 * len(first) * self.width <= limit:
            self.kept = block.all(Rows(self.codes, self.shares), then)
            if near:
                order, large = _split(self.kept, order, groups, MOST[0])
                order, small = _split(self.kept, order, large, MOST[1])
            self.kept = self.kept[order]
        self.codes, self.shares = self.codes[order], self.shares[order]
        place = np.empty(len(order), np.intp)
        place[order] = np.arange(len(order))
        #: Each item's distinct row, (n,).
        self.row_of = place[self.row_of]
        counts = np.bincount(self.row_of, minlength=len(order))
        #: How many items each distinct row stands for, (R,).
        self.counts: NDArray[np.intp] = counts
        self._members = np.argsort(self.row_of, kind="stable")
        self._ends = np.append(0, np.cumsum(counts))
        #: Each row's group, (R,).
        self.group_of = np.repeat(np.arange(len(groups) - 1), np.diff(groups))
        #: The large blocks, then the small ones.
        self.blocks = [
            Blocks(starts, self.group_of[starts[:-1]], np.searchsorted(starts, above))
            for starts, above in ((large, groups), (small, large))
        ]
        one = self._members[self._ends[groups[:-1]]] if n else np.empty(0, np.intp)
        #: Column that splits groups → each group's value, (G,); −1 = missing.
        self.keys = {by: catalogue.keys[by][one] for by in self.coarse}
        self._by_value = {}
        for by in catalogue.keys.keys() - set(self.coarse):
            keys, size = catalogue.keys[by], len(catalogue.key_values[by])
            by_value = np.argsort(keys, kind="stable")
            self._by_value[by] = by_value, np.searchsorted(keys[by_value], np.arange(size + 1))

    def __len__(self) -> int:
        return len(self.group_of)

    @property
    def nbytes(self) -> int:
        """Bytes of the item side that is kept; 0 where the limit is smaller."""
        return 0 if self.kept is None else self.kept.nbytes

    def boxes(self, blocks: Blocks) -> tuple[F32, F32] | None:
        """Return each block's middle and half width, column by column; None if nothing is kept."""
        if self.kept is None or not len(self.kept):
            return None
        low = np.minimum.reduceat(self.kept, blocks.starts[:-1])
        high = np.maximum.reduceat(self.kept, blocks.starts[:-1])
        half = np.float32(0.5)
        return (low + high) * half, (high - low) * half

    def side(self, rows: slice | IntArray, out: F32) -> None:
        """Write the item side of some rows into ``out``, (m, K)."""
        if self.kept is not None:
            if isinstance(rows, slice):
                out[:] = self.kept[rows]
            else:
                self.kept.take(rows, axis=0, out=out, mode="clip")
            return
        out[:] = self._block.all(Rows(self.codes[rows], self.shares[rows]), self._then)

    def having(self, by: str, values: IntArray) -> NDArray[np.intp]:
        """Return the items that have one of these values of a column that splits no groups."""
        order, starts = self._by_value[by]
        return order[_ranges(starts[values], starts[values + 1])]

    def members(self, rows: IntArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the items of these rows, and of each the position in ``rows``."""
        places = _ranges(self._ends[rows], self._ends[rows + 1])
        return self._members[places], np.repeat(np.arange(len(rows)), self.counts[rows])


def _ranges(starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the whole numbers of each range, one range after the other."""
    sizes = ends - starts
    past = np.cumsum(sizes)
    total = int(past[-1]) if len(past) else 0
    out: NDArray[np.intp] = np.arange(total) + np.repeat(starts - past + sizes, sizes)
    return out


def _encoded(catalogue: Catalogue, encoder: Encoder) -> Rows:
    rows = encoder.blank(len(catalogue))
    for i, name in enumerate(encoder.schema.names):
        rows.codes[:, encoder.slots[i]] = catalogue.codes[name]
        if name in catalogue.shares:
            rows.shares[:, encoder.share_slots[i]] = catalogue.shares[name]
    return rows


def _groups(catalogue: Catalogue) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return each item's group, and the columns that have one value in each group."""
    group, coarse, n = np.zeros(len(catalogue), np.int64), [], len(catalogue)
    sizes: Mapping[str, int] = {by: len(v) for by, v in catalogue.key_values.items()}
    for by in sorted(sizes, key=lambda by: (sizes[by], by)):
        joined = group * (sizes[by] + 1) + catalogue.keys[by] + 1
        values, joined = np.unique(joined, return_inverse=True)
        if len(values) * FEWEST > n:
            break
        group = joined
        coarse.append(by)
    return group, tuple(coarse)


def _distinct(group: NDArray[np.int64], rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return one item of each distinct row, and each item's distinct row."""
    n = len(group)
    columns = [group.astype(np.int32)[:, None], rows.codes, rows.shares.view(np.int32)]
    joined = np.ascontiguousarray(np.concatenate(columns, axis=1, dtype=np.int32))
    as_bytes = joined.view(np.dtype((np.void, 4 * joined.shape[1]))).reshape(n)
    _, first, row_of = np.unique(as_bytes, return_index=True, return_inverse=True)
    return first, row_of.reshape(n)


def _runs(group: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows sorted by group, and where each group starts, then the end."""
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order])) + 1
    return order, np.concatenate([[0] if len(group) else [], edges, [len(group)]]).astype(np.intp)


def _split(
    side: F32, order: NDArray[np.intp], starts: NDArray[np.intp], most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sort each block along its widest column and cut it in two, until none has too many rows."""
    while True:
        sizes = np.diff(starts)
        large = np.flatnonzero(sizes > most)
        if not len(large):
            return order, starts
        places = np.concatenate([np.arange(starts[b], starts[b + 1]) for b in large])
        owner = np.repeat(np.arange(len(large)), sizes[large])
        values = side[order[places]]
        edges = np.cumsum(sizes[large]) - sizes[large]
        spread = np.maximum.reduceat(values, edges) - np.minimum.reduceat(values, edges)
        along = values[np.arange(len(values)), spread.argmax(axis=1)[owner]]
        order[places] = order[places][np.lexsort((along, owner))]
        starts = np.sort(np.append(starts, starts[large] + sizes[large] // 2))
