"""ShuffleGate: a unit whose values might as well be another row's is not needed."""

from __future__ import annotations

import torch
from torch import Tensor

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.gates.course import Course
from recprune.importance.gates.law import PASSES, UNITS, Law
from recprune.importance.gates.learning import beside, learn_gates
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["ShuffleLaw", "shuffle_gate"]

#: How far the steps can carry τθ.
REACH = 75.0


@method("shuffle_gate", UNITS, PASSES, together=beside(lambda: ShuffleLaw()))
def shuffle_gate(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    temperature: float = 5.0,
    strength: float = 10.0,
    anneal: float = 300.0,
    steps: int = 300,
    train_weights: bool = False,
) -> Scores:
    """How long a unit resists being replaced by other rows' values (ShuffleGate, arXiv 2503.09315).

    Every unit's value x becomes g·x + (1 − g)·x̃, where x̃ is that of another row of the batch,
    drawn for each unit apart and without a gradient, and g = σ(τθ). Held-out loss + λ·mean(g) is
    minimised over θ. Gates leave the middle by themselves, so that 0.5 is a threshold. A table row
    reads as its field's unknown row instead, as it will once cut.

    Args:
        model: fitted ranker; a copy of it is gated.
        rows: gates learn on held-out rows.
        axis: of any units.
        seed: of batches and shuffles.
        temperature: τ; the larger, the sooner gates are near 0 or 1.
        strength: of the penalty, see :class:`recprune.importance.gates.Course`.
        anneal: likewise.
        steps: likewise.
        train_weights: likewise; published so, for gates that learn beside a model from scratch.

    Raises:
        ParameterError: an option out of range.
    """
    course = Course(strength, anneal, steps, train_weights)
    return learn_gates(model, rows, [axis], ShuffleLaw(temperature), course, seed)[axis.name]


class ShuffleLaw(Law):
    """g = σ(τθ) between a unit's value and another row's; θ starts at 1.

    Args:
        temperature: τ.

    Raises:
        ParameterError: not above 0.
    """

    shuffles = True

    def __init__(self, temperature: float = 5.0) -> None:
        if not temperature > 0:
            raise ParameterError.of("temperature", "shuffle_gate", "a float > 0", temperature)
        self.temperature, self.reach = temperature, REACH / temperature

    def start(self, units: int) -> Tensor:
        """Return θ = 1, where the gate is nearly open."""
        return torch.ones(units)

    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return σ(τθ)."""
        return torch.sigmoid(self.temperature * theta)
