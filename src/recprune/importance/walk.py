"""The held-out rows, walked once: values and slopes at the tap of some axes.

x is the value at a unit's tap (a field's first-order weight and embedding, one dim of it, what a
table row holds, a neuron's activation, a pair's product), m what stands there after a cut, z the
logit of a row and J = ∂z/∂x. Rows do not meet, so that one backward pass of Σz gives every row's J.

Shapes are written with named axes: B rows, F fields, S slots, W columns of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.importance.base import Scores
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.lookups import UNKNOWN
from recprune.models import Ranker
from recprune.models.step import tensors

__all__ = ["Look", "Moments", "Walk", "by_place", "by_tap", "first_label", "of_no_field"]

#: Rows at a time, and numbers at a tap at a time: 3,000 fields take no more memory than 39.
BLOCK, NUMBERS = 8192, 1 << 23
#: Axes of these units share one tap: one pass serves the tables of all fields.
SHARED = {"field": "fields", "dim": "fields", "row": "rows"}


@dataclass(frozen=True)
class Look:
    """What a block of rows shows.

    Args:
        walk: whose rows they are.
        at: their places.
        value: x, of the tap's shape.
        slope: J, likewise.
        index: table row of each value, shape (B, S), at the tap of rows; None elsewhere.
        logit: shape (B,).
    """

    walk: Walk
    at: slice
    value: Tensor
    slope: Tensor
    index: Tensor | None
    logit: Tensor

    @property
    def weight(self) -> Tensor:
        """How much each row counts, shape (B,)."""
        return self.walk.weight[self.at]

    @property
    def error(self) -> Tensor:
        """g: the slope of each row's loss in its logit."""
        return torch.sigmoid(self.logit) - self.walk.label[self.at]

    @property
    def curvature(self) -> Tensor:
        """h: the curvature of each row's loss in its logit."""
        p = torch.sigmoid(self.logit)
        return p * (1 - p)


@dataclass(frozen=True)
class Walk:
    """The held-out rows, block by block, seen at the one tap of some axes."""

    model: Ranker
    axes: Sequence[Axis]
    split: Split
    label: Tensor
    weight: Tensor

    @classmethod
    def over(
        cls, model: Ranker, rows: Evidence, axes: Sequence[Axis], seed: int, max_rows: int | None
    ) -> Walk:
        """Return the walk over all held-out rows, or ``max_rows`` of them.

        Raises:
            ParameterError: ``max_rows`` below 1.
        """
        if max_rows is not None and max_rows < 1:
            raise ParameterError.of("max_rows", "importance", "an int ≥ 1, or None", max_rows)
        split = rows.held_out
        if max_rows is not None and max_rows < len(split):
            draws = stream(seed, "sensitivity rows")
            split = split.take(np.sort(draws.permutation(len(split))[:max_rows]))
        weight = split.extras.weight
        counted = torch.ones(len(split)) if weight is None else torch.from_numpy(weight)
        return cls(model, axes, split, torch.from_numpy(split.label), counted)

    @property
    def unit(self) -> str:
        """What one unit is."""
        return self.axes[0].unit

    @property
    def units(self) -> int:
        """How many places are scored: those of all fields, where axes share a tap."""
        shape = self.model.net.shape
        sizes = {"rows": self.model.net.n_rows, "fields": len(shape.sizes) * shape.width}
        whole = self.unit in ("row", "dim") and by_tap(self.axes[0]) in sizes
        return sizes[by_tap(self.axes[0])] if whole else self.axes[0].size

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield the rows in blocks, with their places."""
        shape = self.model.net.shape
        width = len(shape.sizes) * shape.width
        return self.split.rows.blocks(max(64, min(BLOCK, NUMBERS // max(width, 1))))

    def __iter__(self) -> Iterator[Look]:
        return (self.look(at, block) for at, block in self.blocks())

    def look(self, at: slice, block: Any, move: Callable[[Tensor], Tensor] | None = None) -> Look:
        """Return x and, where ``move`` takes it (default: at x itself), logit and slope."""
        seen: list[Tensor] = []
        indices: list[Tensor | None] = []

        def watch(value: Tensor, index: Tensor | None) -> Tensor:
            x = value.detach()
            leaf = (x.clone() if move is None else move(x)).requires_grad_()
            seen.extend((x, leaf))
            indices.append(index)
            return leaf

        net = self.model.net
        logit = first_label(net(*tensors(block), {by_tap(self.axes[0]): watch}))
        x, leaf = seen
        (slope,) = torch.autograd.grad(logit.sum(), leaf)
        return Look(self, at, x, slope, indices[0], logit.detach())

    @torch.no_grad()
    def left(self) -> Tensor:
        """Return m: the mean of x over the rows; a cut table row reads as its field's unknown row."""
        net = self.model.net
        if self.unit == "row":
            return net.table[net.slot_offsets[net.slot_order] + UNKNOWN].detach()
        total: list[Tensor] = []
        for at, block in self.blocks():
            weight = self.weight[at]

            def add(value: Tensor, _: Tensor | None, weight: Tensor = weight) -> Tensor:
                total.append(torch.tensordot(weight, value, dims=1).double())
                return value

            if by_tap(self.axes[0]) == "fields":  # known before the network's layers
                add(net.embed(block), None)
            else:
                net(*tensors(block), {self.axes[0].name: add})
        return (torch.stack(total).sum(dim=0) / self.weight.double().sum()).float()

    def by_unit(self, product: Tensor) -> Tensor:
        """Return the sum over what a unit's value consists of, shape (B, units); of rows (B, S)."""
        if self.unit == "dim":
            return product.flatten(1)
        return product.sum(dim=2) if product.dim() == 3 else product

    def moments(self) -> Moments:
        """Return the sums to add each look's numbers to."""
        return Moments(self.units)

    def scores(self, moments: Moments) -> dict[str, Scores]:
        """Return the means, by the axes' names."""
        return self.ordered(*moments.mean_and_error())

    def ordered(self, score: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, Scores]:
        """Return scores of all places in the axes' order: the tap sees fields in the network's own."""
        found = {}
        for axis in self.axes:
            at = self._places(axis)
            found[axis.name] = Scores(score[at], std[at])
        return found

    def _places(self, axis: Axis) -> NDArray[np.int64]:
        net, names = self.model.net, self.model.encoder.schema.names
        if axis.unit == "field":
            return np.argsort(net.order.numpy())
        if axis.unit in ("row", "dim") and not of_no_field(axis):
            i = names.index(axis.name.partition(".")[2])
            if axis.unit == "row":
                return int(net.offsets[i]) + np.arange(axis.size)
            start = int(np.argsort(net.order.numpy())[i]) * net.shape.width + int(net.shape.wide)
            return start + net.shape.dims[i].astype(np.int64)
        return np.arange(axis.size)


