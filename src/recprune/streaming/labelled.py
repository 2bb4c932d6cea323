"""Events that count, as everybody but the learner takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Labelled"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Events in order, n of them.

    Args:
        frame: raw columns.
        label: 0 or 1, shape ``(n,)``.
        users, items: a hash of each event's user and item, shape ``(n,)``; of an event without one,
            a hash of the event; None = there are none.
    """

    frame: pl.DataFrame
    label: NDArray[np.float32]
    users: NDArray[np.uint64] | None = None
    items: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def first(self, n: int) -> Labelled:
        """Return the first so many."""
        users, items = (None if a is None else a[:n] for a in (self.users, self.items))
        return Labelled(self.frame.head(n), self.label[:n], users, items)
