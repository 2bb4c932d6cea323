"""The one network behind every ranker: gather rows, first order, pairs (FM), hidden layers.

Shapes are written with named axes: B batch, F fields, N numeric fields, D dims, H neurons.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune.encoding import UNKNOWN

__all__ = ["FieldNet", "Shape", "Tap"]

#: ``fn(value, index)`` sees the value that flows through an axis's units and returns its
#: replacement. ``index`` holds the table row of each value, shape (B, F), for the tap ``"rows"``.
Tap = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class Shape:
    """What a network is built from.

    Args:
        sizes: rows of each field's block, length F.
        numeric: positions of the numeric fields, length N.
        dims: for each field, which of the D columns it has (all of them unless dims were cut
            field by field).
        dim: D.
        hidden: neurons of each hidden layer; empty = no hidden layers.
        fm: whether pairs of fields interact by inner products (Rendle 2010, eq. 1).
    """

    sizes: tuple[int, ...]
    numeric: tuple[int, ...]
    dims: tuple[NDArray[np.int32], ...]
    dim: int
    hidden: tuple[int, ...]
    fm: bool


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

    Inside, fields stand in ``order``: categorical, then numeric ones, so that interpolation works
    on contiguous blocks. Taps see that order; ``codes``, ``shares`` and the table keep the schema's.
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
        self.numeric: Tensor
        self.order: Tensor
        self.column_mask: Tensor
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64))
        self.register_buffer("numeric", torch.tensor(shape.numeric, dtype=torch.int64))
        categorical = [i for i in range(len(shape.sizes)) if i not in set(shape.numeric)]
        self.register_buffer("order", torch.tensor([*categorical, *shape.numeric]))
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
        """Return table rows to gather, shape (B, F + N): every field's, then the upper knots'."""
        low = (codes + self.offsets)[:, self.order]
        return torch.cat([low, low[:, len(self.order) - len(self.numeric) :] + 1], dim=1)

    def embed(self, table: Tensor, index: Tensor, shares: Tensor) -> Tensor:
        """Return the fields' values, shape (B, F, 1 + D), from ``table`` and ``index``'s rows."""
        value = nn.functional.embedding(index, table)
        n_numeric = len(self.numeric)
        if n_numeric:
            n_categorical = len(self.order) - n_numeric
            plain, low, high = torch.split(value, [n_categorical, n_numeric, n_numeric], dim=1)
            value = torch.cat([plain, torch.lerp(low, high, shares.unsqueeze(2))], dim=1)
        return value * self.column_mask if self.ragged else value

    def head(
        self, value: Tensor, taps: Mapping[str, Tap] | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Return the logits, shape (B,), from the fields' values, shape (B, F, 1 + D)."""
        taps = taps or {}
        if "rows" in taps:
            value = taps["rows"](value, index)
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
        """Return the logits, shape (B,), of encoded rows: codes (B, F), shares (B, N)."""
        index = self.index(codes)
        return self.head(self.embed(self.table, index, shares), taps, index)

    def unknown_rows(self) -> Tensor:
        """Return each field's unknown row in the table, shape (F,)."""
        return self.offsets + UNKNOWN

    def dense_parameters(self) -> Sequence[nn.Parameter]:
        """Return every parameter but the table."""
        return [p for name, p in self.named_parameters() if name != "table"]
