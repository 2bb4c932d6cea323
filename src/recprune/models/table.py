"""A step's way through the table: the rows that a batch reads, and their update.

There are two that do the same: a plain one in torch for any device, and a compiled one for the
processor, which makes one pass over the look-ups and one over the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.models import kernels
from recprune.models.averaging import RowMean
from recprune.models.draws import Draws, uniform
from recprune.models.frequency import FrequencyPrior
from recprune.models.network import FieldNet
from recprune.models.optimiser import LazyAdam

__all__ = ["FusedTable", "Look", "PlainTable", "RowGradient", "Table", "distinct"]

T = TypeVar("T")

#: Some rows of a table, shape (U,), each once, and the gradient of each, shape (U, W).
RowGradient = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Look:
    """What a batch read.

    Args:
        value: the slots' values, shape (B, S, W), in the network's order.
        shares: the batch's, some of them set to zero by unknown reads.
        index: table rows, shape (B, S) or longer, as :meth:`FieldNet.index` gives them.
        leaf: what the gradient is taken of.
        rest: what else the update needs.
    """

    value: Tensor
    shares: Tensor
    index: Tensor
    leaf: Tensor
    rest: Tensor


class Table(Protocol):
    """What a step asks of the table."""

    def read(self, rows: Rows, draws: Draws) -> Look:
        """Look up a batch."""
        ...

    def gradient(self, look: Look) -> list[RowGradient]:
        """Return the gradient of a loss of what was read, by the rows that were."""
        ...

    def update(self, gradient: Sequence[RowGradient]) -> None:
        """Take one step of the optimiser on these rows."""
        ...


class PlainTable:
    """The table's rows by torch: gather the distinct rows of a batch, differentiate, update.

    Args:
        net: whose table it is.
        prior: unknown reads and shared parts.
        adam: the table's optimiser.
        mean: the table's running mean.
    """

    def __init__(self, net: FieldNet, prior: FrequencyPrior, adam: LazyAdam, mean: RowMean) -> None:
        self.net, self.prior, self.adam, self.mean = net, prior, adam, mean

    def read(self, rows: Rows, draws: Draws) -> Look:
        """Look up a batch; ``draws`` decides what reads as unknown."""
        net, prior, device = self.net, self.prior, self.net.table.device
        codes = torch.from_numpy(rows.codes).to(device).long()
        own, shares = prior.read(net, codes, torch.from_numpy(rows.shares).to(device), draws)
        index = net.index(own)
        touched, inverse = distinct(index, net.n_rows)
        leaf = net.table.detach()[touched].requires_grad_()
        value = net.look_up(leaf, inverse, shares) + prior.share(net, codes)
        return Look(value, shares, index, leaf, touched)

    def gradient(self, look: Look) -> list[RowGradient]:
        """Return the gradient of a loss of what was read, by the rows that were."""
        assert look.leaf.grad is not None
        return [(look.rest, look.leaf.grad)]

    @torch.no_grad()
    def update(self, gradient: Sequence[RowGradient]) -> None:
        """Take one step of the optimiser on these rows, each of which is there once."""
        self.mean.advance()
        rows, values = (torch.cat(each) for each in zip(*gradient, strict=True))
        before = self.net.table.detach()[rows]
        self.adam.step(rows, before, values)
        self.mean.add(rows, before)


class FusedTable:
    """As :class:`PlainTable`, compiled, on the processor.

    Its sums run in the batch's order, whatever the number of threads.

    Args:
        net: whose table it is.
        prior: unknown reads and shared parts.
        adam: the table's optimiser.
        mean: the table's running mean.
    """

    def __init__(self, net: FieldNet, prior: FrequencyPrior, adam: LazyAdam, mean: RowMean) -> None:
        self.prior, self.adam, self.mean = prior, adam, mean
        self.table = net.table.detach().numpy()
        slots = net.slot_order.numpy()
        self.n_slots, numbers = len(slots), np.full(len(slots), -1)
        numbers[net.n_single - net.n_numeric : net.n_single] = net.numeric_shares.numpy()
        self.places = slots, net.slot_offsets.numpy()[slots], numbers
        self.chances = prior.unknown.numpy(), prior.group.numpy()
        self.place = np.full(net.n_rows, -1, np.int32)
        threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        lengths = np.array([net.shape.slots[i] for i in net.order.tolist()])
        self.parts = _shared_out(lengths, numbers[np.cumsum(lengths) - 1] >= 0, threads)
        #: Sums of gradients, by part: rows and their gradients.
        self.sums: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []

    def read(self, rows: Rows, draws: Draws) -> Look:
        """Look up a batch; ``draws`` decides what reads as unknown."""
        n, width = len(rows), self.table.shape[1]
        chances = uniform(rows.codes.shape, draws).numpy()
        batch = np.ascontiguousarray(rows.codes), rows.shares.copy(), chances
        value = torch.empty(n, self.n_slots, width)
        index, groups = (np.empty((n, self.n_slots), dtype) for dtype in (np.int64, np.int32))
        out = value.numpy(), index, groups
        prior = (*self.chances, self.prior.shared.detach().numpy())
        edges = np.linspace(0, n, len(self.parts) + 1).astype(int).tolist()
        self._each(
            kernels.read,
            [
                (part, batch, self.places, prior, self.table, out)
                for part in itertools.pairwise(edges)
            ],
        )
        value.requires_grad_()
        shares, looked, rest = (torch.from_numpy(a) for a in (batch[1], index, groups))
        return Look(value, shares, looked, value, rest)

    def gradient(self, look: Look) -> list[RowGradient]:
        """Return the gradient of a loss of what was read, by the rows that were.

        It lasts until the next one is asked for. The shared parts' gradient is where torch keeps it.
        """
        assert look.leaf.grad is not None
        self._make_room(len(look.index))
        shared = torch.zeros_like(self.prior.shared)
        gradient, shares = look.leaf.grad.contiguous().numpy(), look.shares.numpy()
        given = gradient, look.index.numpy(), look.rest.numpy(), shares

        def part(bounds: tuple[int, int], rows: Any, total: Any) -> RowGradient:
            out = rows, total, shared.numpy()
            found = kernels.add_up(bounds, given, self.places[2], self.place, out)
            return torch.from_numpy(rows[:found]), torch.from_numpy(total[:found])

        found = self._each(part, [(b, *s) for b, s in zip(self.parts, self.sums, strict=True)])
        self.prior.shared.grad = shared
        return found

    def update(self, gradient: Sequence[RowGradient]) -> None:
        """Take one step of the optimiser on these rows, each of which is there once."""
        self.adam.steps += 1
        mean = self.mean
        mean.advance()
        adam = self.adam.first.numpy(), self.adam.second.numpy(), self.adam.rates()
        means = mean.mean.numpy(), mean.last.numpy(), mean.kept, mean.steps, mean.weight

        def part(rows: Tensor, total: Tensor) -> None:
            touched = rows.int().numpy(), total.numpy(), len(rows)
            kernels.update(touched, self.table, adam, means)

        self._each(part, gradient)

    def _make_room(self, n: int) -> None:
        width, numbers = self.table.shape[1], self.places[2] >= 0
        most = [n * (b - a + int(numbers[a:b].sum())) for a, b in self.parts]
        if not self.sums or any(len(s[0]) < m for s, m in zip(self.sums, most, strict=True)):
            self.sums = [(np.empty(m, np.int32), np.empty((m, width), np.float32)) for m in most]

    def _each(self, work: Callable[..., T], parts: Sequence[tuple[Any, ...]]) -> list[T]:
        if self.pool is None:
            return [work(*part) for part in parts]
        return [job.result() for job in [self.pool.submit(work, *part) for part in parts]]


def _shared_out(
    lengths: NDArray[np.int64], numbers: NDArray[np.bool_], parts: int
) -> list[tuple[int, int]]:
    """Return runs of slots, whole fields each, of about the same number of look-ups."""
    looked = np.cumsum(lengths * np.where(numbers, 2, 1))
    goals = looked[-1] * np.arange(1, parts) / parts
    fields = np.unique([0, *np.searchsorted(looked, goals), len(lengths)])
    edges = np.concatenate([[0], np.cumsum(lengths)])[fields].tolist()
    return list(itertools.pairwise(edges))


def distinct(index: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of ``index`` and ``index`` in their numbering.

    A scatter over the table's rows costs less than sorting a batch's many look-ups.
    """
    seen = torch.zeros(n_rows, dtype=torch.bool, device=index.device)
    seen[index.reshape(-1)] = True
    rows = seen.nonzero().squeeze(1)
    number = torch.empty(n_rows, dtype=torch.int64, device=index.device)
    number[rows] = torch.arange(len(rows), device=index.device)
    return rows, number[index]
