"""A table's rows over several processes: who holds which, and reading those of others.

The tables are torch's own distributed tensors, cut along their rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from recprune.models.parallel.group import Group, told

__all__ = ["Shards"]

#: Rows that are sent at once where a table is brought together.
BLOCK = 1 << 16


class Shards:
    """How the rows of a table lie over the processes: runs of equal length, the last ones shorter.

    Args:
        group: the processes.
        rows: R, of the whole table.
    """

    def __init__(self, group: Group, rows: int) -> None:
        self.group, self.rows = group, rows
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        with told():
            self.mesh = init_device_mesh(kind, (group.size,))
        self.held = self.held_by(group.rank)

    def held_by(self, rank: int) -> slice:
        """Return the rows that a process holds; perhaps none."""
        run = -(-self.rows // self.group.size)
        return slice(min(run * rank, self.rows), min(run * (rank + 1), self.rows))

    def whole(self, own: Tensor) -> DTensor:
        """Return the distributed tensor, (R, …), whose rows here are ``own``; it shares memory."""
        shape = torch.Size([self.rows, *own.shape[1:]])
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            own, self.mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
        )

    def union(self, rows: Tensor) -> Tensor:
        """Return the rows that any process asks for, increasing, shape (U,)."""
        everyones: Tensor = torch.unique(torch.cat(self.group.gathered(torch.unique(rows))))
        return everyones

    @torch.no_grad()
    def look_up(self, own: Tensor, rows: Tensor) -> Tensor:
        """Return rows of a table, (U, W), wherever they lie; all processes ask for the same.

        Args:
            own: the rows of the table that lie here, shape (·, W).
            rows: U of them.
        """
        # What torch's sharded embedding does, which fails (2.13) where a process holds no row.
        found: Tensor = own.new_zeros(len(rows), *own.shape[1:])
        here = (rows >= self.held.start) & (rows < self.held.stop)
        found[here] = own.detach()[rows[here] - self.held.start]
        self.group.add(found)
        return found

    def blocks(self, own: Tensor) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the whole table to the first process, a block after the other; to others, nothing."""
        group = self.group
        for rank in range(group.size):
            held = self.held_by(rank)
            for start in range(held.start, held.stop, BLOCK):
                stop = min(start + BLOCK, held.stop)
                block = own.new_empty(stop - start, *own.shape[1:])
                if rank == group.rank:
                    block.copy_(own.detach()[start - held.start : stop - held.start])
                with told():
                    if rank and rank == group.rank:
                        dist.send(block, 0)
                    elif rank and not group.rank:
                        dist.recv(block, rank)
                if not group.rank:
                    yield slice(start, stop), block.cpu().numpy()
