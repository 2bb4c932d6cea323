"""Adam on the rows a batch touched, and the penalties that set weights to exact zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.errors import ParameterError

__all__ = ["LazyAdam", "Penalty"]


@dataclass(frozen=True)
class Penalty:
    """Penalties on weights; each is a strength per step relative to the learning rate.

    Args:
        l1: λ·Σ|w|, applied by its proximal step (soft threshold), so zeros are exact.
        l2: λ·Σw², as decoupled weight decay, on the rows that a batch touches.
        group: λ·Σ‖unit‖₂ over table rows and neurons (L2,1; Yuan & Lin 2006, eq. 2.1), applied by
            its proximal step, so that whole units become exactly zero.
    """

    l1: float = 0.0
    l2: float = 0.0
    group: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2", "group"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise ParameterError.of(name, "Penalty", "a finite float ≥ 0", value)

    def shrink(self, weight: Tensor, learning_rate: float) -> Tensor:
        """Return the proximal step on a matrix whose units are its first dimension."""
        if self.l1:
            cut = self.l1 * learning_rate
            weight = torch.sign(weight) * torch.clamp(weight.abs() - cut, min=0)
        if self.group:
            norm = weight.norm(dim=1, keepdim=True)
            scale = torch.clamp(1 - self.group * learning_rate / norm.clamp(min=1e-12), min=0)
            weight = weight * scale
        return weight

    def decay(self, learning_rate: float) -> float:
        """Return what a step leaves of a weight.

        Decoupled from the gradient, which Adam would rescale (Loshchilov & Hutter 2019, alg. 2).
        """
        return 1 - 2 * self.l2 * learning_rate

    @property
    def sparse(self) -> bool:
        """Whether a proximal step is needed."""
        return bool(self.l1 or self.group)


class LazyAdam:
    """Adam (Kingma & Ba 2015, algorithm 1) that updates only the given rows of one table.

    Where every row is touched at every step it equals dense Adam. A large epsilon damps the
    first, noisy steps of rare rows.

    Args:
        table: parameter of shape (R, 1 + D), updated in place.
        learning_rate: step size.
        penalty: applied to the touched rows.
        epsilon: added to the root of the second moment.
    """

    def __init__(
        self,
        table: Tensor,
        learning_rate: float,
        penalty: Penalty | None = None,
        epsilon: float = 1e-4,
    ) -> None:
        self.table, self.learning_rate, self.epsilon = table, learning_rate, epsilon
        self.penalty = penalty or Penalty()
        self.first = torch.zeros_like(table)
        self.second = torch.zeros_like(table)
        self.steps = 0

    @torch.no_grad()
    def step(self, rows: Tensor, values: Tensor, gradient: Tensor) -> None:
        """Update ``table[rows]``, whose present ``values`` and ``gradient`` have shape (U, 1 + D)."""
        self.steps += 1
        first = self.first[rows].lerp_(gradient, 0.1)
        second = self.second[rows].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        self.first[rows], self.second[rows] = first, second
        scale = (second / (1 - 0.999**self.steps)).sqrt_().add_(self.epsilon)
        step = (first / (1 - 0.9**self.steps)).div_(scale)
        updated = values * self.penalty.decay(self.learning_rate) - self.learning_rate * step
        if self.penalty.sparse:
            updated = self.penalty.shrink(updated, self.learning_rate)
        self.table[rows] = updated

    def forget(self, rows: Tensor) -> None:
        """Let rows be as before their first step."""
        self.first[rows], self.second[rows] = 0, 0

    def rates(self) -> NDArray[np.float32]:
        """Return what a compiled step needs: :func:`recprune.models.kernels.update`."""
        rate, penalty = self.learning_rate, self.penalty
        corrections = 1 / (1 - 0.9**self.steps), 1 / (1 - 0.999**self.steps)
        cuts = rate * penalty.l1, rate * penalty.group
        return np.array([rate, self.epsilon, *corrections, penalty.decay(rate), *cuts], np.float32)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs: both moments, (R, 1 + D), and the steps so far."""
        return {"first": self.first, "second": self.second, "steps": torch.tensor(self.steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`state` gave."""
        self.first.copy_(state["first"])
        self.second.copy_(state["second"])
        self.steps = int(state["steps"])
