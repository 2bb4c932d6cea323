"""Importance from slopes: what the loss, linear around each row, says of moving a unit.

x is the value at a unit's tap (a field's first-order weight and embedding, a neuron's activation, a
pair's product), m its mean over the rows, z the logit of a row and J = ∂z/∂x; g = σ(z) − y and
h = σ(z)(1 − σ(z)) are the slope and the curvature of the row's loss in z. A row of weight w counts
w times. One backward pass of Σz gives every row's J, since rows do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.models import Ranker
from recprune.models.step import tensors

__all__ = ["gauss_newton", "integrated_gradients", "sfs", "shark"]

UNITS = ("field", "neuron", "pair")
#: Rows at a time, and numbers at a tap at a time: 3,000 fields take no more memory than 39.
BLOCK, NUMBERS = 8192, 1 << 23


@method("shark", UNITS, "two: one forward for the means, one forward and backward")
def shark(
    model: Ranker, rows: Evidence, axis: Axis, seed: int, *, max_rows: int | None = None
) -> Scores:
    """Mean over rows of |g · J(m − x)|: SHARK's F-Permutation (Zhang et al. 2023, eq. 4).

    The absolute value is taken row by row: near a minimum of the loss the signed mean vanishes.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of fields, neurons or pairs.
        seed: of the choice of rows.
        max_rows: most rows to score; None = all.
    """
    walk, moments = _Walk.over(model, rows, axis, seed, max_rows), _Moments(axis.size)
    mean = walk.mean()
    for look in walk:
        moved = _by_unit(look.slope * (mean - look.value))
        moments.add((look.error[:, None] * moved).abs(), look.weight)
    return walk.scores(moments)


@method("gauss_newton", UNITS, "two: one forward for the means, one forward and backward")
def gauss_newton(
    model: Ranker, rows: Evidence, axis: Axis, seed: int, *, max_rows: int | None = None
) -> Scores:
    """Mean over rows of gδ + ½hδ² with δ = J(m − x): the loss that replacing x by its mean adds.

    The second-order Taylor term of pruning (LeCun et al. 1990, eq. 1) with the Gauss–Newton
    Hessian Jᵀ·h·J (Schraudolph 2002; Martens 2020), which needs no second backward pass.

    The sum is signed, unlike SHARK's: δ² is never negative, so that what a unit does to the rows
    does not vanish at a minimum, where gδ has mean zero; and on held-out rows gδ is what the unit
    learnt of the training rows' labels by heart, a harm that an absolute value would count as use.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of fields, neurons or pairs.
        seed: of the choice of rows.
        max_rows: most rows to score; None = all.
    """
    walk, moments = _Walk.over(model, rows, axis, seed, max_rows), _Moments(axis.size)
    mean = walk.mean()
    for look in walk:
        moved = _by_unit(look.slope * (mean - look.value))
        harm = look.error[:, None] * moved + 0.5 * look.curvature[:, None] * moved.square()
        moments.add(harm, look.weight)
    return walk.scores(moments)


@method("sfs", UNITS, "one forward and backward")
def sfs(model: Ranker, rows: Evidence, axis: Axis, seed: int, *, batches: int = 100) -> Scores:
    """Mean over batches of |∂L/∂mask|, the mask of ones multiplying x (SFS: Wang et al. 2023, SIGIR).

    That slope is the batch's mean of g · Jx. The standard error is over batches.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of fields, neurons or pairs.
        seed: of which rows share a batch.
        batches: how many batches all rows are dealt to, as in the authors' code; at least 16 rows
            make a batch.
    """
    if not (isinstance(batches, int) and batches >= 2):
        raise ParameterError.of("batches", "sfs", "an int ≥ 2", batches)
    walk = _Walk.over(model, rows, axis, seed, None)
    count = max(2, min(batches, len(walk.split) // 16))
    dealt = torch.from_numpy(stream(seed, "sfs").permutation(len(walk.split)) % count)
    slope = torch.zeros(count, axis.size, dtype=torch.float64)
    for look in walk:
        moved = look.weight[:, None] * look.error[:, None] * _by_unit(look.slope * look.value)
        slope.index_add_(0, dealt[look.at], moved.double())
    weight = torch.zeros(count, dtype=torch.float64).index_add_(0, dealt, walk.weight.double())
    size = (slope / weight[:, None]).abs().numpy()
    return walk.ordered(size.mean(axis=0), size.std(axis=0, ddof=1) / np.sqrt(count))


@method("integrated_gradients", UNITS, "one forward for the means, steps forward and backward")
def integrated_gradients(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    steps: int = 16,
    max_rows: int | None = None,
) -> Scores:
    """Each unit's share of the loss that all units' means add (Sundararajan et al. 2017, eq. 1).

    All units walk in a straight line from their means m to x; the slopes of the row's loss along
    it, times m − x, are summed (Gauss–Legendre nodes in place of eq. 3's equal steps). Over the
    units they add up to loss(m) − loss(x): *completeness*. The score is the signed mean over rows,
    so that what only fits the training rows counts against a unit.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of fields, neurons or pairs.
        seed: of the choice of rows.
        steps: points on the line.
        max_rows: most rows to score; None = all.
    """
    if not (isinstance(steps, int) and steps >= 1):
        raise ParameterError.of("steps", "integrated_gradients", "an int ≥ 1", steps)
    walk, moments = _Walk.over(model, rows, axis, seed, max_rows), _Moments(axis.size)
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    mean = walk.mean()
    for at, block in walk.blocks():
        total: Tensor | None = None
        for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
            look = walk.look(at, block, partial(torch.lerp, mean, weight=float(node)))
            part = float(share) * look.error[:, None] * _by_unit(look.slope * (mean - look.value))
            total = part if total is None else total + part
        assert total is not None
        moments.add(total, walk.weight[at])
    return walk.scores(moments)


@dataclass(frozen=True)
class _Look:
    """What a block of rows shows: x and J, shape (B, units) or (B, units, W); the rest (B,)."""

    at: slice
    value: Tensor
    slope: Tensor
    logit: Tensor
    label: Tensor
    weight: Tensor

    @property
    def error(self) -> Tensor:
        """g: the slope of each row's loss in its logit."""
        return torch.sigmoid(self.logit) - self.label

    @property
    def curvature(self) -> Tensor:
        """h: the curvature of each row's loss in its logit."""
        p = torch.sigmoid(self.logit)
        return p * (1 - p)


@dataclass(frozen=True)
class _Walk:
    """The held-out rows, block by block, seen at the tap of an axis."""

    model: Ranker
    axis: Axis
    split: Split
    label: Tensor
    weight: Tensor

    @classmethod
    def over(
        cls, model: Ranker, rows: Evidence, axis: Axis, seed: int, max_rows: int | None
    ) -> _Walk:
        split = rows.held_out
        if max_rows is not None and max_rows < len(split):
            draws = stream(seed, "sensitivity rows")
            split = split.take(np.sort(draws.permutation(len(split))[:max_rows]))
        weight = split.extras.weight
        counted = torch.ones(len(split)) if weight is None else torch.from_numpy(weight)
        return cls(model, axis, split, torch.from_numpy(split.label), counted)

    @property
    def tap(self) -> str:
        return "fields" if self.axis.unit == "field" else self.axis.name

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        shape = self.model.net.shape
        width = len(shape.sizes) * shape.width
        return self.split.rows.blocks(max(64, min(BLOCK, NUMBERS // max(width, 1))))

    def __iter__(self) -> Iterator[_Look]:
        return (self.look(at, block) for at, block in self.blocks())

    def look(self, at: slice, block: Any, move: Callable[[Tensor], Tensor] | None = None) -> _Look:
        """Return x and, where ``move`` takes it (default: at x itself), logit and slope."""
        seen: list[Tensor] = []

        def watch(value: Tensor, _: Tensor | None) -> Tensor:
            x = value.detach()
            leaf = (x.clone() if move is None else move(x)).requires_grad_()
            seen.extend((x, leaf))
            return leaf

        net = self.model.net
        logit = _first(net(*tensors(block), {self.tap: watch}))
        x, leaf = seen
        (slope,) = torch.autograd.grad(logit.sum(), leaf)
        return _Look(at, x, slope, logit.detach(), self.label[at], self.weight[at])

    @torch.no_grad()
    def mean(self) -> Tensor:
        """Return m, shape (units,) or (units, W)."""
        total: list[Tensor] = []
        net = self.model.net
        for at, block in self.blocks():
            weight = self.weight[at]

            def add(value: Tensor, _: Tensor | None, weight: Tensor = weight) -> Tensor:
                total.append(torch.tensordot(weight, value, dims=1).double())
                return value

            if self.axis.unit == "field":  # known before the network's layers
                add(net.embed(block), None)
            else:
                net(*tensors(block), {self.tap: add})
        return (torch.stack(total).sum(dim=0) / self.weight.double().sum()).float()

    def scores(self, moments: _Moments) -> Scores:
        return self.ordered(*moments.mean_and_error())

    def ordered(self, score: NDArray[np.float64], std: NDArray[np.float64]) -> Scores:
        """Return scores in the axis's order: the tap sees fields in the network's own."""
        if self.axis.unit == "field":
            place = np.argsort(self.model.net.order.numpy())
            score, std = score[place], std[place]
        return Scores(score, std)


class _Moments:
    """Weighted mean of a number a row and unit, and its standard error."""

    def __init__(self, size: int) -> None:
        self.weight, self.weight_square = 0.0, 0.0
        self.sums = np.zeros((3, size))

    def add(self, value: Tensor, weight: Tensor) -> None:
        v, w = value.double().numpy(), weight.double().numpy()
        self.weight += w.sum()
        self.weight_square += (w**2).sum()
        self.sums += w @ v, w**2 @ v, w**2 @ v**2

    def mean_and_error(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean = self.sums[0] / self.weight
        spread = self.sums[2] - 2 * mean * self.sums[1] + mean**2 * self.weight_square
        return mean, np.sqrt(np.maximum(spread, 0)) / self.weight


def _by_unit(product: Tensor) -> Tensor:
    """Return the sum over what a unit's value consists of, shape (B, units)."""
    return product.sum(dim=2) if product.dim() == 3 else product


def _first(output: Tensor) -> Tensor:
    """Return the logits of the first label, shape (B,)."""
    return output if output.dim() == 1 else output[:, 0]
