"""Training by several processes: each takes a part of every batch.

The engines are torch's own: torch.distributed carries what the processes tell each other (gloo on
processors, NCCL on CUDA devices), DistributedDataParallel sums the gradients of the dense weights.

    with joined(rank, 2, "tcp://host:29500") as group:
        model.fit(data.train, data.tune, together=DataParallel(group))
"""

from recprune.models.parallel.data import DataParallel
from recprune.models.parallel.group import Group, joined, launched

__all__ = ["DataParallel", "Group", "joined", "launched"]
