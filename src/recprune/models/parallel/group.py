"""The processes that train together, and what they tell each other: torch.distributed underneath."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store

from recprune.errors import ParameterError, RunError

__all__ = ["Group", "joined", "launched"]

#: What ``torchrun`` tells the processes that it starts.
ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: How long one waits for the others: as long as the first may take to score its held-out rows.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them.

    Sums run in the processes' order, so that all have the same bits.

    Args:
        rank: which of them this one is, from 0. The first alone writes.
        size: how many there are.
    """

    rank: int
    size: int

    def part(self, n: int) -> slice:
        """Return this process's part of ``n`` rows: all parts in order are the rows.

        >>> [Group(rank, 3).part(7) for rank in range(3)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
        """
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add(self, value: Tensor) -> None:
        """Replace a tensor by the sum of everyone's."""
        with told():
            dist.all_reduce(value)

    def gathered(self, value: Tensor) -> list[Tensor]:
        """Return everyone's tensor, each with a first axis of its own length."""
        with told():
            length = torch.tensor([len(value)], device=value.device)
            lengths = [torch.empty_like(length) for _ in range(self.size)]
            dist.all_gather(lengths, length)
            padded = value.new_zeros(int(max(lengths)), *value.shape[1:])
            padded[: len(value)] = value
            pieces = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(pieces, padded)
            return [piece[: int(n)] for piece, n in zip(pieces, lengths, strict=True)]

    def from_first(self, value: Tensor) -> Tensor:
        """Return the first process's tensor, of the same shape as everyone's."""
        value = value.detach().clone().contiguous()
        with told():
            dist.broadcast(value, 0)
        return value

    def facts(self, found: Any) -> Any:
        """Return what the first process has: anything that JSON holds."""
        text = torch.frombuffer(bytearray(json.dumps(found).encode()), dtype=torch.uint8)
        length = self.from_first(torch.tensor([len(text)]))
        text = text if self.rank == 0 else text.new_empty(int(length))
        return json.loads(bytes(self.from_first(text).numpy()))

    def tensors(self, found: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Return the first process's tensors by name; what the others give does not count."""
        mine = found if self.rank == 0 and found is not None else {}
        shapes = self.facts({n: (list(t.shape), str(t.dtype)[6:]) for n, t in mine.items()})
        out = {}
        for name, (shape, kind) in shapes.items():
            given = mine.get(name, torch.empty(shape, dtype=getattr(torch, kind)))
            out[name] = self.from_first(given.cpu())
        return out

    def check_same(self, what: Mapping[str, str]) -> None:
        """Make sure that all processes are about the same work.

        Args:
            what: name of a thing → text that stands for it.

        Raises:
            RunError: names what is not the same everywhere.
        """
        first = self.facts(dict(what))
        differ = torch.tensor([int(first[name] != what.get(name)) for name in first])
        self.add(differ)
        if differ.any():
            named = ", ".join(name for name, n in zip(first, differ.tolist(), strict=True) if n)
            raise RunError(
                f"The {self.size} processes are not about the same training: their {named} differ. "
                "Give all the same table, options and versions."
            )


@contextmanager
def told() -> Iterator[None]:
    """Say in words that a process of the group is gone.

    Raises:
        RunError: one is.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RunError) or not _of_the_group(error):
            raise
        raise RunError(
            "A process that trains along has died, or cannot be reached any more; so this one stops, "
            "too. Look at what the other wrote last, and start all again."
        ) from error


def _of_the_group(error: RuntimeError) -> bool:
    words = str(error).lower()
    lost = any(w in words for w in ("gloo", "nccl", "connection", "timed out"))
    return isinstance(error, dist.DistError) or lost


@contextmanager
def joined(
    rank: int, size: int, where: str = "env://", store: Store | None = None
) -> Iterator[Group]:
    """Join the processes that train together, and leave them at the end.

    By gloo on the processor, by NCCL on CUDA devices, of which the process takes the one that
    ``LOCAL_RANK`` names (default: its rank).

    Args:
        rank: which of the processes this one is, from 0.
        size: how many there are.
        where: how they meet: a URL of torch.distributed, as ``file:///a/new/file`` (on one host) or
            ``tcp://host:port``; ``env://`` = as ``torchrun`` says.
        store: where they meet, if there is a store already.

    Raises:
        ParameterError: no such rank.
        RunError: they do not meet, or one dies.
    """
    if not 0 <= rank < size:
        raise ParameterError.of("rank", "joined", f"an int in [0, {size})", rank)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
        backend = "cpu:gloo,cuda:nccl"
    with told():
        url = where if store is None else None
        dist.init_process_group(backend, url, PATIENCE, size, rank, store)
    try:
        yield Group(rank, size)
    finally:
        dist.destroy_process_group()


@contextmanager
def launched() -> Iterator[Group | None]:
    """Join the processes that ``torchrun`` started; None where it did not start this one."""
    if not all(name in os.environ for name in ENVIRONMENT):
        yield None
        return
    with joined(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) as group:
        yield group
