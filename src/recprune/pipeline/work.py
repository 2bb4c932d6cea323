"""How much work one answer is, counted from a model's layout and encoder alone.

What :mod:`recprune.runtime` does is counted by steps of its two ways: one compiled function for a
single row of a narrow model, blocks of rows otherwise. Every count grows with every field, row, dim
and neuron: a cut never adds work, so that no cut is ever priced below nothing.

Named axes: F fields, I inputs, W columns of the table (first-order weight and dims), N columns of
the first product, as in :mod:`recprune.runtime.kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod

import numpy as np
from numpy.typing import NDArray

from recprune.axes import Layout
from recprune.encoding import Encoder
from recprune.runtime.fused import FEW_PRODUCTS, FOLDED_BYTES
from recprune.runtime.parts import NEED_EMBEDDING

__all__ = ["MANY", "ONE", "Work"]

#: Bytes of a table that a processor's nearest cache holds beside all else.
NEAR = 1 << 14

#: Matrices whose products fields are summed up to.
FIRST = ("mlp.0.weight", "shared.bottom.0.weight")
#: Parts that a constant of their own is measured for; others cost what their matrices do.
TIMED_PARTS = ("pairs", "cross", "final", "dot")
PARTS = (
    *("parts", "spread", "steps", "products of parts", "values of parts", "pairs"),
    *("products of pairs", *TIMED_PARTS),
)
#: What is counted of an answer of one row: the first eight of every model, the others of those that
#: are too large for one function.
ONE = (
    *(
        "call",
        "fields",
        "sums",
        "sums of lists",
        "sums of numbers",
        "products",
        "layers",
        "neurons",
    ),
    *("large", "gathered", "first product", "later products", "later layers"),
    *("any numbers", "any lists", *PARTS),
)
#: What is counted of each row of a large answer.
MANY = (
    *("row", "deep", "fields", "added", "sums", "lists", "listed", "sums of lists"),
    *("numbers", "sums of numbers", "far", "far columns", "inputs", "first product"),
    *("layers", "later products", "neurons", *PARTS),
)


class Work:
    """What the runtime does for an answer.

    Args:
        layout: the model's, cut or not.
        encoder: of its fields.
        parts: names of its parts.
        wide: whether its rows have a first-order weight.
        compiled: whether compiled kernels answer; else NumPy does, which folds nothing.
    """

    def __init__(
        self,
        layout: Layout,
        encoder: Encoder,
        parts: Sequence[str],
        wide: bool,
        *,
        compiled: bool = True,
    ) -> None:
        axes, names = layout.axes, encoder.schema.names
        units = [axes[f"dims.{n}"].units if f"dims.{n}" in axes else np.arange(0) for n in names]
        union = np.unique(np.concatenate([np.empty(0, np.int64), *units]))
        lead = int(wide or "fm" in parts)
        slots = [s.stop - s.start for s in encoder.slots]
        self.fields, self.width, self.slots = len(names), lead + len(union), sum(slots)
        self.inputs, self.parts, self.compiled = sum(map(len, units)), frozenset(parts), compiled
        self.numbers, self.lists = len(encoder.numeric), len(encoder.bags)
        self.bag_slots = sum(slots[i] for i in encoder.bags)
        self.carries = not NEED_EMBEDDING.isdisjoint(parts)
        matrices = {n: s for n, s in layout.shapes.items() if len(s) == 2 and "table." not in n}
        first = [matrices.pop(n) for n in FIRST if n in matrices]
        later = [s for n, s in matrices.items() if n.startswith("mlp.")]
        others = [s for n, s in matrices.items() if not n.startswith("mlp.")]
        #: N; then layers, their multiplications and values, of plain hidden layers and other parts.
        self.first = sum(s[0] for s in first)
        self.layers, self.later, self.neurons = _layers(later)
        self.steps, self.others, self.values = _layers(others)
        paired = [axis.size for axis in axes.values() if axis.members]
        self.pairs, self.spread = sum(paired), self.fields * len(union) * self.carries
        self.products_of_pairs = self.fields * self.spread * bool(paired)
        #: Columns of what fields are summed up to.
        self.sums = self.first + self.width
        if compiled and self.first:
            self.sums = -(-self.sums // 8) * 8
        runs = [_run(lead, np.searchsorted(union, own)) for own in units]
        self.unfolded = self._unfolded(runs, encoder.sizes)
        self.products = self.unfolded * self.sums + self.later
        #: Columns of a row that is looked up: of the table, or folded.
        self.row = self.width if self.carries else self.sums
        #: Look-ups, each by how far away its table lies, in doublings of the nearest cache.
        self.far = sum(
            n * log2(1 + 4 * r * self.row / NEAR) for n, r in zip(slots, encoder.sizes, strict=True)
        )

    def _unfolded(self, runs: Sequence[int], sizes: Sequence[int]) -> float:
        """Return the inputs left when as many as possible are folded into the cache.

        A field may be folded in part. The runtime folds whole fields, but then a smaller field can
        push out a larger one, and a cut would seem to add work.
        """
        if not self.compiled:
            return float(self.fields * self.width)
        if self.carries:
            return float(sum(runs))
        if not self.first:
            return 0.0
        room, left = FOLDED_BYTES / (4 * self.sums), 0.0
        for run, rows in sorted(zip(runs, sizes, strict=True), key=lambda f: f[1] / max(f[0], 1)):
            folded = min(1.0, room / rows)
            room -= folded * rows
            left += run * (1 - folded)
        return left

    def of_one(self) -> dict[str, float]:
        """Return the counts of an answer of one row, by :data:`ONE`."""
        plain = self.compiled and not self.carries and "mlp" in self.parts
        large = not plain or "shared" in self.parts or self.products > FEW_PRODUCTS
        whole = (
            *(1, self.fields, self.fields * self.sums, self.bag_slots * self.sums),
            *(self.numbers * self.sums, min(self.products, FEW_PRODUCTS), self.layers),
            self.neurons + self.sums,
        )
        columns = self.sums + self.inputs * self.carries
        steps = (
            *(1, self.slots * self.width, self.fields * self.width * columns, self.later),
            *(self.layers, self.numbers > 0, self.lists > 0),
        )
        counts = *whole, *(large * x for x in steps), *self._of_parts()
        return dict(zip(ONE, map(float, counts), strict=True))

    def of_many(self) -> dict[str, float]:
        """Return the counts of each row of a large answer, by :data:`MANY`."""
        counts = (
            *(1, self.first > 0, self.fields, self.fields * self.sums, self.sums),
            *(self.lists, self.bag_slots, self.bag_slots * (self.width + self.sums)),
            *(self.numbers, self.numbers * (self.width + self.sums)),
            *(self.far, self.far * self.row),
            *(self.unfolded, self.unfolded * self.sums),
            *(self.layers, self.later, self.neurons),
            *self._of_parts(),
        )
        return dict(zip(MANY, map(float, counts), strict=True))

    def _of_parts(self) -> tuple[float, ...]:
        kinds = (part in self.parts for part in TIMED_PARTS)
        pairs = self.pairs, self.products_of_pairs
        return (self.carries, self.spread, self.steps, self.others, self.values, *pairs, *kinds)


def _layers(shapes: Sequence[tuple[int, ...]]) -> tuple[int, int, int]:
    """Return how many matrices there are, their sizes, and the values that go in and out."""
    return len(shapes), sum(map(prod, shapes)), sum(map(sum, shapes))


def _run(lead: int, places: NDArray[np.intp]) -> int:
    """Return how many of the table's columns a field is an input from: its own, and gaps."""
    if lead:
        return 1 + (int(places[-1]) + 1 if len(places) else 0)
    return int(places[-1] - places[0]) + 1 if len(places) else 0
