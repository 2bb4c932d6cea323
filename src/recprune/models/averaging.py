"""The running mean of the weights: what is scored and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["RunningMean"]


class RunningMean:
    """Mean of the weights over about the last epoch.

    Averaged weights are as good as a much lower learning rate, without its slowness (Polyak &
    Juditsky 1992; exponential form with the plain mean's weight while there are few steps).

    Args:
        parameters: the tensors to average; they are read after every step.
        horizon: steps that the mean reaches back, about.
    """

    def __init__(self, parameters: Sequence[Tensor], horizon: int) -> None:
        self.parameters, self.horizon, self.steps = list(parameters), horizon, 0
        self.mean = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def add(self) -> None:
        """Count the present weights in."""
        self.steps += 1
        weight = max(1 / self.steps, 1 / self.horizon)
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            mean.lerp_(parameter, weight)

    def swap_in(self) -> list[Tensor]:
        """Put the mean into the parameters and return what was there."""
        latest = [p.detach().clone() for p in self.parameters]
        self.put(self.mean)
        return latest

    @torch.no_grad()
    def put(self, values: Sequence[Tensor]) -> None:
        """Copy ``values`` into the parameters."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs: the means and the steps so far."""
        means = {str(i): mean for i, mean in enumerate(self.mean)}
        return {"steps": torch.tensor(self.steps), **means}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`state` gave."""
        self.steps = int(state["steps"])
        for i, mean in enumerate(self.mean):
            mean.copy_(state[str(i)])
