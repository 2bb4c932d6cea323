"""The one network behind every ranker: gather rows, first order, pairs (FM), hidden layers.

Shapes are written with named axes: B batch, F fields, N numeric fields, S slots (one a field; of
sequences and vectors several), D dims, H neurons.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune.encoding import Rows
from recprune.lookups import UNKNOWN
from recprune.schema import Kind

__all__ = ["FieldNet", "Shape", "Tap"]

#: ``fn(value, index)`` sees the value that flows through an axis's units and returns its
#: replacement. ``index`` holds the table row of each value, shape (B, S), for the tap ``"rows"``.
Tap = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class Shape:
    """What a network is built from.

    Args:
        sizes: rows of each field's block, length F.
        slots: slots of each field, length F.
        kinds: kind of each field, length F.
        dims: for each field, which of the D columns it has (all of them unless dims were cut
            field by field).
        dim: D.
        hidden: neurons of each hidden layer; empty = no hidden layers.
        fm: whether pairs of fields interact by inner products (Rendle 2010, eq. 1).
    """

    sizes: tuple[int, ...]
    slots: tuple[int, ...]
    kinds: tuple[Kind, ...]
    dims: tuple[NDArray[np.int32], ...]
    dim: int
    hidden: tuple[int, ...]
    fm: bool

    @property
    def numeric(self) -> list[int]:
        """Positions of the numeric fields, length N."""
        return [i for i, kind in enumerate(self.kinds) if kind == "numeric"]

    @property
    def bags(self) -> list[int]:
        """Positions of the fields whose slots are summed by weight."""
        return [i for i, kind in enumerate(self.kinds) if kind in ("sequence", "dense")]


class Dense(nn.Module):
    """x ↦ x·Wᵀ + b, drawn from ``generator`` alone (``nn.Linear`` draws from the global stream)."""

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator, bias: bool = True
    ) -> None:
        super().__init__()
        spread = (2 / (inputs + outputs)) ** 0.5  # Glorot & Bengio 2010, eq. 16
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=generator) * spread)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, shape (B, outputs)."""
        return nn.functional.linear(inputs, self.weight, self.bias)


