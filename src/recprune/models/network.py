"""The one network behind every ranker: gather the fields' rows, then the sum of its parts.

Shapes are written with named axes: B batch, F fields, N numeric fields, S slots (one a field; of
sequences and vectors several), D dims, W columns of the table, T labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from recprune.encoding import Rows
from recprune.lookups import UNKNOWN
from recprune.models.draws import Draws
from recprune.models.layers import Dense, Flow
from recprune.models.parts import PARTS, Part, Shape
from recprune.models.taps import Tap

__all__ = ["FieldNet"]

#: Rows that are drawn at once where not all are kept.
DRAWN = 1 << 16


class FieldNet(nn.Module):
    """Logit of a row: bias + [first order] + the sum of its parts.

    The table of all fields is one parameter of shape (R, W): column 0 is the first-order weight,
    if there is one, the rest the embedding. Fields with fewer dims have zero columns, kept at zero.

    Inside, fields stand in ``order``: categorical, numeric, then bags, so that each kind is one
    contiguous block. Taps see that order; ``codes``, ``shares`` and the table keep the schema's.

    Args:
        shape: of the fields and the tensors.
        parts: names of the parts (:data:`recprune.models.parts.PARTS`), in order.
        dropout: share of hidden activations set to zero while training.
        generator: of the initial weights.
        held: which of the table's rows are here; None = all.
    """

    def __init__(
        self,
        shape: Shape,
        parts: Sequence[str],
        dropout: float,
        generator: torch.Generator,
        held: slice | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        #: The stream of dropout masks while training; None = the network scores.
        self.draws: Draws | None = None
        #: Whether hidden layers multiply in bfloat16; weights, embeddings and sums stay fp32.
        self.bf16 = False
        width = shape.width
        starts = np.concatenate([[0], np.cumsum(shape.sizes)])
        self.n_rows = int(starts[-1])
        self.offsets: Tensor
        self.slot_offsets: Tensor
        self.numeric_shares: Tensor
        self.bag_shares: Tensor
        self.share_slots: Tensor
        self.share_is_number: Tensor
        self.order: Tensor
        self.slot_order: Tensor
        self.read: Tensor
        self.read_offsets: Tensor
        self.column_mask: Tensor
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64))
        lengths = torch.tensor(shape.slots, dtype=torch.int64)
        self.register_buffer("slot_offsets", self.offsets.repeat_interleave(lengths))
        order = shape.order.tolist()
        self.register_buffer("order", torch.tensor(order, dtype=torch.int64))
        self.register_buffer("slot_order", _columns(shape.slots, order))
        given = [
            0 if kind == "categorical" else n
            for kind, n in zip(shape.kinds, shape.slots, strict=True)
        ]
        weighted = [i for i, n in enumerate(given) if n]
        #: The slot of each share, and whether it is a number's.
        self.register_buffer("share_slots", _columns(shape.slots, weighted))
        numeric = torch.tensor([shape.kinds[i] == "numeric" for i in weighted], dtype=torch.bool)
        widths = torch.tensor([given[i] for i in weighted], dtype=torch.int64)
        self.register_buffer("share_is_number", numeric.repeat_interleave(widths))
        self.register_buffer("numeric_shares", _columns(given, shape.numeric))
        self.register_buffer("bag_shares", _columns(given, shape.bags))
        self.bag_sizes = [shape.slots[i] for i in shape.bags]
        self.n_single, self.n_numeric = len(order) - len(shape.bags), len(shape.numeric)
        #: The slots whose codes are read, numbers twice, and the table's row of code 0.
        upper = self.slot_order[self.n_single - self.n_numeric : self.n_single]
        self.register_buffer("read", torch.cat([self.slot_order, upper]))
        low, high = self.slot_offsets[self.slot_order], self.slot_offsets[upper] + 1
        self.register_buffer("read_offsets", torch.cat([low, high]))
        self.in_order = torch.equal(self.read, torch.arange(sum(shape.slots)))
        mask = torch.zeros(len(shape.sizes), width)
        first = int(shape.wide)
        mask[:, :first] = 1
        for i, dims in enumerate(shape.dims):
            mask[i, first + torch.as_tensor(dims, dtype=torch.int64)] = 1
        self.register_buffer("column_mask", mask[self.order])
        self.ragged = bool((mask == 0).any())
        self.table = nn.Parameter(self._first_rows(held, generator))
        self.bias = nn.Parameter(torch.zeros(shape.layout.shapes["bias"]))
        self.parts = nn.ModuleDict({name: PARTS[name](shape, generator) for name in parts})

    def fresh_rows(self, field: Tensor, generator: torch.Generator) -> Tensor:
        """Return table rows that have learned nothing, of these fields (n,); shape (n, W)."""
        rows = torch.randn(len(field), self.shape.width, generator=generator) * 0.01
        rows[:, : int(self.shape.wide)] = 0
        if self.ragged:
            mask = torch.empty_like(self.column_mask)
            mask[self.order] = self.column_mask
            rows *= mask[field].to(rows.device)
        return rows

    def _first_rows(self, held: slice | None, generator: torch.Generator) -> Tensor:
        """Return the table's rows before training; all are drawn, a block at a time, a part kept."""
        ends = torch.tensor(self.shape.sizes).cumsum(0)
        if held is None:
            field = torch.bucketize(torch.arange(self.n_rows), ends, right=True)
            return self.fresh_rows(field, generator)
        out = torch.empty(held.stop - held.start, self.shape.width)
        # A remainder stays with the block before it: torch draws sixteen numbers at once.
        count = max(self.n_rows // DRAWN, 1)
        for start in (np.arange(count) * DRAWN).tolist():
            stop = start + DRAWN if start + 2 * DRAWN <= self.n_rows else self.n_rows
            rows = torch.arange(start, stop)
            drawn = self.fresh_rows(torch.bucketize(rows, ends, right=True), generator)
            first, last = max(start, held.start), min(stop, held.stop)
            if first < last:
                out[first - held.start : last - held.start] = drawn[first - start : last - start]
        return out

    def index(self, codes: Tensor) -> Tensor:
        """Return table rows to gather, shape (B, S + N): every slot's, then the upper knots'."""
        read = codes if self.in_order else codes.index_select(1, self.read)
        return read + self.read_offsets

    def look_up(self, table: Tensor, index: Tensor, shares: Tensor) -> Tensor:
        """Return the slots' values, shape (B, S, W), from ``table`` and ``index``'s rows."""
        return self.blend(nn.functional.embedding(index, table), shares)

    def blend(self, value: Tensor, shares: Tensor) -> Tensor:
        """Return the slots' values, shape (B, S, W), from the rows read, shape (B, S + N, W)."""
        if not self.n_numeric:
            return value
        plain = self.n_single - self.n_numeric
        bags = len(self.slot_order) - self.n_single
        sizes = [plain, self.n_numeric, bags, self.n_numeric]
        categorical, low, several, high = torch.split(value, sizes, dim=1)
        share = shares[:, self.numeric_shares] if bags else shares
        return torch.cat([categorical, torch.lerp(low, high, share.unsqueeze(2)), several], dim=1)

    def pool(self, value: Tensor, shares: Tensor) -> Tensor:
        """Return the fields' values, shape (B, F, W), from the slots', shape (B, S, W)."""
        if self.bag_sizes:
            single, several = torch.split(
                value, [self.n_single, len(self.slot_order) - self.n_single], dim=1
            )
            weighted = several * shares[:, self.bag_shares].unsqueeze(2)
            bags = [
                b.sum(dim=1, keepdim=True) for b in torch.split(weighted, self.bag_sizes, dim=1)
            ]
            value = torch.cat([single, *bags], dim=1)
        # Columns that a field lacks are zeros; the product keeps them so while training.
        return value * self.column_mask if self.ragged and torch.is_grad_enabled() else value

    def embed(self, rows: Rows) -> Tensor:
        """Return the fields' values, shape (B, F, W), of encoded rows."""
        shares = torch.from_numpy(rows.shares).to(self.table.device)
        index = self.index(torch.from_numpy(rows.codes).to(self.table.device).long())
        return self.pool(self.look_up(*self.rows_of(index), shares), shares)

    def head(self, value: Tensor, taps: Mapping[str, Tap] | None = None) -> Tensor:
        """Return the logits, shape (B,) or (B, T), from the fields' values, shape (B, F, W)."""
        flow = Flow(taps or {}, self.draws, self.dropout, self.bf16)
        first, embedding = torch.split(
            flow.tap("fields", value), [int(self.shape.wide), self.shape.dim], dim=2
        )
        embedding = embedding.contiguous()  # once, not by every part
        logit: Tensor = self.bias
        if self.shape.wide:
            logit = logit + first.sum(dim=(1, 2))
        for part in self.parts.values():
            logit = logit + part(embedding, flow)
        return logit

    def forward(
        self, codes: Tensor, shares: Tensor, taps: Mapping[str, Tap] | None = None
    ) -> Tensor:
        """Return the logits, shape (B,) or (B, T), of encoded rows: codes (B, S) and shares."""
        index = self.index(codes)
        return self.finish(self.look_up(*self.rows_of(index), shares), shares, index, taps)

    def finish(
        self, value: Tensor, shares: Tensor, index: Tensor, taps: Mapping[str, Tap] | None = None
    ) -> Tensor:
        """Return the logits, shape (B,) or (B, T), from the slots' values, shape (B, S, W)."""
        if taps and "rows" in taps:
            value = taps["rows"](value, index[:, : len(self.slot_order)])
        return self.head(self.pool(value, shares), taps)

    def unknown_rows(self) -> Tensor:
        """Return each field's unknown row in the table, shape (F,)."""
        return self.offsets + UNKNOWN

    def rows_of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return a table, and the places in it of the rows that ``index`` names."""
        return self.table, index

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield each field's rows of the table, and a copy of its unknown row, shape (1, W)."""
        for start, size in zip(self.offsets.tolist(), self.shape.sizes, strict=True):
            yield slice(start, start + size), self.table[start + UNKNOWN].clone().unsqueeze(0)

    def dense_parameters(self) -> Sequence[nn.Parameter]:
        """Return every parameter but the table."""
        return [p for name, p in self.named_parameters() if name != "table"]

    def statistics(self) -> list[Tensor]:
        """Return what batch norm has seen, one tensor a layer and kind: state, not parameters."""
        return [
            b
            for part in self.parts.values()
            for b in part.state_dict(keep_vars=True).values()
            if not isinstance(b, nn.Parameter)
        ]

    @cached_property
    def hidden_layers(self) -> tuple[Dense, ...]:
        """Every dense layer that others follow: all but outputs."""
        return tuple(
            m
            for name, m in self.named_modules()
            if isinstance(m, Dense) and not name.split(".")[-1].startswith("out")
        )

    def named_parts(self) -> Iterator[tuple[str, Part]]:
        """Yield name and part, in order."""
        for name, part in self.parts.items():
            assert isinstance(part, Part)
            yield name, part


def _columns(widths: Sequence[int], fields: Sequence[int]) -> Tensor:
    """Return the columns that these fields own, one after the other, of fields so wide."""
    starts = np.cumsum([0, *widths])
    runs = [np.arange(starts[i], starts[i + 1]) for i in fields]
    return torch.from_numpy(np.concatenate([*runs, np.empty(0, np.int64)]).astype(np.int64))