class Moments:
    """Weighted mean over the rows of a number a row and unit, and its standard error."""

    def __init__(self, size: int) -> None:
        self.weight, self.weight_square = 0.0, 0.0
        self.sums = torch.zeros(3, size, dtype=torch.float64)

    def add(self, value: Tensor, look: Look) -> None:
        """Add numbers of shape (B, units), or (B, S) of the table rows that the block looked up."""
        v, w = value.double(), look.weight.double()[:, None]
        self.weight += float(w.sum())
        self.weight_square += float(w.square().sum())
        for sums, part in zip(self.sums, (w * v, w.square() * v, (w * v).square()), strict=True):
            if look.index is None:
                sums += part.sum(dim=0)
            else:  # a row that was not looked up adds zero
                sums.index_add_(0, look.index.flatten(), part.flatten())

    def mean_and_error(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the means and their standard errors, shape (units,)."""
        one, two, square = self.sums.numpy()
        mean = one / self.weight
        spread = square - 2 * mean * two + mean**2 * self.weight_square
        return mean, np.sqrt(np.maximum(spread, 0)) / self.weight


def by_tap(axis: Axis) -> str:
    """Return the name of the tap at which an axis's units are seen."""
    return axis.name if of_no_field(axis) else SHARED.get(axis.unit, axis.name)


def by_place(axes: Sequence[Axis]) -> list[list[Axis]]:
    """Return the axes in groups whose units are of one kind and seen at one tap."""
    found: dict[tuple[str, str], list[Axis]] = {}
    for axis in axes:
        found.setdefault((axis.unit, by_tap(axis)), []).append(axis)
    return list(found.values())


def of_no_field(axis: Axis) -> bool:
    """Tell whether these are dims of a vector that no table holds: each sits at the axis's own tap."""
    return axis.unit == "dim" and axis.parent is None


def first_label(output: Tensor) -> Tensor:
    """Return the logits of the first label, shape (B,)."""
    return output if output.dim() == 1 else output[:, 0]
