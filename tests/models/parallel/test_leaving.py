"""A process that stops ends, whatever the processes still had to tell each other."""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from recprune.models.parallel import DataParallel, RowSharded, joined
from tests.models.parallel.world import ranker, table

KINDS = {"data": DataParallel, "rows": RowSharded}
LOST = 3


def leave(where: str, kind: str, rank: int) -> None:
    def watch(epoch: object) -> None:
        if not rank:
            time.sleep(2)
            os._exit(LOST)
        dist.all_reduce(torch.zeros(8), async_op=True)  # under way until the other is gone
        raise InterruptedError

    try:
        with joined(rank, 2, where) as group:
            ranker("LR").fit(table().train, together=KINDS[kind](group), watch=watch)
    except InterruptedError:
        pass  # here goes all that the training held


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_under_way_holds_up_no_end(tmp_path: Path, kind: str) -> None:
    start = mp.get_context("spawn").Process
    where = f"file://{tmp_path}/meeting"
    processes = [start(target=leave, args=(where, kind, rank)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [LOST, 0]
