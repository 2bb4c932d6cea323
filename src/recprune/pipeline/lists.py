"""Top-k lists of test users over the full catalogue, or one list over all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import progress, stream
from recprune.data import Dataset
from recprune.metrics import coverage_at_k, hits_of_lists, ndcg_at_k, recall_at_k, top_k
from recprune.pipeline.config import RunConfig
from recprune.runtime import Scorer

__all__ = ["Lists", "rank_test_users"]

K = 10


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
    test, items, users = data.test, data.items, data.users
    if items is None or users is None or test.users is None or test.items is None:
        return _one_list(logits, test.label)
    positive = test.label == 1
    everyone, willing = np.unique(test.users), np.unique(test.users[positive])
    draws = stream(config.seed, "ranked users")
    chosen = np.sort(draws.permutation(willing)[: config.ranking_users])
    shown, relevant = {}, []
    for user in progress(chosen.tolist(), "full catalogue", len(chosen)):
        score = scorer.catalogue_logits(users, int(user))
        seen = users.seen.of_user(user) if data.exclude_seen and users.seen is not None else None
        shown[user] = _filled(top_k(score, K, exclude=seen))
        relevant.append(np.unique(test.items[positive & (test.users == user)]))
    lists = np.stack(list(shown.values()))
    hits, amount = hits_of_lists(lists, relevant), np.array([len(r) for r in relevant])
    metrics = _summary(hits, amount, coverage_at_k(lists, len(items)))
    return Lists(
        metrics | {"users_ranked": len(chosen), "users_skipped": len(everyone) - len(willing)},
        shown,
    )


def _one_list(logits: NDArray[np.float32], label: NDArray[np.float32]) -> Lists:
    best = top_k(logits, K)
    hits, amount = (label[best] == 1)[None], np.array([int(label.sum())])
    metrics = _summary(hits, amount, min(K, len(label)) / len(label))
    return Lists(metrics | {"users_ranked": 1, "users_skipped": 0})


def _summary(
    hits: NDArray[np.bool_], relevant: NDArray[np.int64], coverage: float
) -> dict[str, Any]:
    return {
        f"recall@{K}": float(np.nanmean(recall_at_k(hits, relevant, K))),
        f"ndcg@{K}": float(np.nanmean(ndcg_at_k(hits, relevant, K))),
        f"coverage@{K}": float(coverage),
    }


def _filled(best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill a short list with −1, so that all have one length."""
    return np.concatenate([best, np.full(K - len(best), -1, np.int64)])
