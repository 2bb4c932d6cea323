"""Training by several processes, which share every batch.

The engines are torch's own: torch.distributed carries what the processes tell each other (gloo on
processors, NCCL on CUDA devices), DistributedDataParallel sums the gradients of the dense weights,
distributed tensors hold tables that are too large for one process, torch.distributed.checkpoint
keeps them.

    with joined(rank, 2, "tcp://host:29500") as group:
        model.fit(data.train, data.tune, together=DataParallel(group))
"""

from recprune.models.parallel.data import DataParallel
from recprune.models.parallel.group import Group, joined, launched
from recprune.models.parallel.launch import fit_together
from recprune.models.parallel.rows import RowSharded, ShardedNet, merged

__all__ = [
    "DataParallel",
    "Group",
    "RowSharded",
    "ShardedNet",
    "fit_together",
    "joined",
    "launched",
    "merged",
]
