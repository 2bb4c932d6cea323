"""What users took, as retrievers learn from it: pairs of a user and an item, and the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.encoding import Rows
from recprune.errors import DataError

__all__ = ["Positives", "Window", "latest_rows"]

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Window:
    """Who took what in the training rows.

    Args:
        items: one row an item of the window, the latest, by rising ``Split.items``; labels aside.
        people: one row a user with a positive, the latest, by rising ``Split.users``; None without
            a user column.
        pairs: the different positive pairs, each the number user · n_items + item (a position in
            ``items``), sorted.
        starts: where each user's pairs start, shape ``(n_users + 1,)``.
        repeated: whether a user took an item again, so that what was taken may be shown again.
    """

    items: Split
    people: Split | None
    pairs: Index
    starts: Index
    repeated: bool

    @property
    def n_items(self) -> int:
        """Items of the window, also those that nobody took."""
        return len(self.items)

    @property
    def ids(self) -> Index:
        """Each item's position in the data set's items, increasing, shape ``(n_items,)``."""
        assert self.items.items is not None
        return self.items.items

    def taken_by(self, user: int) -> Index:
        """Return the items that a user took, positions in ``items``; of a new user none."""
        if user + 1 >= len(self.starts):
            return np.empty(0, np.int64)
        return self.pairs[self.starts[user] : self.starts[user + 1]] % self.n_items


@dataclass(frozen=True, eq=False)
class Positives:
    """The rows of label 1 of the training rows.

    Args:
        window: who took what.
        at: which rows of the split these are, shape ``(n,)``.
        rows: the rows, n of them.
        users: each row's user, from 0, shape ``(n,)``; without a user column every row is one's own.
        items: each row's item, a position in ``window.items``, shape ``(n,)``.
        weight: how much each row counts, mean about 1, shape ``(n,)``; None = alike.
    """

    window: Window
    at: Index
    rows: Rows
    users: Index
    items: Index
    weight: NDArray[np.float32] | None

    @classmethod
    def of(cls, split: Split) -> Positives:
        """Take the positives of a split.

        Raises:
            DataError: the rows have no items, or no row is positive.
        """
        if split.items is None:
            raise DataError(
                "A retriever learns which items users take, and the rows have no item column. "
                "Name it with item=…, or train a ranker."
            )
        at = np.flatnonzero(split.label == 1)
        if not len(at):
            raise DataError(
                f"None of the {len(split)} training rows is positive (label 1): a retriever learns "
                "from what users took. Check the label, or the split."
            )
        latest = latest_rows(split.items, split.extras.time)
        n_items = len(latest)
        items = np.searchsorted(split.items[latest], split.items[at])
        taken, people = split.take(at), None
        users = np.arange(len(at)) if taken.users is None else taken.users
        if taken.users is not None:
            people = taken.take(latest_rows(users, taken.extras.time))
        pairs = np.unique(users * n_items + items)
        starts = np.searchsorted(pairs, np.arange(int(users.max()) + 2) * n_items)
        window = Window(split.take(latest), people, pairs, starts, len(pairs) < len(at))
        return cls(window, at, taken.rows, users, items, taken.extras.weight)

    def __len__(self) -> int:
        return len(self.at)


def latest_rows(keys: Index, time: NDArray[Any] | None) -> Index:
    """Return the latest row of each different key, by rising key.

    Args:
        keys: shape ``(n,)``.
        time: shape ``(n,)``; None = rows count as they stand.

    >>> latest_rows(np.array([7, 3, 7, 3]), np.array([2, 1, 1, 5])).tolist()
    [3, 0]
    """
    order = np.argsort(keys, kind="stable") if time is None else np.lexsort((time, keys))
    last = np.append(keys[order][1:] != keys[order][:-1], True)
    found: Index = order[last[: len(keys)]]
    return found
