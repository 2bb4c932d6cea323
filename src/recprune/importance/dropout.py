"""Dropout-based importance: a learned rate of dropout for each unit."""

from __future__ import annotations

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

__all__ = ["DropoutLaw", "variational_dropout"]


@method("dropout", UNITS, PASSES, together=beside(lambda: DropoutLaw()))
def variational_dropout(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    temperature: float = 0.1,
    strength: float = 10.0,
    anneal: float = 300.0,
    steps: int = 300,
    train_weights: bool = False,
) -> Scores:
    """How rarely a unit is dropped (dropout feature ranking: Chang et al. 2017, arXiv 1712.08645).

    Every unit has a learned rate of dropout p. Its value x becomes m + z·(x − m), with m its mean,
    which is what a cut leaves behind, and z = 1 − σ((logit p + log u − log(1 − u)) / t) a relaxed
    draw for every row. Held-out loss + λ·mean(1 − p) is minimised over p; the score is 1 − p. This
    is what Alibaba's EasyRec ships for fields as variational dropout.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches and draws.
        temperature: t.
        strength: of the penalty, see :class:`recprune.importance.gates.Course`.
        anneal: likewise.
        steps: likewise.
        train_weights: likewise; published so, for gates that learn beside a model from scratch.

    Raises:
        ParameterError: an option out of range.
    """
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], DropoutLaw(temperature), course, seed)[axis.name]


class DropoutLaw(Law):
    """z = σ((logit of the chance to stay + logistic draw) / t).

    Args:
        temperature: t.

    Raises:
        ParameterError: not in (0, 1].
    """

    def __init__(self, temperature: float = 0.1) -> None:
        if not 0 < temperature <= 1:
            raise ParameterError.of("temperature", "dropout", "in (0, 1]", temperature)
        self.temperature = temperature

    def gate(self, theta: Tensor, done: float, draws: torch.Generator) -> Tensor:
        """Return drawn gates."""
        return torch.sigmoid((theta + logistic(theta, draws)) / self.temperature)

    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return the chance to stay, 1 − p."""
        return torch.sigmoid(theta)
