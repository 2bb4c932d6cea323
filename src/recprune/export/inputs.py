"""From codes and shares to the fields' embeddings, side by side, and first-order weights.

Named axes: n rows, S slots, G fields of one group, W columns of a table (first-order weight, dims).
Fields whose tables have the same columns and the same encoding share one table and one gather.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.encoding import Encoder
from recprune.export.graph import Graph, Value
from recprune.lookups import UNKNOWN

__all__ = ["CODES", "SHARES", "Fields"]

CODES, SHARES = "codes", "shares"

Array = NDArray[Any]


class Fields:
    """The fields' values in a graph.

    Args:
        graph: what nodes and tables are added to.
        encoder: of the fields.
        stored: the artefact's tensors as stored: ``table.<field>``, and ``scale.table.<field>`` of
            int8 ones, which stay int8 in the graph.
        wide: whether column 0 of a table is a first-order weight.
    """

    def __init__(
        self, graph: Graph, encoder: Encoder, stored: Mapping[str, Array], wide: bool
    ) -> None:
        self.graph, self.encoder, self.stored, self.wide = graph, encoder, stored, int(wide)
        self.names = encoder.schema.names
        self.codes = self._known_codes()
        first: list[Value] = []
        pieces: list[tuple[list[int], Value]] = []
        for number, members in enumerate(self._groups()):
            gathered = self._gathered(members, f"table.{number}")
            width = self._table(members[0]).shape[1]
            if self.wide:
                start = self._cut(gathered, 0, 1)
                first.append(Value(graph.op("ReduceSum", start, graph.ints(1), keepdims=0), 1))
                gathered = self._cut(gathered, 1, width) if width > 1 else ""
            dims = width - self.wide
            if dims:
                flat = graph.op("Reshape", gathered, graph.ints(0, len(members) * dims))
                pieces.append((members, Value(flat, len(members) * dims)))
        #: The sum of all first-order weights, shape (n, 1); nothing in a narrow model.
        self.first = graph.plus(first)
        #: The embeddings side by side in the schema's order, shape (n, I).
        self.embeddings = self._in_order(pieces)

    def _known_codes(self) -> str:
        """Return the codes, (n, S); one outside its field's table reads as the unknown row."""
        graph = self.graph
        widths = [s.stop - s.start for s in self.encoder.slots]
        limits = np.repeat(np.array(self.encoder.sizes, np.int32), widths)
        above = graph.op("GreaterOrEqual", CODES, graph.constant(np.zeros(1, np.int32)))
        below = graph.op("Less", CODES, graph.constant(limits))
        unknown = graph.constant(np.full(1, UNKNOWN, np.int32))
        return graph.op("Where", graph.op("And", above, below), CODES, unknown)

    def _groups(self) -> list[list[int]]:
        """Return the positions of the fields that share a gather; a bag stands alone."""
        groups: dict[Any, list[int]] = {}
        for i, name in enumerate(self.names):
            table = self._table(i)
            scaled = f"scale.table.{name}" in self.stored
            own = i if i in self.encoder.bags else -1
            key = (own, i in self.encoder.numeric, table.shape[1], table.dtype.str, scaled)
            groups.setdefault(key, []).append(i)
        return list(groups.values())

    def _table(self, field: int) -> Array:
        return self.stored[f"table.{self.names[field]}"]

    def _gathered(self, members: list[int], name: str) -> str:
        """Return the values of a group's fields, shape (n, G, W)."""
        graph, encoder = self.graph, self.encoder
        tables = [self._table(i) for i in members]
        table = graph.constant(np.ascontiguousarray(np.concatenate(tables)), name)
        starts = np.cumsum([0, *map(len, tables)])[:-1]
        widths = [encoder.slots[i].stop - encoder.slots[i].start for i in members]
        offsets = np.repeat(starts, widths).astype(np.int32)
        code = self._columns(self.codes, [encoder.slots[i] for i in members])
        low = self._rows(table, code, offsets, members)
        if members[0] in encoder.numeric:
            last = graph.constant(np.array([len(t) - 1 for t in tables], np.int32))
            after = graph.op("Add", code, graph.constant(np.ones(1, np.int32)))
            high = self._rows(table, graph.op("Min", after, last), offsets, members)
            step = graph.op("Mul", self._shares(members), graph.op("Sub", high, low))
            return graph.op("Add", low, step)
        if members[0] in encoder.bags:
            weighted = graph.op("Mul", low, self._shares(members))
            return graph.op("ReduceSum", weighted, graph.ints(1), keepdims=1)
        return low

    def _rows(self, table: str, code: str, offsets: Array, members: list[int]) -> str:
        """Return a table's rows in 32 bits, shape (n, slots, W)."""
        graph = self.graph
        index = graph.op("Add", code, graph.constant(offsets)) if offsets.any() else code
        rows = graph.op("Gather", table, index, axis=0)
        if self._table(members[0]).dtype != np.float32:
            rows = graph.op("Cast", rows, to=graph.onnx.TensorProto.FLOAT)
        scales = [self.stored.get(f"scale.table.{self.names[i]}") for i in members]
        if scales[0] is not None:
            rows = graph.op("Mul", rows, graph.constant(np.stack(scales)[None]))  # type: ignore[arg-type]
        return rows

    def _shares(self, members: list[int]) -> str:
        """Return the group's shares, shape (n, slots, 1)."""
        shares = self._columns(SHARES, [self.encoder.share_slots[i] for i in members])
        return self.graph.op("Unsqueeze", shares, self.graph.ints(2))

    def _columns(self, name: str, slots: list[slice]) -> str:
        runs = self.encoder.slots if name != SHARES else self.encoder.share_slots
        whole = Value(name, runs[-1].stop)
        return self.graph.columns(whole, np.concatenate([np.r_[s] for s in slots])).name

    def _cut(self, gathered: str, start: int, end: int) -> str:
        graph = self.graph
        return graph.op("Slice", gathered, graph.ints(start), graph.ints(end), graph.ints(2))

    def _in_order(self, pieces: list[tuple[list[int], Value]]) -> Value:
        order = [i for members, _ in pieces for i in members]
        if order == sorted(order):
            return self.graph.concat([value for _, value in pieces])
        apart: dict[int, Value] = {}
        for members, value in pieces:
            apart |= zip(members, self.graph.split(value, len(members)), strict=True)
        return self.graph.concat([apart[i] for i in sorted(apart)])
