"""AutoField: to keep or to drop, by draws that harden while the gates learn."""

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

__all__ = ["AutoFieldLaw", "autofield"]


@method("autofield", UNITS, PASSES, together=beside(lambda: AutoFieldLaw()))
def autofield(
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
    """How likely a unit is to be kept (AutoField: Wang et al. 2022).

    A unit's value x becomes m + p·(x − m), with m its mean, which is what a cut leaves behind, and p
    the first part of the Gumbel-softmax of a keep and a drop logit, drawn for every row. Of two
    logits only the difference φ matters, and a difference of Gumbel draws is logistic: p =
    σ((φ + log u − log(1 − u)) / τ), where τ falls evenly from 1. φ learns on held-out rows. The
    published method has no penalty (``strength=0``): without one, what neither helps nor harms stays
    where it began.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches and draws.
        temperature: τ at the end.
        strength: of the penalty, see :class:`recprune.importance.gates.Course`.
        anneal: likewise.
        steps: likewise.
        train_weights: likewise; published so, for gates that learn beside a model from scratch.

    Raises:
        ParameterError: an option out of range.
    """
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], AutoFieldLaw(temperature), course, seed)[axis.name]


class AutoFieldLaw(Law):
    """p = σ((φ + logistic draw) / τ); τ falls from 1.

    Args:
        temperature: τ at the end.

    Raises:
        ParameterError: not in (0, 1].
    """

    def __init__(self, temperature: float = 0.1) -> None:
        if not 0 < temperature <= 1:
            raise ParameterError.of("temperature", "autofield", "in (0, 1]", temperature)
        self.temperature = temperature

    def gate(self, theta: Tensor, done: float, draws: torch.Generator) -> Tensor:
        """Return drawn gates."""
        now = 1 + done * (self.temperature - 1)
        return torch.sigmoid((theta + logistic(theta, draws)) / now)

    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return the chance of keeping, σ(φ)."""
        return torch.sigmoid(theta)
