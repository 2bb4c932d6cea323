"""What a law of gates is: from a unit's parameter to how far its gate is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["PASSES", "UNITS", "Law", "StepOf", "logistic"]

#: What gates of any law can sit at, and what learning them costs.
UNITS = ("field", "row", "dim", "neuron", "pair")
PASSES = (
    "300 held-out batches there and back: about one, of 10,000 rows four; twice with train_weights"
)


#: ``step(slope, pressure, done)`` changes parameters in place. ``slope``: gradient of the held-out
#: loss by them, shape (U,). ``pressure``: what one open unit costs, in units of the loss: λ / U.
#: ``done``: share of the steps that are done.
StepOf = Callable[[Tensor, float, float], None]

#: How far Adam can carry a logit in all steps together, and where it starts.
REACH, START = 30.0, 2.5


class Law(ABC):
    """How gates open and close, element by element.

    Shapes are written with named axes: U units; "…" is whatever the parameters were spread to, such
    as (B, U), so that a law which draws may draw for every row of a batch.
    """

    #: Whether a closed unit reads another row's value instead of its mean.
    shuffles: ClassVar[bool] = False

    #: How far the steps can carry a parameter.
    reach: float = REACH

    def start(self, units: int) -> Tensor:
        """Return the parameters before the first step, shape (U,): logits of nearly open gates."""
        return torch.full((units,), START)

    @abstractmethod
    def open(self, theta: Tensor, done: float) -> Tensor:
        """Return how far gates are open, without chance, in [0, 1], shape "…"."""

    def gate(self, theta: Tensor, done: float, draws: torch.Generator) -> Tensor:
        """Return gates as the network sees them while they learn, shape "…".

        Args:
            theta: parameters, shape "…".
            done: share of the steps that are done, in [0, 1).
            draws: for laws that draw.
        """
        return self.open(theta, done)

    def cost(self, theta: Tensor, done: float) -> Tensor:
        """Return what is penalised of each unit, shape (U,)."""
        return self.open(theta, done)

    def learner(self, theta: Tensor, steps: int) -> StepOf:
        """Return what changes parameters, shape (U,), in place: Adam on loss + λ · mean of costs."""
        # Where there are many units, gradients are far below the usual epsilon.
        adam = torch.optim.Adam([theta], lr=self.reach / steps, eps=1e-15)

        def step(slope: Tensor, pressure: float, done: float) -> None:
            (up,) = torch.autograd.grad(self.cost(theta, done).sum(), theta)
            theta.grad = slope + pressure * up
            adam.step()

        return step


def logistic(like: Tensor, draws: torch.Generator) -> Tensor:
    """Return draws of the logistic distribution: log u − log(1 − u), or Gumbel minus Gumbel."""
    u = torch.rand(like.shape, generator=draws).clamp_(1e-6, 1 - 1e-6)
    return torch.logit(u)
