"""How often values came that have no row: a count-min sketch of bounded bytes that forgets.

Counts are never too low (Cormode & Muthukrishnan 2005, "An improved data stream summary", section
3), only the least of a key's four counters rise (Estan & Varghese 2002, "conservative update"), and
all are halved at intervals, so that a count speaks of late (TinyLFU: Einziger, Friedman & Manes
2017, section 3.3). A key's counters lie in one cache line, as in Caffeine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.streaming.keys import home

__all__ = ["Counters", "add", "estimate", "halve", "new_sketch"]

Counters = NDArray[np.uint16]

#: Counters that share a cache line.
BLOCKED = 32
FULL = 65535
THREE, SEVEN = np.uint64(3), np.uint64(7)


def new_sketch(counters: int) -> Counters:
    """Return a sketch of about so many counters, two bytes each."""
    return np.zeros(max(counters // BLOCKED, 1) * BLOCKED, np.uint16)


@compiled
def estimate(key: Any, counters: Counters) -> Any:
    """Return how often a key was counted, or more."""
    line = home(key, len(counters) // BLOCKED) * BLOCKED
    least: Any = FULL
    for j in range(4):
        at = line + 8 * j + np.int64((key >> (THREE * np.uint64(j))) & SEVEN)
        least = min(least, np.int64(counters[at]))
    return least


@compiled
def add(key: Any, counters: Counters) -> Any:
    """Count a key and return :func:`estimate`; only the least of its counters rise."""
    line = home(key, len(counters) // BLOCKED) * BLOCKED
    now = min(estimate(key, counters) + 1, FULL)
    for j in range(4):
        at = line + 8 * j + np.int64((key >> (THREE * np.uint64(j))) & SEVEN)
        if counters[at] < now:
            counters[at] = now
    return now


@compiled
def halve(counters: Counters) -> None:
    """Let every count so far count half, rounded down: what came once is forgotten."""
    for j in range(len(counters)):
        counters[j] >>= 1
