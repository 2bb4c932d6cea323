"""Top-k lists of test users over the full catalogue, or one list over all rows: for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset
from recprune.evaluation.lists import Shown, ranked
from recprune.metrics import metric, top_k
from recprune.pipeline.config import RunConfig
from recprune.pipeline.evaluating import catalogue_score, ranking_task
from recprune.runtime import Scorer

__all__ = ["Lists", "rank_test_users"]

K = 10
METRICS = (f"recall@{K}", f"ndcg@{K}", f"coverage@{K}")


@dataclass(frozen=True, eq=False)
class Lists:
    """Ranking metrics, and what each ranked user was shown (user position → item positions)."""

    metrics: Mapping[str, Any]
    shown: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)


def rank_test_users(
    scorer: Scorer, logits: NDArray[np.float32], data: Dataset, config: RunConfig
) -> Lists:
    """Rank the full catalogue for up to ``config.ranking_users`` test users.

    Relevant are a user's positive test rows; users without any are skipped and counted. Items
    seen before are left out where the data set says that nobody comes back for them. Without
    items, the test rows themselves (users, sessions) are one list.
    """
    test = data.test
    if data.items is None or data.users is None or test.users is None or test.items is None:
        return _one_list(logits, test.label)
    task, items = ranking_task(scorer, data, config.ranking_users, config.seed)
    lists = ranked(task, catalogue_score(scorer, data.users), K)
    shown = Shown(task, lists, items)
    values = {name: shown.estimate(metric(name)).value for name in METRICS}
    counts = {"users_ranked": len(lists), "users_skipped": task.skipped}
    return Lists(values | counts, dict(zip(task.users.tolist(), lists, strict=True)))


def _one_list(logits: NDArray[np.float32], label: NDArray[np.float32]) -> Lists:
    best, relevant = top_k(logits, K), int(np.count_nonzero(label == 1))
    of_hits = {
        name: float(metric(name)((label[best] == 1)[None], [relevant])[0]) for name in METRICS[:2]
    }
    coverage = {METRICS[2]: len(best) / len(label)}
    return Lists(of_hits | coverage | {"users_ranked": 1, "users_skipped": 0})
