"""Training by several processes that an executor starts: of this machine, or on Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch._C._distributed_c10d import TCPStore

from recprune._support import require
from recprune.executor import Executor
from recprune.models.parallel.data import DataParallel
from recprune.models.parallel.group import joined
from recprune.models.ranker import Ranker

if TYPE_CHECKING:
    import numpy as np

    from recprune.data import Split

__all__ = ["fit_together"]

LOOPBACK = "127.0.0.1"


def fit_together(
    model: Ranker,
    rows: Split,
    valid: Split | None,
    executor: Executor,
    checkpoint: Path | None = None,
) -> Ranker:
    """Return the ranker, fitted by an executor's workers, who share every batch.

    They must all run at once, and none is tried again alone: if one dies, all stop. They meet at this
    process, which those on other machines must be able to reach.

    Args:
        model: not fitted; with one worker it is fitted here.
        rows: training rows.
        valid: held-out rows; None = train for all epochs.
        executor: how many, and where.
        checkpoint: as for :func:`recprune.models.train`; None where workers run on other machines,
            which do not have this one's files.

    Raises:
        RunError: a worker died.
    """
    if executor.workers == 1:
        return model.fit(rows, valid, checkpoint=checkpoint)
    at_once = replace(executor, retries=0)
    with at_once:
        host = LOOPBACK
        if executor.engine == "ray" and executor.address != "local":
            host, checkpoint = require("ray", "distributed").util.get_node_ip_address(), None
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
        shared = (executor.workers, host, store.port, model, rows, valid, checkpoint)
        fitted = at_once.map(
            _fit, range(executor.workers), shared=shared, text="training processes"
        )
    assert fitted[0] is not None
    return fitted[0]


def _fit(shared: Any, rank: int, draws: np.random.Generator) -> Ranker | None:
    size, host, port, model, rows, valid, checkpoint = shared
    with joined(rank, size, store=TCPStore(host, port, is_master=False)) as group:
        fitted = model.like().fit(rows, valid, together=DataParallel(group), checkpoint=checkpoint)
    return None if rank else fitted
