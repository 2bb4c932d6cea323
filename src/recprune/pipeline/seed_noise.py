"""How far another seed moves the full model's AUC: the yardstick for every difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.models import Ranker
from recprune.models.held_out import held_out_score
from recprune.pipeline.procedures import one_worker_on_disk

__all__ = ["seed_noise"]


def seed_noise(
    full: Ranker,
    data: Dataset,
    *,
    seeds: int = 3,
    seed: int = 0,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Train the full model with other seeds, too, and say how its AUC on gate rows spreads.

    Args:
        full: fitted; the first of the seeds.
        data: that it was trained on.
        seeds: how many in all, at least 2.
        seed: of the other seeds.
        executor: where they are trained; the result does not depend on it. None = one after another.

    Returns:
        ``seeds`` and ``auc_std``, with n − 1: of three seeds the standard deviation is known to half
        its size only (1 / √(2 (n − 1))).

    Raises:
        ParameterError: fewer than two seeds, or workers and rows that are on disk.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
        raise ParameterError.of("seeds", "seed_noise", "an int ≥ 2", seeds)
    executor = one_worker_on_disk(executor or Executor(), data, "seed_noise")
    shared = _Again(full.like(), data)
    others = executor.map(_auc_again, range(1, seeds), shared=shared, seed=seed, text="seeds")
    found = [_auc(full, data), *others]
    return {"seeds": seeds, "auc_std": float(np.std(found, ddof=1))}


@dataclass(frozen=True, eq=False)
class _Again:
    """The model to train, without weights, and its rows."""

    full: Ranker
    data: Dataset


def _auc_again(again: _Again, _: int, draws: np.random.Generator) -> float:
    data = again.data
    model = again.full.like(seed=int(draws.integers(2**31)))
    return _auc(model.fit(data.train, data.tune), data)


def _auc(model: Ranker, data: Dataset) -> float:
    gate = model.aligned(data.gate)
    return held_out_score("auc", gate, model.logits(gate.rows))
