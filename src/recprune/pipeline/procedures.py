"""Is a way of pruning no worse, whatever the seed? Full and pruned models of several seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset
from recprune.data.disk_frame import DiskFrame
from recprune.errors import ParameterError
from recprune.evaluation import TestUses, Verdict, verdict
from recprune.evaluation.paired import Metric
from recprune.executor import Executor
from recprune.models import Ranker
from recprune.pipeline.effort import Effort

__all__ = ["compare_procedures"]

Pruning = Callable[[Ranker, Dataset], Ranker]
Logits = NDArray[np.float32]


def compare_procedures(
    full: Ranker,
    pruning: Pruning,
    data: Dataset,
    *,
    seeds: int = 5,
    effort: Effort | None = None,
    metric: Metric = "auc",
    tolerance: float = 0.002,
    seed: int = 0,
    executor: Executor | None = None,
) -> Verdict:
    """Judge a way of pruning on the test rows, by models of several seeds.

    For every seed a full model is trained and pruned, and fine-tuned itself as the pruned one is.
    The verdict is on the mean difference; its error holds that of the rows and that of the seeds
    (:func:`recprune.evaluation.verdict` of several pairs).

    Args:
        full: says class, options and training; its weights, if it has such, do not count.
        pruning: from the full model of a seed and the data to the pruned one, such as
            ``functools.partial(rp.prune, keep={"rows": 0.25})``. With more than one worker, it must
            be found at the top of a module.
        data: a split data set.
        seeds: pairs of models, at least 2.
        effort: the fine-tuning that pruning gives; None = one round of two epochs.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``.
        tolerance: largest mean drop that passes.
        seed: of all seeds.
        executor: where the pairs are trained; None = one after another. The verdict does not depend
            on it.

    Raises:
        ParameterError: fewer than two seeds, a verdict's parameter out of range, or workers and rows
            that are on disk.

    Warns:
        RecpruneWarning: these test rows have judged more than one model or way.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
        raise ParameterError.of("seeds", "compare_procedures", "an int ≥ 2", seeds)
    executor = one_worker_on_disk(executor or Executor(), data, "compare_procedures")
    shared = _Procedure(full.like(), pruning, data, effort or Effort())
    pairs = executor.map(_pair, range(seeds), shared=shared, seed=seed, text="seeds")
    wholes, smalls = (np.stack(logits) for logits in zip(*pairs, strict=True))
    test = data.test
    decision = verdict(
        test.label,
        wholes,
        smalls,
        users=test.users,
        items=test.items,
        metric=metric,
        tolerance=tolerance,
        seed=seed,
    )
    return replace(decision, test_uses=TestUses().count(test.label, smalls.tobytes()))


def one_worker_on_disk(executor: Executor, data: Dataset, owner: str) -> Executor:
    """Return the executor, or refuse several workers for rows that they cannot be sent."""
    elsewhere = executor.workers > 1 or executor.engine != "processes"
    if elsewhere and isinstance(data.train.columns, DiskFrame):
        wanted = "of one worker for rows on disk, in this process"
        given = f"{executor.workers} workers, {executor.engine}"
        raise ParameterError.of("executor", owner, wanted, given)
    return executor


@dataclass(frozen=True, eq=False)
class _Procedure:
    """What every seed begins with."""

    full: Ranker
    pruning: Pruning
    data: Dataset
    effort: Effort


def _pair(made: _Procedure, _: int, draws: np.random.Generator) -> tuple[Logits, Logits]:
    """Return the test rows' logits of one seed's full and pruned model."""
    data = made.data
    full = made.full.like(seed=int(draws.integers(2**31))).fit(data.train, data.tune)
    small = made.pruning(full, data)
    reference = made.effort.given_to(full, made.effort.tuning(full, data))
    full_logits, logits = (m.logits(m.aligned(data.test).rows) for m in (reference, small))
    return full_logits, logits
