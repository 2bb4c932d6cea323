"""One step of training: gather the rows that a batch touches, forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recprune.encoding import Rows
from recprune.models.averaging import RunningMean
from recprune.models.draws import Draws, generator_of
from recprune.models.frequency import FrequencyPrior
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.optimiser import LazyAdam, Penalty
from recprune.models.table import FusedTable, Look, PlainTable, Table, distinct
from recprune.models.taps import Tap

__all__ = [
    "TABLE_RATE",
    "Extra",
    "Outputs",
    "Step",
    "Updates",
    "moments_of",
    "restore_moments",
    "tensors",
    "under",
]

#: The table learns faster than the dense layers: its rows see few steps each.
TABLE_RATE = 3.0

#: ``outputs(rows, taps)``: the logits of rows that are scored, not trained on, by the weights as
#: they are now. Gradients reach what the taps bring along.
Outputs = Callable[[Rows, Mapping[str, Tap]], Tensor]

#: Called every step, with :data:`Outputs`, for an additional loss term and the optimiser of its
#: parameters; None = there is nothing to add.
Extra = Callable[[Outputs], tuple[Tensor, torch.optim.Optimizer] | None]


@dataclass(frozen=True)
class Updates:
    """How a step changes the weights.

    Args:
        learning_rate: of the dense layers; the table's is three times that.
        penalty: L1, L2 and group penalties.
        horizon: steps that the running mean of the weights reaches back.
        keep_zeros: whether weights that are zero now stay so.
        bf16: whether hidden layers multiply in bfloat16.
    """

    learning_rate: float
    penalty: Penalty
    horizon: int
    keep_zeros: bool = False
    bf16: bool = False


class Step:
    """The network's optimisers, the running mean, and what one batch does to its weights.

    Args:
        net: updated in place.
        prior: what follows from the values' frequency; trained along.
        objective: what is minimised.
        updates: how the weights change.
    """

    def __init__(
        self, net: FieldNet, prior: FrequencyPrior, objective: Objective, updates: Updates
    ) -> None:
        self.net, self.prior, self.objective, self.updates = net, prior, objective, updates
        self.lazy = LazyAdam(net.table.data, TABLE_RATE * updates.learning_rate, updates.penalty)
        self.dense = torch.optim.Adam(net.dense_parameters(), updates.learning_rate, fused=True)
        self.dense.add_param_group({"params": [prior.shared], "eps": self.lazy.epsilon})
        #: The running mean of the weights, own and shared parts apart, and of batch norm's state.
        parameters = [*net.parameters(), prior.shared, *net.statistics()]
        self.mean = RunningMean(parameters, updates.horizon, net.table)
        self.table = self.make_table()
        #: Where weights stay zero, a mask a parameter.
        self.zeros = [(p, p == 0) for p in net.parameters()] if updates.keep_zeros else []
        self.rate(1.0)

    def make_table(self) -> Table:
        """Return this step's way through the table."""
        assert self.mean.rows is not None
        kind = FusedTable if self.net.table.device.type == "cpu" else PlainTable
        return kind(self.net, self.prior, self.lazy, self.mean.rows)

    def rate(self, factor: float) -> None:
        """Set the learning rates to ``factor`` times the given ones."""
        self.learning_rate = factor * self.updates.learning_rate
        self.lazy.learning_rate = TABLE_RATE * self.learning_rate
        for group in self.dense.param_groups:
            group["lr"] = self.learning_rate

    def state(self) -> dict[str, Tensor]:
        """Return all that training goes on from beside the network: tensors by name.

        They are those in use, not copies. The learning rate is not among them.
        """
        state = {"shared": self.prior.shared.detach()}
        state |= {f"table.{name}": value for name, value in self.lazy.state().items()}
        state |= {f"mean.{name}": value for name, value in self.mean.state().items()}
        return state | {f"dense.{name}": value for name, value in moments_of(self.dense).items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`state` gave, of the same network and rows."""
        self.prior.shared.copy_(state["shared"])
        self.lazy.restore(under("table.", state))
        self.mean.restore(under("mean.", state))
        restore_moments(self.dense, under("dense.", state))

    def take(
        self,
        rows: Rows,
        chosen: Tensor,
        draws: Draws,
        taps: Mapping[str, Tap] | None = None,
        extra: Extra | None = None,
    ) -> float:
        """Update the weights by one batch and return its mean loss.

        Args:
            rows: the batch's encoded rows.
            chosen: their positions among the training rows, shape (B,).
            draws: the stream of the objective's own draws, unknown reads and dropout masks.
            taps: see :mod:`recprune.models.taps`.
            extra: an additional loss term and the optimiser of its parameters, or None.
        """
        net = self.net
        net.draws, net.bf16 = draws, self.updates.bf16
        look = self.table.read(self.objective.rows(rows, chosen, generator_of(draws)), draws)
        loss = self.loss(self.finish(look, taps), chosen)
        total, optimiser = loss, None
        added = extra(self.outputs) if extra is not None else None
        if added is not None:
            term, optimiser = added
            total = loss + term
            optimiser.zero_grad()
        self.dense.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.table.update(self.table.gradient(look))
        self.dense.step()
        if optimiser is not None:
            optimiser.step()
        self._penalise()
        self.hold_zeros()
        self.mean.add()
        net.draws, net.bf16 = None, False
        return float(loss.detach())

    def finish(self, look: Look, taps: Mapping[str, Tap] | None) -> Tensor:
        """Return the logits of what was read."""
        return self.net.finish(look.value, look.shares, look.index, taps)

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return what is differentiated."""
        return self.objective.loss(output, chosen)

    @torch.no_grad()
    def renew(self, rows: Tensor, values: Tensor, draws: torch.Generator) -> None:
        """Let table rows stand for other values from now on, as rows that have learned nothing.

        What they have in common with values of like frequency they know from the start (the shared
        part). What the optimiser and the running mean know of them is forgotten; other rows keep
        theirs.

        Args:
            rows: of the table, shape (U,).
            values: their new values; see :meth:`FrequencyPrior.hold`.
            draws: of the rows' first weights.
        """
        table = self.net.table
        field = torch.bucketize(rows, self.net.offsets, right=True) - 1
        table[rows] = self.net.fresh_rows(field, draws).to(table.device)
        self.prior.hold(rows, values)
        self.lazy.forget(rows)
        assert self.mean.rows is not None
        self.mean.rows.forget(rows)

    def outputs(self, rows: Rows, taps: Mapping[str, Tap]) -> Tensor:
        """Return what the network, were training over now, would make of rows: :data:`Outputs`."""
        net, mode = self.net, (self.net.draws, self.net.bf16)
        codes, shares = tensors(rows, net.table.device)
        index = net.index(codes)
        touched, inverse = distinct(index, net.n_rows)
        value = net.look_up(self.prior.folded(net, touched), inverse, shares)
        net.draws, net.bf16 = None, False
        try:
            return net.finish(value, shares, index, taps)
        finally:
            net.draws, net.bf16 = mode

    @torch.no_grad()
    def hold_zeros(self) -> None:
        """Set to zero again what is to stay so: a momentum, or a shared part, has moved it."""
        for parameter, zero in self.zeros:
            parameter.masked_fill_(zero, 0)

    @torch.no_grad()
    def _penalise(self) -> None:
        penalty, rate = self.updates.penalty, self.learning_rate
        if not (penalty.sparse or penalty.l2):
            return
        decay = penalty.decay(rate)
        self.prior.shared.mul_(decay)
        for layer in self.net.hidden_layers:
            weight: Any = layer.weight
            if penalty.l2:
                weight.mul_(decay)
            if penalty.sparse:
                weight.copy_(penalty.shrink(weight, rate))


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser keeps of its parameters: ``NUMBER.what`` → tensor, in use."""
    state = optimiser.state_dict()["state"].items()
    return {f"{number}.{name}": value for number, own in state for name, value in own.items()}


def restore_moments(optimiser: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Let an optimiser go on from what :func:`moments_of` gave."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        number, what = name.split(".")
        moments.setdefault(int(number), {})[what] = value.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start so, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


def tensors(rows: Rows, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return codes and shares as a network on a device takes them."""
    return (
        torch.from_numpy(rows.codes).to(device).long(),
        torch.from_numpy(rows.shares).to(device),
    )
