"""LPFS: a smoothed count of what is kept, and a proximal step that closes gates exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.gates.course import Course
from recprune.importance.gates.law import PASSES, UNITS, Law, StepOf
from recprune.importance.gates.learning import beside, learn_gates
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["SmoothedLaw", "lpfs", "lpfs_plus", "shrunk"]

#: How far the penalty alone would carry a parameter in all steps together.
REACH = 10.0
#: ε at the start, as published; it falls by a factor.
EPSILON = 0.1
#: Weight of a batch in the mean of gradients, and how many times further than the proximal step that
#: mean may carry a gate: one unlucky batch is not to close a gate that cannot open again.
RECENT, FURTHEST = 0.1, 3.0


@method("lpfs", UNITS, PASSES, together=beside(lambda: SmoothedLaw()))
def lpfs(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    epsilon: float = 0.01,
    strength: float = 10.0,
    anneal: float = 300.0,
    steps: int = 300,
    train_weights: bool = False,
) -> Scores:
    """How long a unit's gate withstands a proximal L1 step (LPFS: Guo et al. 2022, arXiv 2206.00267).

    A unit's value v becomes m + g·(v − m), with m its mean, which is what a cut leaves behind, and
    g = x²/(x² + ε), as a share of what it is at x = 1, where gates start. A step along the gradient
    of the held-out loss by x, then x ← sign(x)·max(|x| − η·λ/U, 0): a gate that reaches 0 is
    exactly closed, and, as the slope there is 0, stays so.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches.
        epsilon: ε at the end; it falls geometrically from 0.1.
        strength: of the penalty, see :class:`recprune.importance.gates.Course`.
        anneal: likewise; with 1 a score is 0 exactly where the gate is closed in the end.
        steps: likewise.
        train_weights: likewise; published so, for gates that learn beside a model from scratch.

    Raises:
        ParameterError: an option out of range.
    """
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], SmoothedLaw(epsilon), course, seed)[axis.name]


@method("lpfs++", UNITS, PASSES, together=beside(lambda: SmoothedLaw(slope=1.0)))
def lpfs_plus(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    slope: float = 1.0,
    epsilon: float = 0.01,
    strength: float = 10.0,
    anneal: float = 300.0,
    steps: int = 300,
    train_weights: bool = False,
) -> Scores:
    """As :func:`lpfs`, but closed gates may open again (LPFS++: Guo et al. 2022).

    g = sign(x)·x²/(x² + ε) + a·√ε·atan(x): at x = 0 it has the slope a·√ε.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches.
        slope: a.
        epsilon: as of :func:`lpfs`.
        strength: likewise.
        anneal: likewise.
        steps: likewise.
        train_weights: likewise.

    Raises:
        ParameterError: an option out of range.
    """
    if not slope > 0:
        raise ParameterError.of("slope", "lpfs++", "a float > 0", slope)
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], SmoothedLaw(epsilon, slope), course, seed)[axis.name]


class SmoothedLaw(Law):
    """The smoothed l0 gate, as a share of its value at x = 1.

    Args:
        epsilon: ε at the end.
        slope: a of LPFS++; 0 = LPFS.

    Raises:
        ParameterError: an ε not in (0, 0.1].
    """

    def __init__(self, epsilon: float = 0.01, slope: float = 0.0) -> None:
        if not 0 < epsilon <= EPSILON:
            raise ParameterError.of("epsilon", "lpfs", f"a float in (0, {EPSILON}]", epsilon)
        self.epsilon, self.slope = epsilon, slope

    def start(self, units: int) -> Tensor:
        """Return x = 1, where gates are open."""
        return torch.ones(units)

    def gate(self, theta: Tensor, done: float, draws: torch.Generator) -> Tensor:
        """Return the gate; of LPFS++ it is negative where x is."""
        epsilon = EPSILON * math.pow(self.epsilon / EPSILON, done)
        square, spring = theta.square(), self.slope * math.sqrt(epsilon)
        smooth = square / (square + epsilon)
        if not self.slope:
            return smooth * (1 + epsilon)
        whole = 1 / (1 + epsilon) + spring * math.pi / 4
        return (smooth * theta.sign() + spring * theta.atan()) / whole

    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return the gate, 0 where it is negative."""
        return self.gate(theta, done, torch.Generator()).clamp(0, 1)

    def learner(self, theta: Tensor, steps: int) -> StepOf:
        """Return a gradient step and then the proximal one, in place.

        The rate η falls as λ grows, so that the proximal step always goes equally far. Beyond 1 a
        gate is no more open: there x stops.
        """
        far, mean = REACH / steps, torch.zeros_like(theta)

        @torch.no_grad()
        def step(slope: Tensor, pressure: float, done: float) -> None:
            mean.lerp_(slope, RECENT)
            theta.sub_((mean / max(pressure, 1e-30)).clamp(-FURTHEST, FURTHEST) * far).clamp_(-1, 1)
            theta.copy_(shrunk(theta, far))

        return step


def shrunk(value: Tensor, threshold: float) -> Tensor:
    """Return the proximal step of threshold·|x|: sign(x)·max(|x| − threshold, 0).

    >>> shrunk(torch.tensor([-1.0, 0.25, 2.0]), 0.5).tolist()
    [-0.5, 0.0, 1.5]
    """
    return value.sign() * (value.abs() - threshold).clamp(min=0)
