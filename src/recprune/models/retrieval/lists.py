"""The best items of the whole catalogue for many users, exactly, a block of users at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.errors import DataError
from recprune.metrics import hits_of_lists, ndcg_at_k
from recprune.models.retrieval.positives import Window, latest_rows
from recprune.topk import top_lists

__all__ = ["Exam", "best_items"]

Index = NDArray[np.int64]
F32 = NDArray[np.float32]

#: Most users that early stopping ranks the catalogue for, evenly spread.
MOST_USERS = 5_000


def best_items(users: F32, items: F32, k: int, seen: Sequence[Index]) -> Index:
    """Return each user's ``k`` items of the highest inner product, best first; ties by position.

    Args:
        users: shape ``(n_users, V)``.
        items: shape ``(n_items, V)``.
        k: how many.
        seen: each user's items to leave out.

    Returns:
        Positions of items, shape ``(n_users, k)``; −1 fills a list that is too short.

    >>> users, items = np.eye(2, dtype=np.float32), np.array([[1, 5], [2, 4], [3, 3]], np.float32)
    >>> best_items(users, items, 2, [np.array([2]), np.array([], int)]).tolist()
    [[1, 0], [0, 1]]
    """
    shape = len(users), len(items)
    return top_lists(lambda some: users[some] @ items.T, shape, k, seen.__getitem__)


@dataclass(frozen=True, eq=False)
class Exam:
    """Held-out users, and what they took there.

    Args:
        queries: one row a user, the latest positive one.
        known: the training window: its items are ranked, and what users took is left out where
            nobody took an item twice.
        new: one row for each item that only the held-out rows have; ranked behind the others.
        relevant: each user's positive items, positions among known and new.
        seen: each user's items to leave out.
    """

    queries: Split
    known: Window
    new: Split
    relevant: list[NDArray[np.integer[Any]]]
    seen: list[Index]

    @classmethod
    def of(cls, window: Window, valid: Split) -> Exam:
        """Set the exam that held-out rows make.

        Raises:
            DataError: no held-out row is positive.
        """
        taken = valid.take(valid.label == 1)
        if not len(taken) or taken.items is None or valid.items is None:
            raise DataError(
                f"None of the {len(valid)} held-out rows says what a user took (label 1 and an "
                "item): there is nothing to stop early by. Pass other rows, or None."
            )
        users = np.arange(len(taken)) if taken.users is None else taken.users
        latest = latest_rows(valid.items, valid.extras.time)
        new = valid.take(latest[~np.isin(valid.items[latest], window.ids)])
        everything = np.concatenate([window.ids, new.items])
        order = np.argsort(everything)
        items = order[np.searchsorted(everything, taken.items, sorter=order)]
        latest = latest_rows(users, taken.extras.time)
        chosen = np.unique(
            np.linspace(0, len(latest) - 1, min(len(latest), MOST_USERS)).astype(np.int64)
        )
        # Users rise with `latest`: each one's rows are a run of the rows sorted by user.
        by_user = np.argsort(users, kind="stable")
        bounds = np.searchsorted(users[by_user], [*users[latest], users.max() + 1])
        relevant: list[NDArray[np.integer[Any]]] = [
            np.unique(items[by_user[bounds[i] : bounds[i + 1]]]) for i in chosen
        ]
        none = np.empty(0, np.int64)
        known = taken.users is not None and not window.repeated
        seen = [window.taken_by(int(users[latest[i]])) if known else none for i in chosen]
        return cls(taken.take(latest[chosen]), window, new, relevant, seen)

    def ndcg(self, users: F32, items: F32, k: int) -> float:
        """Return the mean NDCG@k over the users, from their vectors and those of all items."""
        hits = hits_of_lists(best_items(users, items, k, self.seen), self.relevant)
        return float(ndcg_at_k(hits, np.array([len(r) for r in self.relevant]), k).mean())
