"""The running mean of the weights: what is scored and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["RowMean", "RunningMean"]


#: A mean of less weight than this is rounding.
NOTHING = 1e-6


class RowMean:
    """Running mean of a table whose rows change seldom: a row costs time when it changes.

    While a row stays as it is, its mean comes nearer to it by a known factor a step, the same for
    all rows. So a row's mean is brought up to date when the row changes, and all are at
    :meth:`catch_up`.

    Args:
        table: shape (R, W).
        horizon: steps that the mean reaches back.
    """

    def __init__(self, table: Tensor, horizon: int) -> None:
        self.table, self.horizon = table, horizon
        #: Steps until all rows were up to date, and those since.
        self.base, self.steps = 0, 0
        #: Means (R, W), each as of the step ``last`` after ``base``, shape (R,).
        self.mean = table.detach().clone()
        self.last = torch.zeros(len(table), dtype=torch.int32, device=table.device)
        #: The weight, at ``base``, of rows' steps before they were forgotten, shape (R,): as zeros
        #: they are in the mean, and are left out where it is read.
        self.void = torch.zeros(len(table), device=table.device)
        #: What the steps after ``base`` have left of the distance of a mean from an unchanging row.
        self.kept = np.ones(horizon + 1)

    @property
    def weight(self) -> float:
        """The weight of the present step: of few steps, the plain mean's."""
        return max(1 / (self.base + self.steps), 1 / self.horizon)

    def advance(self) -> None:
        """Begin a step."""
        if self.steps == self.horizon:
            self.catch_up()
        self.steps += 1
        # Where a step weighs all, means are their rows: there is no distance to be lost.
        left = 1 - self.weight if self.weight < 1 else 1.0
        self.kept[self.steps] = self.kept[self.steps - 1] * left

    def add(self, rows: Tensor, old: Tensor) -> None:
        """Count the present step in for the rows that changed, before which they were ``old``."""
        mean = old + (self.mean[rows] - old) * self._left(self.steps - 1, rows)
        self.mean[rows] = mean.lerp_(self.table.detach()[rows], self.weight)
        self.last[rows] = self.steps

    @torch.no_grad()
    def forget(self, rows: Tensor) -> None:
        """Let rows' means begin anew."""
        self.mean[rows] = 0
        self.last[rows] = self.steps
        self.void[rows] = 1 / float(self.kept[self.steps])

    @torch.no_grad()
    def catch_up(self) -> None:
        """Bring all rows up to date."""
        left = self._left(self.steps, slice(None))
        self.mean.sub_(self.table).mul_(left).add_(self.table)
        self.last.zero_()
        self.void.mul_(float(self.kept[self.steps]))
        self.base, self.steps = self.base + self.steps, 0

    def value(self) -> Tensor:
        """Return the means, (R, W), once all rows are up to date; of no step yet, the row as it is."""
        counted = 1 - self.void.unsqueeze(1)
        if counted.min() == 1:
            return self.mean
        return torch.where(counted > NOTHING, self.mean / counted, self.table.detach())

    def _left(self, step: int, rows: Tensor | slice) -> Tensor:
        last = self.last[rows].long()
        kept = torch.from_numpy(self.kept[step] / self.kept[: self.steps + 1]).float()
        return kept.to(last.device)[last].unsqueeze(1)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs."""
        steps = torch.tensor([self.base, self.steps])
        return {"mean": self.mean, "last": self.last, "void": self.void, "steps": steps}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`state` gave."""
        self.mean.copy_(state["mean"])
        self.last.copy_(state["last"])
        self.void.copy_(state["void"])
        self.base, steps = (int(v) for v in state["steps"])
        self.steps = 0
        while self.steps < steps:
            self.advance()


class RunningMean:
    """Mean of the weights over about the last epoch.

    Averaged weights are as good as a much lower learning rate, without its slowness (Polyak &
    Juditsky 1992; exponential form with the plain mean's weight while there are few steps).

    Args:
        parameters: the tensors to average; they are read after every step.
        horizon: steps that the mean reaches back, about.
        table: that of the parameters, if any, whose rows change seldom: ``rows`` is told of it.
    """

    def __init__(
        self, parameters: Sequence[Tensor], horizon: int, table: Tensor | None = None
    ) -> None:
        self.parameters, self.horizon, self.steps = list(parameters), horizon, 0
        self.rows = None if table is None else RowMean(table, horizon)
        self.mean = [
            self.rows.mean if self.rows is not None and p is table else p.detach().clone()
            for p in parameters
        ]
        self.plain = [(m, p) for m, p in zip(self.mean, parameters, strict=True) if p is not table]

    @torch.no_grad()
    def add(self) -> None:
        """Count the present weights in."""
        self.steps += 1
        weight = max(1 / self.steps, 1 / self.horizon)
        for mean, parameter in self.plain:
            mean.lerp_(parameter, weight)

    def swap_in(self) -> list[Tensor]:
        """Put the mean into the parameters and return what was there."""
        if self.rows is not None:
            self.rows.catch_up()
        latest = [p.detach().clone() for p in self.parameters]
        own = None if self.rows is None else self.rows.mean
        self.put([self.rows.value() if self.rows and m is own else m for m in self.mean])
        return latest

    @torch.no_grad()
    def put(self, values: Sequence[Tensor]) -> None:
        """Copy ``values`` into the parameters."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs: the means and the steps so far."""
        state = {str(i): mean for i, (mean, _) in enumerate(self.plain)}
        if self.rows is not None:
            state |= {f"rows.{name}": value for name, value in self.rows.state().items()}
        return {"steps": torch.tensor(self.steps), **state}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`state` gave."""
        self.steps = int(state["steps"])
        for i, (mean, _) in enumerate(self.plain):
            mean.copy_(state[str(i)])
        if self.rows is not None:
            self.rows.restore({n: state[f"rows.{n}"] for n in self.rows.state()})
