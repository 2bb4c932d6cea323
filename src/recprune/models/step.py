"""One step of training: gather the rows that a batch touches, forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from recprune.encoding import Rows
from recprune.models.frequency import FrequencyPrior
from recprune.models.network import FieldNet, Tap
from recprune.models.objective import Objective
from recprune.models.optimiser import LazyAdam, Penalty

__all__ = ["Extra", "Step", "tensors"]

#: The table learns faster than the dense layers: its rows see few steps each.
TABLE_RATE = 3.0

#: Called every step for an additional loss term and the optimiser of its parameters.
Extra = Callable[[], tuple[Tensor, torch.optim.Optimizer]]


class Step:
    """The network's optimisers, and what one batch does to its weights.

    Args:
        net: updated in place.
        prior: what follows from the values' frequency; trained along.
        objective: what is minimised.
        learning_rate: of the dense layers; the table's is three times that.
        penalty: L1, L2 and group penalties.
    """

    def __init__(
        self,
        net: FieldNet,
        prior: FrequencyPrior,
        objective: Objective,
        learning_rate: float,
        penalty: Penalty,
    ) -> None:
        self.net, self.prior, self.objective = net, prior, objective
        self.learning_rate, self.penalty = learning_rate, penalty
        self.lazy = LazyAdam(net.table.data, TABLE_RATE * learning_rate, penalty=penalty)
        self.dense = torch.optim.Adam(net.dense_parameters(), lr=learning_rate)
        self.dense.add_param_group({"params": [prior.shared], "eps": self.lazy.epsilon})

    def take(
        self,
        rows: Rows,
        chosen: Tensor,
        draws: torch.Generator,
        taps: Mapping[str, Tap] | None = None,
        extra: Extra | None = None,
    ) -> float:
        """Update the weights by one batch and return its mean loss.

        Args:
            rows: the batch's encoded rows.
            chosen: their positions among the training rows, shape (B,).
            draws: the stream of the objective's own draws, unknown reads and dropout masks.
            taps: see :mod:`recprune.models.network`.
            extra: an additional loss term and the optimiser of its parameters.
        """
        net, prior = self.net, self.prior
        net.draws = draws
        codes, shares = tensors(self.objective.rows(rows, chosen, draws))
        own, shares = prior.read(net, codes, shares, draws)
        index = net.index(own)
        touched, inverse = _touched(index, net.n_rows)
        values = net.table.detach()[touched].requires_grad_()
        value = net.look_up(values, inverse, shares) + prior.share(net, codes)
        output = net.finish(value, shares, index, taps)
        loss = self.objective.loss(output, chosen)
        total, optimiser = loss, None
        if extra is not None:
            term, optimiser = extra()
            total = loss + term
            optimiser.zero_grad()
        self.dense.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        assert values.grad is not None
        self.lazy.step(touched, values.detach(), values.grad)
        self.dense.step()
        if optimiser is not None:
            optimiser.step()
        self._penalise()
        net.draws = None
        return float(loss.detach())

    @torch.no_grad()
    def _penalise(self) -> None:
        penalty, rate = self.penalty, self.learning_rate
        if not (penalty.sparse or penalty.l2):
            return
        decay = 1 - 2 * penalty.l2 * rate
        self.prior.shared.mul_(decay)
        for layer in self.net.hidden_layers:
            weight: Any = layer.weight
            if penalty.l2:
                weight.mul_(decay)
            if penalty.sparse:
                weight.copy_(penalty.shrink(weight, rate))


def tensors(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return codes and shares as a network takes them."""
    return torch.from_numpy(rows.codes).long(), torch.from_numpy(rows.shares)


def _touched(index: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of ``index`` and ``index`` in their numbering.

    A scatter over the table's rows costs less than sorting a batch's many look-ups.
    """
    seen = torch.zeros(n_rows, dtype=torch.bool)
    seen[index.reshape(-1)] = True
    rows = seen.nonzero().squeeze(1)
    number = torch.empty(n_rows, dtype=torch.int64)
    number[rows] = torch.arange(len(rows))
    return rows, number[index]
