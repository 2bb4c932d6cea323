"""Negatives drawn afresh at every step: exactly, at once for a whole batch, and never a positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.models.retrieval.positives import Window

__all__ = ["NegativeDraws"]

Index = NDArray[np.int64]

#: Weights are whole numbers, so that sums are exact; a user's number times their sum must fit 63
#: bits, and a draw (53 random bits) must reach each.
MOST = 1 << 61
FINEST = 1 << 50


class NegativeDraws:
    """Draws items that a user did not take, as often as their weights say.

    A user's items lie side by side on a line, each as long as its weight, without those that the
    user took. A point drawn on it is moved past the taken items before it, and lies in the item
    that is drawn: nothing is rejected, and no user takes longer than another.

    Args:
        window: what users took.
        power: of an item's popularity, the number of users who took it: its weight. With 0, all
            items are alike, also those that nobody took; else these are never drawn.
    """

    def __init__(self, window: Window, power: float) -> None:
        pairs, starts, n_items = window.pairs, window.starts, window.n_items
        owner, item = np.divmod(pairs, n_items)

        popularity = np.bincount(item, minlength=n_items).astype(np.float64)
        share = popularity**power if power else np.ones(n_items)
        share /= share.sum()
        budget = min(FINEST, MOST // len(starts))
        weight = np.maximum(np.rint(share * budget).astype(np.int64), share > 0)
        self.ends = np.cumsum(weight)
        # Taken weight of all users up to a pair, and where the pair's item would start on its
        # user's line.
        self.taken = np.concatenate([[0], np.cumsum(weight[item])])
        self.starts = starts
        before = self.taken[:-1] - self.taken[starts[owner]]
        place = (self.ends - weight)[item] - before
        self.span = int(self.ends[-1]) + 1
        self.places = owner * self.span + place
        #: The length of each user's line, shape ``(n_users,)``; 0 = took everything.
        self.free = self.ends[-1] - (self.taken[starts[1:]] - self.taken[starts[:-1]])

    def draw(self, users: Index, uniform: NDArray[np.float64]) -> Index:
        """Return an item for each user, shape as ``users``.

        Args:
            users: users with an item left (``free`` > 0).
            uniform: a number in [0, 1) for each.
        """
        free = self.free[users]
        point = np.minimum((uniform * free).astype(np.int64), free - 1)
        passed = np.searchsorted(self.places, users * self.span + point, side="right")
        point += self.taken[passed] - self.taken[self.starts[users]]
        items: Index = np.searchsorted(self.ends, point, side="right")
        return items