class FieldNet(nn.Module):
    """Logit of a row: bias + first order + [pairs] + [hidden layers].

    The table of all fields is one parameter of shape (R, 1 + D): column 0 is the first-order
    weight, the rest the embedding. Fields with fewer dims have zero columns, kept at zero.

    Inside, fields stand in ``order``: categorical, numeric, then bags, so that each kind is one
    contiguous block. Taps see that order; ``codes``, ``shares`` and the table keep the schema's.
    """

    def __init__(self, shape: Shape, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        #: The stream of dropout masks while training; None = no dropout.
        self.draws: torch.Generator | None = None
        width = 1 + shape.dim
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
        self.column_mask: Tensor
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64))
        lengths = torch.tensor(shape.slots, dtype=torch.int64)
        self.register_buffer("slot_offsets", self.offsets.repeat_interleave(lengths))
        apart = {*shape.numeric, *shape.bags}
        categorical = [i for i in range(len(shape.sizes)) if i not in apart]
        order = [*categorical, *shape.numeric, *shape.bags]
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
        mask = torch.zeros(len(shape.sizes), width)
        mask[:, 0] = 1
        for i, dims in enumerate(shape.dims):
            mask[i, 1 + torch.as_tensor(dims, dtype=torch.int64)] = 1
        self.register_buffer("column_mask", mask[self.order])
        self.ragged = bool((mask == 0).any())
        table = torch.randn(self.n_rows, width, generator=generator) * 0.01
        table[:, 0] = 0
        self.table = nn.Parameter(table)
        self.bias = nn.Parameter(torch.zeros(1))
        sizes = (len(shape.sizes) * shape.dim, *shape.hidden)
        layers = [Dense(a, b, generator) for a, b in itertools.pairwise(sizes)]
        #: The hidden layers, also registered below as modules.
        self.hidden_layers: tuple[Dense, ...] = tuple(layers)
        self.layers = nn.ModuleList(layers)
        last = (shape.hidden or (0,))[-1]
        self.out = Dense(last, 1, generator, bias=False) if shape.hidden else None

    def index(self, codes: Tensor) -> Tensor:
        """Return table rows to gather, shape (B, S + N): every slot's, then the upper knots'."""
        low = (codes + self.slot_offsets)[:, self.slot_order]
        return torch.cat([low, low[:, self.n_single - self.n_numeric : self.n_single] + 1], dim=1)

    def look_up(self, table: Tensor, index: Tensor, shares: Tensor) -> Tensor:
        """Return the slots' values, shape (B, S, 1 + D), from ``table`` and ``index``'s rows."""
        value = nn.functional.embedding(index, table)
        if not self.n_numeric:
            return value
        plain = self.n_single - self.n_numeric
        bags = len(self.slot_order) - self.n_single
        sizes = [plain, self.n_numeric, bags, self.n_numeric]
        categorical, low, several, high = torch.split(value, sizes, dim=1)
        share = shares[:, self.numeric_shares] if bags else shares
        return torch.cat([categorical, torch.lerp(low, high, share.unsqueeze(2)), several], dim=1)

    def pool(self, value: Tensor, shares: Tensor) -> Tensor:
        """Return the fields' values, shape (B, F, 1 + D), from the slots', shape (B, S, 1 + D)."""
        if self.bag_sizes:
            single, several = torch.split(
                value, [self.n_single, len(self.slot_order) - self.n_single], dim=1
            )
            weighted = several * shares[:, self.bag_shares].unsqueeze(2)
            bags = [
                b.sum(dim=1, keepdim=True) for b in torch.split(weighted, self.bag_sizes, dim=1)
            ]
            value = torch.cat([single, *bags], dim=1)
        return value * self.column_mask if self.ragged else value

    def embed(self, rows: Rows) -> Tensor:
        """Return the fields' values, shape (B, F, 1 + D), of encoded rows."""
        shares = torch.from_numpy(rows.shares)
        index = self.index(torch.from_numpy(rows.codes).long())
        return self.pool(self.look_up(self.table, index, shares), shares)

    def head(self, value: Tensor, taps: Mapping[str, Tap] | None = None) -> Tensor:
        """Return the logits, shape (B,), from the fields' values, shape (B, F, 1 + D)."""
        taps = taps or {}
        if "fields" in taps:
            value = taps["fields"](value, None)
        first, embedding = torch.split(value, [1, self.shape.dim], dim=2)
        logit = first.sum(dim=(1, 2)) + self.bias
        if not self.shape.dim:
            return logit
        hidden = embedding.reshape(len(value), -1)
        if self.shape.fm:
            total = hidden.view(embedding.shape).sum(dim=1)
            squares = torch.linalg.vecdot(hidden, hidden)
            logit = logit + 0.5 * (total.square().sum(dim=1) - squares)
        if self.out is not None:
            for number, layer in enumerate(self.hidden_layers):
                hidden = torch.relu(layer(hidden))
                if f"neurons.{number}" in taps:
                    hidden = taps[f"neurons.{number}"](hidden, None)
                if self.draws is not None and self.dropout:
                    kept = torch.rand(hidden.shape, generator=self.draws) >= self.dropout
                    hidden = hidden * kept / (1 - self.dropout)
            logit = logit + self.out(hidden).squeeze(1)
        return logit

    def forward(
        self, codes: Tensor, shares: Tensor, taps: Mapping[str, Tap] | None = None
    ) -> Tensor:
        """Return the logits, shape (B,), of encoded rows: codes (B, S) and shares."""
        index = self.index(codes)
        return self.finish(self.look_up(self.table, index, shares), shares, index, taps)

    def finish(
        self, value: Tensor, shares: Tensor, index: Tensor, taps: Mapping[str, Tap] | None = None
    ) -> Tensor:
        """Return the logits, shape (B,), from the slots' values, shape (B, S, 1 + D)."""
        if taps and "rows" in taps:
            value = taps["rows"](value, index[:, : len(self.slot_order)])
        return self.head(self.pool(value, shares), taps)

    def unknown_rows(self) -> Tensor:
        """Return each field's unknown row in the table, shape (F,)."""
        return self.offsets + UNKNOWN

    def dense_parameters(self) -> Sequence[nn.Parameter]:
        """Return every parameter but the table."""
        return [p for name, p in self.named_parameters() if name != "table"]


def _columns(widths: Sequence[int], fields: Sequence[int]) -> Tensor:
    """Return the columns that these fields own, one after the other, of fields so wide."""
    starts = np.cumsum([0, *widths])
    runs = [np.arange(starts[i], starts[i + 1]) for i in fields]
    return torch.from_numpy(np.concatenate([*runs, np.empty(0, np.int64)]).astype(np.int64))
