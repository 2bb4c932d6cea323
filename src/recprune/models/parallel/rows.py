"""Training whose table lies over the processes by rows: for tables too large for one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recprune.encoding import Rows
from recprune.models.checkpoint import Checkpoint
from recprune.models.draws import Draws
from recprune.models.frequency import FrequencyPrior
from recprune.models.guard import Guard
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.parallel.data import DataParallel, DealtStep
from recprune.models.parallel.distributed_checkpoint import ShardedCheckpoint
from recprune.models.parallel.group import Group
from recprune.models.parallel.shards import Shards
from recprune.models.parts import Shape
from recprune.models.ranker import Ranker
from recprune.models.state import state_of
from recprune.models.step import Step, Updates, tensors
from recprune.models.table import Look, PlainTable, RowGradient, Table
from recprune.models.together import Score

__all__ = ["RowSharded", "ShardedNet", "merged"]

#: What a checkpoint of training has a row of for each of the table's.
BY_ROW = (
    *("net.table", "best.table", "step.table.first", "step.table.second"),
    *("step.mean.rows.mean", "step.mean.rows.last", "step.mean.rows.void"),
)


class ShardedNet(FieldNet):
    """A network of whose table each process holds a run of rows: all compute together.

    Args:
        group: the processes.
        shape, parts, dropout, generator: see :class:`FieldNet`.
    """

    def __init__(
        self,
        group: Group,
        shape: Shape,
        parts: Sequence[str],
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        self.shards = Shards(group, sum(shape.sizes))
        super().__init__(shape, parts, dropout, generator, self.shards.held)

    def rows_of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that ``index`` names, and it in their numbering."""
        asked = self.shards.union(index)
        return self.shards.look_up(self.table, asked), torch.searchsorted(asked, index)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of each field that lie here, and a copy of its unknown row, (1, W)."""
        unknown = self.shards.look_up(self.table, self.unknown_rows())
        held = self.shards.held
        for i, (start, size) in enumerate(
            zip(self.offsets.tolist(), self.shape.sizes, strict=True)
        ):
            first, last = max(start, held.start), min(start + size, held.stop)
            if first < last:
                yield slice(first - held.start, last - held.start), unknown[[i]]


class RowSharded(DataParallel):
    """Each process holds a run of the table's rows, with what the optimiser knows of them.

    Batches are shared as in :class:`DataParallel`; a step asks the others for the rows that it
    reads, and sends their gradient back. Dense weights are everywhere.

    Args:
        group: the processes.
    """

    def check(self, run: Callable[[], Mapping[str, str]], objective: Objective) -> None:
        """Refuse losses that are no mean over rows, and processes about other work."""
        super().check(lambda: _anywhere(run()), objective)

    def network(
        self, shape: Shape, parts: Sequence[str], dropout: float, generator: torch.Generator
    ) -> FieldNet:
        """Return a network whose table no process ever holds whole."""
        return ShardedNet(self.group, shape, parts, dropout, generator)

    def prior(
        self,
        net: FieldNet,
        rows: Rows,
        chances: tuple[float, int, bool],
        sizes: Sequence[int] | None = None,
    ) -> FrequencyPrior:
        """Return what follows from the frequency of the values whose rows lie here."""
        assert isinstance(net, ShardedNet)
        return _ShardedPrior(net, rows, *chances)

    def step(self, net: FieldNet, prior: FrequencyPrior, guard: Guard, updates: Updates) -> Step:
        """Return what a batch does to the weights that lie here."""
        self.refuse_batch_norm(net)
        return _ShardedStep(self.group, net, prior, guard, updates)

    def score(self, score: Score) -> Score:
        """Return the first process's score, which all compute: each has some of the rows."""
        if score is None:
            return None
        group, own = self.group, score
        return lambda: float(group.facts(own()))

    def checkpoint(self, path: Path, run: Mapping[str, str]) -> Checkpoint:
        """Return the folder into which each process writes its rows."""
        return ShardedCheckpoint(self.group, path, _anywhere(run), BY_ROW)


