"""Data parallel training: each process takes a part of every batch, and all take the same step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from recprune.encoding import Rows
from recprune.errors import ParameterError
from recprune.models.checkpoint import Checkpoint
from recprune.models.draws import Dealt, Draws, generator_of
from recprune.models.frequency import FrequencyPrior
from recprune.models.guard import Guard
from recprune.models.network import FieldNet
from recprune.models.objective import CrossEntropy, Objective
from recprune.models.parallel.group import Group, told
from recprune.models.step import Extra, Step, Updates
from recprune.models.table import Look, RowGradient, Table
from recprune.models.taps import Tap
from recprune.models.together import Alone, Score

__all__ = ["DataParallel", "DealtStep"]


class DataParallel(Alone):
    """Every process holds the whole model; each reads its part of every batch.

    The order of the rows, the draws and the mean over the batch are those of one process, so that
    the weights are, too, but for rounding.

    Args:
        group: the processes.
    """

    def __init__(self, group: Group) -> None:
        self.group, self.writes = group, group.rank == 0

    def check(self, run: Callable[[], Mapping[str, str]], objective: Objective) -> None:
        """Refuse losses that are no mean over rows, and processes about other work.

        Raises:
            ParameterError: the objective is not cross-entropy with labels.
            RunError: the processes' rows, options, versions or first weights differ.
        """
        if not isinstance(objective, CrossEntropy):
            constraint = "cross-entropy of each row alone where several processes share a batch"
            raise ParameterError.of("objective", "train", constraint, type(objective).__name__)
        self.group.check_same(run())

    def part(self, n: int) -> slice:
        """Return this process's part of a batch of ``n`` rows."""
        return self.group.part(n)

    def step(self, net: FieldNet, prior: FrequencyPrior, guard: Guard, updates: Updates) -> Step:
        """Return what a batch, of which this process has a part, does to the weights.

        Raises:
            ParameterError: the network has batch norm, whose statistics are of a whole batch.
        """
        self.refuse_batch_norm(net)
        return DealtStep(self.group, net, prior, guard, updates)

    def refuse_batch_norm(self, net: FieldNet) -> None:
        """Refuse statistics of a whole batch, of which no process sees more than a part."""
        if net.statistics():
            constraint = "False where several processes share a batch"
            raise ParameterError.of("batch_norm", "Hidden", constraint, True)

    def score(self, score: Score) -> Score:
        """Return the first process's score, which only that one computes."""
        if score is None:
            return None
        group, own = self.group, score

        def first() -> float:
            return float(group.facts(own() if group.rank == 0 else None))

        return first

    def checkpoint(self, path: Path, run: Mapping[str, str]) -> Checkpoint:
        """Return the file that the first process writes and reads for all."""
        return _FirstsCheckpoint(self.group, path, run)


class DealtStep(Step):
    """A step of which this process computes a part.

    Gradients of the dense weights are summed by torch's DistributedDataParallel, those of the table
    by the rows that were read.

    Args:
        group: the processes.
        net, prior, objective, updates: see :class:`Step`.
    """

    def __init__(
        self,
        group: Group,
        net: FieldNet,
        prior: FrequencyPrior,
        objective: Objective,
        updates: Updates,
    ) -> None:
        self.group, self.batch = group, 0
        super().__init__(net, prior, objective, updates)
        self.output = torch.empty(0)
        with told():
            self.dealt = DistributedDataParallel(_Dense(net))
        self.dealt.register_comm_hook(None, _sum)
        # Whoever lets go of the processes' group last waits for its threads. They may need the
        # interpreter's lock, which torch's reducer holds where it ends (2.13) and Python does not:
        # attributes end in the order in which they were given.
        self.dealt.ends_last = dist.group.WORLD  # type: ignore[assignment]

    def make_table(self) -> Table:
        """Return a way through the table by everyone's gradient."""
        return _SummedTable(super().make_table(), self.prior, self.group)

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
            rows: this process's part of the batch.
            chosen: positions of the whole batch's rows, shape (B,).
            draws: the stream of the whole batch's draws.
            taps: see :mod:`recprune.models.taps`.
            extra: None.
        """
        part, self.batch = self.group.part(len(chosen)), len(chosen)
        with told():
            super().take(rows, chosen[part], Dealt(generator_of(draws), part, self.batch), taps)
        with torch.no_grad():  # by the guard, too, which may have to name any row of the batch
            return float(self.objective.loss(torch.cat(self.group.gathered(self.output)), chosen))

    def finish(self, look: Look, taps: Mapping[str, Tap] | None) -> Tensor:
        """Return the logits of what was read."""
        output: Tensor = self.dealt(look.value, look.shares, look.index, taps)
        self.output = output.detach()
        return output

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return this part's share of the batch's mean loss; of no row, nothing."""
        if not len(chosen):
            return output.sum()
        return self.objective.loss(output, chosen) * (len(chosen) / self.batch)


class _Dense(nn.Module):
    """All of a network but its table."""

    def __init__(self, net: FieldNet) -> None:
        super().__init__()
        self.bias, self.parts, self.finish = net.bias, net.parts, net.finish

    def forward(self, *read: Any) -> Tensor:
        return self.finish(*read)


def _sum(state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Sum gradients, each of which is a share of the mean already (DDP's own would be a mean)."""
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    total: torch.futures.Future[Tensor] = future.then(lambda done: done.value()[0])
    return total


_sum.__annotations__ = get_type_hints(_sum)  # DDP compares the types themselves, not their names


class _SummedTable:
    """A table held by all, whose rows learn from everyone's gradient.

    Args:
        table: this process's.
        prior: whose shared parts learn along.
        group: the processes.
    """

    def __init__(self, table: Table, prior: FrequencyPrior, group: Group) -> None:
        self.table, self.prior, self.group = table, prior, group

    def read(self, rows: Rows, draws: Draws) -> Look:
        """Look up this process's part of a batch."""
        return self.table.read(rows, draws)

    def gradient(self, look: Look) -> list[RowGradient]:
        """Return everyone's gradient by rows: those of one row summed in the processes' order."""
        own = self.table.gradient(look)
        if self.prior.shared.grad is not None:
            self.group.add(self.prior.shared.grad)
        return [summed(self.group, *(torch.cat(each) for each in zip(*own, strict=True)))]

    def update(self, gradient: Sequence[RowGradient]) -> None:
        """Take one step of the optimiser on these rows."""
        self.table.update(gradient)


def summed(group: Group, rows: Tensor, gradient: Tensor) -> RowGradient:
    """Return the rows that anyone's gradient is of, increasing, and the sums.

    Args:
        group: the processes.
        rows: shape (U,), each once.
        gradient: of each, shape (U, W).
    """
    everyones, gradients = group.gathered(rows), group.gathered(gradient)
    touched, place = torch.unique(torch.cat(everyones), return_inverse=True)
    total = gradient.new_zeros(len(touched), gradient.shape[1])
    start = 0
    for part in gradients:
        total.index_add_(0, place[start : start + len(part)], part)
        start += len(part)
    return touched, total


class _FirstsCheckpoint(Checkpoint):
    """A checkpoint that the first process writes, and reads for all."""

    def __init__(self, group: Group, path: Path, run: Mapping[str, str]) -> None:
        super().__init__(path, run)
        self.group = group

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what the first process reads."""
        found = super().read() if self.group.rank == 0 else None
        there, facts = self.group.facts([found is not None, found and found[1]])
        if not there:
            return None
        return self.group.tensors(found and found[0]), facts

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write, in the first process."""
        if self.group.rank == 0:
            super().write(tensors, facts)
