"""Importance from slopes: what the loss, linear around each row, says of moving a unit.

x is the value at a unit's tap, m what a cut leaves in its place: the mean of x over the rows, or
for a table row its field's unknown row (:mod:`recprune.importance.walk`). z is the logit of a row
and J = ∂z/∂x; g = σ(z) − y and h = σ(z)(1 − σ(z)) are the slope and the curvature of the row's loss
in z. A row of weight w counts w times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recprune._support import stream
from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.walk import Look, Walk, by_place
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["gauss_newton", "integrated_gradients", "sfs", "shark", "sseds"]

UNITS = ("field", "neuron", "pair")
#: Of the first and the second order, which table rows and dims have too.
EVERY = ("field", "row", "dim", "neuron", "pair")

#: What moving units costs, from g, h and the moves of z, shape (B, units).
Harm = Callable[[Look, Tensor], Tensor]


def _absolute(look: Look, moved: Tensor) -> Tensor:
    return (look.error[:, None] * moved).abs()


def _second_order(look: Look, moved: Tensor) -> Tensor:
    return look.error[:, None] * moved + 0.5 * look.curvature[:, None] * moved.square()


def _expanded(
    harm: Harm,
    model: Ranker,
    rows: Evidence,
    axes: Sequence[Axis],
    seed: int,
    max_rows: int | None = None,
) -> Mapping[str, Scores]:
    """Return the mean harm of each unit, by two passes a tap."""
    found: dict[str, Scores] = {}
    for here in by_place(axes):
        walk = Walk.over(model, rows, here, seed, max_rows)
        left, moments = walk.left(), walk.moments()
        for look in walk:
            moved = walk.by_unit(look.slope * (left - look.value))
            moments.add(harm(look, moved), look)
        found |= walk.scores(moments)
    return found


@method(
    "shark",
    EVERY,
    "two: one forward for the means, one forward and backward",
    together=partial(_expanded, _absolute),
)
def shark(
    model: Ranker, rows: Evidence, axis: Axis, seed: int, *, max_rows: int | None = None
) -> Scores:
    """Mean over rows of |g · J(m − x)|: SHARK's F-Permutation (Zhang et al. 2023, eq. 4).

    The absolute value is taken row by row: near a minimum of the loss the signed mean vanishes. Of
    a table row it is |gradient × value| with the value counted from the unknown row, summed over
    its uses; of all rows together one backward pass.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of any units.
        seed: of the choice of rows.
        max_rows: most rows to score; None = all.
    """
    return _expanded(_absolute, model, rows, [axis], seed, max_rows)[axis.name]


@method(
    "gauss_newton",
    EVERY,
    "two: one forward for the means, one forward and backward",
    together=partial(_expanded, _second_order),
)
def gauss_newton(
    model: Ranker, rows: Evidence, axis: Axis, seed: int, *, max_rows: int | None = None
) -> Scores:
    """Mean over rows of gδ + ½hδ² with δ = J(m − x): the loss that replacing x by m adds.

    The second-order Taylor term of pruning (LeCun et al. 1990, eq. 1) with the Gauss–Newton
    Hessian Jᵀ·h·J (Schraudolph 2002; Martens 2020), which needs no second backward pass.

    The sum is signed, unlike SHARK's: δ² is never negative, so that what a unit does to the rows
    does not vanish at a minimum, where gδ has mean zero; and on held-out rows gδ is what the unit
    learnt of the training rows' labels by heart, a harm that an absolute value would count as use.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of any units.
        seed: of the choice of rows.
        max_rows: most rows to score; None = all.
    """
    return _expanded(_second_order, model, rows, [axis], seed, max_rows)[axis.name]


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
    if batches < 2:
        raise ParameterError.of("batches", "sfs", "an int ≥ 2", batches)
    return _mask_slopes(model, rows, [axis], seed, batches)[axis.name]


def _mask_slopes(
    model: Ranker, rows: Evidence, axes: Sequence[Axis], seed: int, batches: int
) -> Mapping[str, Scores]:
    walk = Walk.over(model, rows, axes, seed, None)
    count = max(2, min(batches, len(walk.split) // 16))
    dealt = torch.from_numpy(stream(seed, "sfs").permutation(len(walk.split)) % count)
    slope = torch.zeros(count, walk.units, dtype=torch.float64)
    for look in walk:
        moved = look.weight[:, None] * look.error[:, None] * walk.by_unit(look.slope * look.value)
        slope.index_add_(0, dealt[look.at], moved.double())
    weight = torch.zeros(count, dtype=torch.float64).index_add_(0, dealt, walk.weight.double())
    size = (slope / weight[:, None]).abs().numpy()
    return walk.ordered(size.mean(axis=0), size.std(axis=0, ddof=1) / np.sqrt(count))


def _sseds(model: Ranker, rows: Evidence, axes: Sequence[Axis], seed: int) -> Mapping[str, Scores]:
    return {
        name: scores
        for here in by_place(axes)
        for name, scores in _mask_slopes(model, rows, here, seed, 100).items()
    }


@method("sseds", ("dim",), "one forward and backward for all fields", together=_sseds)
def sseds(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Mean over batches of |∂L/∂mask|, a mask of ones on every field × dim (SSEDS: Qu et al. 2022).

    The slopes of all fields are on one scale, so that a plan lets them compete for one budget and
    each field keeps dims of its own number and choice; see :func:`recprune.pruning.plan`. The paper
    then trains the smaller model from scratch (:func:`recprune.pruning.rewind`).

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of dims.
        seed: of which rows share a batch.
    """
    return _sseds(model, rows, [axis], seed)[axis.name]


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
    if steps < 1:
        raise ParameterError.of("steps", "integrated_gradients", "an int ≥ 1", steps)
    walk = Walk.over(model, rows, [axis], seed, max_rows)
    moments = walk.moments()
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    mean = walk.left()
    for at, block in walk.blocks():
        total: Tensor | None = None
        for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
            look = walk.look(at, block, partial(torch.lerp, mean, weight=float(node)))
            moved = walk.by_unit(look.slope * (mean - look.value))
            part = float(share) * look.error[:, None] * moved
            total = part if total is None else total + part
        assert total is not None
        moments.add(total, look)
    return walk.scores(moments)[axis.name]