def merged(model: Ranker) -> Ranker | None:
    """Return an ordinary ranker of a sharded one's weights, in the first process; None in others.

    All processes take part. The first needs memory for the weights of the whole table, once: rows
    come to it a block at a time.
    """
    net = model.net
    assert isinstance(net, ShardedNet)
    shards, table = net.shards, None
    if not shards.group.rank:
        table = np.empty((shards.rows, net.shape.width), np.float32)
    for place, block in shards.blocks(net.table):
        assert table is not None
        table[place] = block
    return None if table is None else model.with_state(state_of(net, table))


def _anywhere(run: Mapping[str, str]) -> dict[str, str]:
    """Return what is the same in every process: not the first weights, which lie apart."""
    return {name: text for name, text in run.items() if name != "first weights"}


class _ShardedPrior(FrequencyPrior):
    """What follows from the frequency of the values whose rows lie here."""

    def __init__(self, net: ShardedNet, rows: Rows, *chances: float) -> None:
        super().__init__(net, rows, *chances)  # type: ignore[arg-type]
        self.processes, held = net.shards.group, net.shards.held
        self.of_unknown = self.group[net.unknown_rows()]
        self.unknown, self.group = self.unknown[held].clone(), self.group[held].clone()
        self.values = self.unknown, self.group

    def groups_of_unknown(self, net: FieldNet) -> Tensor:
        """Return the group of each field's unknown row."""
        return self.of_unknown

    def everyones(self, total: Tensor) -> Tensor:
        """Return the sum over all processes."""
        self.processes.add(total)
        return total


class _ShardedStep(DealtStep):
    """A step of which this process computes a part, and updates the rows that lie here."""

    def make_table(self) -> Table:
        """Return this step's way through the table."""
        assert isinstance(self.net, ShardedNet)
        assert self.mean.rows is not None
        return _ShardedTable(self.net, self.prior, self.lazy, self.mean.rows)


class _ShardedTable(PlainTable):
    """The table's rows wherever they lie; those that lie here are updated."""

    net: ShardedNet

    def read(self, rows: Rows, draws: Draws) -> Look:
        """Look up this process's part of a batch; ``draws`` decides what reads as unknown."""
        net, prior, shards = self.net, self.prior, self.net.shards
        codes, given = tensors(rows, net.table.device)
        own = codes + net.slot_offsets
        last = torch.tensor(net.n_rows - 1, device=own.device)
        unknown = net.unknown_rows()  # a number that is hidden reads the row after it, too
        needed = [net.index(codes).flatten(), unknown, torch.minimum(unknown + 1, last)]
        asked = shards.union(torch.cat(needed))
        about = torch.stack([prior.unknown, prior.group.float()], dim=1)
        chance, group = shards.look_up(about, asked)[torch.searchsorted(asked, own)].unbind(dim=2)
        read, shares = prior.hidden(net, codes, given, chance, draws)
        index = net.index(read)
        leaf = shards.look_up(net.table, asked).requires_grad_()
        value = net.look_up(leaf, torch.searchsorted(asked, index), shares)
        return Look(value + prior.shared_by(net, group.long()), shares, index, leaf, asked)

    def gradient(self, look: Look) -> list[RowGradient]:
        """Return everyone's gradient, by the rows that anyone read."""
        assert look.leaf.grad is not None
        group, asked = self.net.shards.group, look.rest
        if self.prior.shared.grad is not None:
            group.add(self.prior.shared.grad)
        read = torch.zeros(len(asked), 1, device=asked.device)
        read[torch.searchsorted(asked, look.index.flatten())] = 1
        total = torch.cat([look.leaf.grad, read], dim=1)
        group.add(total)
        by_anyone = total[:, -1] > 0
        return [(asked[by_anyone], total[by_anyone, :-1])]

    def update(self, gradient: Sequence[RowGradient]) -> None:
        """Take one step of the optimiser on those of these rows that lie here."""
        held, ((rows, values),) = self.net.shards.held, gradient
        here = (rows >= held.start) & (rows < held.stop)
        super().update([(rows[here] - held.start, values[here])])
