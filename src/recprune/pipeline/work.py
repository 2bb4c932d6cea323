"""How much work one answer is, counted from a model's layout and encoder alone.

Counted is what :mod:`recprune.runtime` does in its two ways: one function for a single row of a
narrow model, blocks of rows otherwise. Every count is one that no cut of fields, rows, dims, neurons
or pairs makes larger, so that with prices of at least 0 no cut makes an answer slower.

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

#: Bytes of a table that stay near the processor.
NEAR = 1 << 14
#: Matrices whose products fields are summed up to.
FIRST = ("mlp.0.weight", "shared.bottom.0.weight")
#: What is counted of an answer of one row: first of every model, then of one that NumPy answers.
ONE = (
    *("call", "fields", "sums of lists", "products", "neurons"),
    *("large", "gathered", "first product", "layers", "later products"),
    *("any numbers", "any lists", "fm", "squares", "steps", "products of parts"),
    *("part pairs", "part dot"),
)
#: What is counted of each row of a large answer.
MANY = (
    *("row", "fields", "added", "squared", "own squares", "numbers", "listed"),
    *("values of lists", "values of numbers", "sums of lists", "sums of numbers", "far"),
    *("first product", "layers", "later products", "neurons"),
    *("gated", "products of parts", "values of parts", "crossed"),
    *("paired", "spread", "products of pairs"),
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
        self.parts, self.compiled = frozenset(parts), compiled
        self.carries = not NEED_EMBEDDING.isdisjoint(parts)
        units = [axes[f"dims.{n}"].units if f"dims.{n}" in axes else np.arange(0) for n in names]
        union = np.unique(np.concatenate([np.empty(0, np.int64), *units]))
        lead = int(wide or "fm" in parts)
        slots = [s.stop - s.start for s in encoder.slots]
        self.fields, self.width, self.slots = len(names), lead + len(union), sum(slots)
        self.inputs, self.dims = sum(map(len, units)), len(union)
        self.numbers, self.lists = len(encoder.numeric), len(encoder.bags)
        #: Slots of lists and vectors.
        self.listed = sum(slots[i] for i in encoder.bags)

        matrices = {n: s for n, s in layout.shapes.items() if len(s) == 2}
        matrices = {n: s for n, s in matrices.items() if not n.startswith("table.")}
        self.first = sum(matrices.pop(n)[0] for n in FIRST if n in matrices)
        plain = [s for n, s in matrices.items() if n.startswith("mlp.")]
        others = [s for n, s in matrices.items() if not n.startswith("mlp.")]
        #: Of plain hidden layers after the first, and of other parts: how many matrices, their
        #: multiplications, and the values that go in and out.
        self.layers, self.later, self.neurons = len(plain), _products(plain), _values(plain)
        self.steps, self.others, self.values = len(others), _products(others), _values(others)
        self.paired = any(axis.members and axis.size for axis in axes.values())

        #: Columns of what fields are summed up to, and of a row that is looked up for it.
        self.sums = self.first + self.width
        if compiled and self.first:
            self.sums = -(-self.sums // 8) * 8
        self.row = self.width if self.carries else self.sums
        runs = [_run(lead, np.searchsorted(union, own)) for own in units]
        self.unfolded = self._unfolded(runs, encoder.sizes)
        self.products = self.unfolded * self.sums + self.later
        #: Columns looked up, each by how far away its table lies, in doublings of what is near.
        self.far = sum(
            n * self.row * log2(1 + 4 * rows * self.row / NEAR)
            for n, rows in zip(slots, encoder.sizes, strict=True)
        )

    def of_one(self) -> dict[str, float]:
        """Return the counts of an answer of one row, by :data:`ONE`."""
        alone = self.compiled and "mlp" in self.parts and not self.carries
        large = not alone or "shared" in self.parts or self.products > FEW_PRODUCTS
        fm = "fm" in self.parts
        columns = self.sums + self.inputs * self.carries
        steps = (
            *(1, self.slots * self.width, self.fields * self.width * columns),
            *(self.layers, self.later, self.numbers > 0, self.lists > 0),
            *(fm, fm and self.numbers + self.lists > 0),
        )
        counts = (
            *(1, self.fields, self.listed * self.sums),
            # Beyond this NumPy answers, which multiplies faster.
            *(min(self.products, FEW_PRODUCTS), self.neurons + self.sums),
            *(large * count for count in steps),
            *(self.steps, self.others, "pairs" in self.parts, "dot" in self.parts),
        )
        return dict(zip(ONE, map(float, counts), strict=True))

    def of_many(self) -> dict[str, float]:
        """Return the counts of each row of a large answer, by :data:`MANY`."""
        fm, gated, dot = (part in self.parts for part in ("fm", "final", "dot"))
        # Of DLRM, all numbers make one vector.
        vectors = self.fields - self.numbers * dot + (self.numbers > 0) * dot
        spread = self.fields * self.dims
        counts = (
            *(1, self.fields, self.fields * self.sums, fm * self.width),
            *(fm * (self.numbers + self.lists), self.numbers, self.listed),
            *(self.listed * self.width, self.numbers * self.width),
            *(self.listed * self.sums, self.numbers * self.sums, self.far),
            *(self.unfolded * self.sums, self.layers, self.later, self.neurons),
            *(gated * self.inputs, self.others, self.values, dot * vectors**2),
            *(self.paired * count for count in (1, spread, vectors**2 * self.dims)),
        )
        return dict(zip(MANY, map(float, counts), strict=True))

    def _unfolded(self, runs: Sequence[int], sizes: Sequence[int]) -> int:
        """Return the inputs left when fields are folded into the cache, from the smallest on.

        They are counted as those of the widest fields: with other dims in each, a field that is cut
        can push out a wider one, and the cut would seem to add work.
        """
        if not self.compiled:
            return self.fields * self.width
        if self.carries:
            return sum(runs)
        if not self.first:
            return 0
        folded = np.count_nonzero(np.cumsum(np.sort(sizes)) * 4 * self.sums <= FOLDED_BYTES)
        return sum(sorted(runs)[folded:])


def _run(lead: int, places: NDArray[np.intp]) -> int:
    """Return how many of the table's columns are a field's inputs: its own, and gaps between."""
    if not len(places):
        return lead
    return int(places[-1]) + 2 if lead else int(places[-1] - places[0]) + 1


def _products(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(map(prod, shapes))


def _values(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(map(sum, shapes))
