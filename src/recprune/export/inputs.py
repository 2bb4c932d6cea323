"""From codes and shares to the fields' embeddings, side by side, and first-order weights.

Named axes: n rows, S slots, G fields of one group, W columns of a table (first-order weight, dims).
Fields of one kind whose tables have the same encoding share one table and one gather. Where they
have different numbers of columns, few groups of similar ones are made, in which narrow tables are
filled up with zeros: by nodes on constants, which runtimes compute once when they load the file, so
that the file holds every table as it is. Packed rows (:mod:`recprune.quantisation`) stay packed:
scales, and values of four bits, are looked up by their byte.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.axes import Layout
from recprune.encoding import Encoder
from recprune.export.graph import Graph, Value
from recprune.export.groups import by_width, costs
from recprune.lookups import UNKNOWN
from recprune.quantisation import PAIRS, SCALES, Encoding

__all__ = ["CODES", "SHARES", "Fields"]

CODES, SHARES = "codes", "shares"

Array = NDArray[Any]
#: Byte → the signed byte's value.
SIGNED: NDArray[np.float32] = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)


class Fields:
    """The fields' values in a graph.

    Args:
        graph: what nodes and tables are added to.
        encoder: of the fields.
        stored: ``table.<field>`` → its pieces (:func:`recprune.quantisation.pieces`).
        encodings: ``table.<field>`` → its encoding; fp32 if it is not named.
        wide: whether column 0 of a table is a first-order weight.
        layout: the tables' shapes, and what a dim more costs.
    """

    def __init__(
        self,
        graph: Graph,
        encoder: Encoder,
        stored: Mapping[str, Sequence[Array]],
        encodings: Mapping[str, Encoding],
        wide: bool,
        layout: Layout,
    ) -> None:
        self.graph, self.encoder, self.wide = graph, encoder, int(wide)
        self.names = encoder.schema.names
        tables = [f"table.{name}" for name in self.names]
        self.stored = [stored[table] for table in tables]
        self.encodings = [encodings.get(table, "fp32") for table in tables]
        self.widths = [layout.shapes[table][1] - self.wide for table in tables]
        self.costs = costs(layout, self.names)
        self.codes = self._known_codes()
        first: list[Value] = []
        pieces: list[Value] = []
        starts, column = [0] * len(self.names), 0
        for number, members in enumerate(self._groups()):
            gathered, width = self._gathered(members, f"table.{number}"), self._width(members)
            if self.wide:
                start = self._cut(gathered, 0, 1)
                first.append(Value(graph.op("ReduceSum", start, graph.ints(1), keepdims=0), 1))
                gathered = self._cut(gathered, 1, width) if width > 1 else ""
            dims = width - self.wide
            for place, i in enumerate(members):
                starts[i] = column + place * dims
            if dims:
                flat = graph.op("Reshape", gathered, graph.ints(0, len(members) * dims))
                pieces.append(Value(flat, len(members) * dims))
            column += len(members) * dims
        #: The sum of all first-order weights, shape (n, 1); nothing in a narrow model.
        self.first = graph.plus(first)
        own = [starts[i] + np.arange(width) for i, width in enumerate(self.widths)]
        at = np.concatenate([*own, np.empty(0, np.int64)]).astype(np.int64)
        joined = graph.concat(pieces)
        same = np.array_equal(at, np.arange(joined.width))
        #: The embeddings side by side, shape (n, I or more); those that count in the schema's order.
        self.embeddings = joined if same else replace(joined, at=at)

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
        alike: dict[Any, list[int]] = {}
        for i, encoding in enumerate(self.encodings):
            own = i if i in self.encoder.bags else -1
            # Rows of an odd number of four bits begin otherwise.
            odd = encoding == "int4_row" and (self.wide + self.widths[i]) % 2
            alike.setdefault((own, i in self.encoder.numeric, encoding, odd), []).append(i)
        return [
            group
            for members in alike.values()
            for group in by_width({i: self.widths[i] for i in members}, self.costs)
        ]

    def _width(self, members: list[int]) -> int:
        return self.wide + max(self.widths[i] for i in members)

    def _joined(self, members: list[int], name: str) -> str:
        """Return the tables one after the other, narrow ones (they come first) with zeros."""
        graph, parts = self.graph, []
        most = self.stored[members[-1]][0].shape[1]
        for width, group in itertools.groupby(members, lambda i: self.widths[i]):
            tables = np.concatenate([self.stored[i][0] for i in group])
            lacks = most - tables.shape[1]
            stem = f"{name}.{width}" if lacks else name
            part = graph.constant(tables, stem)
            if lacks:
                zero = graph.onnx.numpy_helper.from_array(np.zeros(1, tables.dtype))
                zeros = graph.op("ConstantOfShape", graph.ints(len(tables), lacks), value=zero)
                part = graph.op("Concat", part, zeros, axis=1)
            parts.append(part)
        return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def _gathered(self, members: list[int], name: str) -> str:
        """Return the values of a group's fields, shape (n, G, W)."""
        graph, encoder = self.graph, self.encoder
        rows = [len(self.stored[i][0]) for i in members]
        table = self._joined(members, name)
        starts = np.cumsum([0, *rows])[:-1]
        widths = [encoder.slots[i].stop - encoder.slots[i].start for i in members]
        offsets = np.repeat(starts, widths).astype(np.int32)
        code = self._columns(self.codes, [encoder.slots[i] for i in members])
        low = self._rows(table, code, offsets, members)
        if members[0] in encoder.numeric:
            last = graph.constant(np.array(rows, np.int32) - 1)
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
        rows, encoding = graph.op("Gather", table, index, axis=0), self.encodings[members[0]]
        if encoding in ("int8_row", "int4_row"):
            return self._unpacked(rows, encoding, members)
        if encoding != "fp32":
            rows = graph.op("Cast", rows, to=graph.onnx.TensorProto.FLOAT)
        if encoding == "int8":
            scales = np.ones((1, len(members), self._width(members)), np.float32)
            for place, i in enumerate(members):
                own = self.stored[i][1]
                scales[0, place, : len(own)] = own
            rows = graph.op("Mul", rows, graph.constant(scales))
        return rows

    def _unpacked(self, rows: str, encoding: Encoding, members: list[int]) -> str:
        """Return the values of packed rows, shape (n, slots, W), which are (n, slots, bytes)."""
        graph, width = self.graph, self._width(members)
        size = self.stored[members[-1]][0].shape[1]
        places = graph.op("Cast", rows, to=graph.onnx.TensorProto.INT32)

        def looked_up(values: Array, start: int, end: int) -> str:
            some = graph.op("Slice", places, graph.ints(start), graph.ints(end), graph.ints(2))
            return graph.op("Gather", graph.constant(values), some, axis=0)

        if encoding == "int8_row":
            parts = [looked_up(SIGNED, 1, size)]
        else:
            first = 1 + width % 2
            parts = [looked_up(SIGNED / 16, 1, first)] if first > 1 else []
            if first < size:
                pairs = looked_up(PAIRS, first, size)
                parts.append(graph.op("Reshape", pairs, graph.ints(0, 0, 2 * (size - first))))
        values = graph.op("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]
        return graph.op("Mul", values, looked_up(SCALES, 0, 1))

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
