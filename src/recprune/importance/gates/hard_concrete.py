"""Hard-concrete gates: stretched and clipped, so that a gate that is drawn can be exactly 0 or 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.gates.course import Course
from recprune.importance.gates.law import PASSES, UNITS, Law, logistic
from recprune.importance.gates.learning import beside, learn_gates
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["HardConcreteLaw", "hard_concrete"]

#: γ and ζ of Louizos et al. 2018, section 2.3: what (0, 1) is stretched to.
LOW, HIGH = -0.1, 1.1


@method("hard_concrete", UNITS, PASSES, together=beside(lambda: HardConcreteLaw()))
def hard_concrete(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    temperature: float = 2 / 3,
    strength: float = 10.0,
    anneal: float = 300.0,
    steps: int = 300,
    train_weights: bool = False,
) -> Scores:
    """How long a hard-concrete mask stays open (Light-FMP, arXiv 2605.06441; Louizos et al. 2018).

    A unit's value x becomes m + z·(x − m) with m its mean, which is what a cut leaves behind, and a
    gate z = min(1, max(0, s·(ζ − γ) + γ)), s = σ((log u − log(1 − u) + log α) / β), drawn for every
    row (Louizos et al., eqs 10 and 11). Held-out loss + λ·mean of P(z > 0), eq. 12, is minimised
    over log α; the score is that chance.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches and draws.
        temperature: β.
        strength: of the penalty, see :class:`recprune.importance.gates.Course`.
        anneal: likewise.
        steps: likewise.
        train_weights: likewise.

    Raises:
        ParameterError: an option out of range.
    """
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], HardConcreteLaw(temperature), course, seed)[axis.name]


class HardConcreteLaw(Law):
    """Concrete gates, stretched to (−0.1, 1.1) and clipped to [0, 1].

    Args:
        temperature: β.

    Raises:
        ParameterError: not in (0, 1].
    """

    def __init__(self, temperature: float = 2 / 3) -> None:
        if not 0 < temperature <= 1:
            raise ParameterError.of("temperature", "hard_concrete", "in (0, 1]", temperature)
        self.temperature = temperature

    def gate(self, theta: Tensor, done: float, draws: torch.Generator) -> Tensor:
        """Return drawn gates."""
        s = torch.sigmoid((theta + logistic(theta, draws)) / self.temperature)
        return (s * (HIGH - LOW) + LOW).clamp(0, 1)

    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return P(z > 0), the chance that the gate is not closed (eq. 12)."""
        return torch.sigmoid(theta - self.temperature * math.log(-LOW / HIGH))
