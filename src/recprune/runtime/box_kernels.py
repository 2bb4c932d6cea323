"""What ranking a catalogue does to whole arrays, compiled: each in one pass over memory.

Named axes as in :mod:`recprune.runtime.bounds`, and m asked boxes, E entries of a user's history.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["add_entries", "box_ends", "load"]

F32 = NDArray[np.float32]
Ints = NDArray[np.intp]


@compiled
def box_ends(
    neurons: tuple[F32, F32],
    sums: tuple[F32, F32],
    shift: F32,
    asked: Ints,
    group: Ints,
    linear: int,
    bound: F32,
) -> F32:
    """Shift some boxes; return their neurons' ends, (m, 2H), after a relu.

    Args:
        neurons: upper and lower ends, (B, H) each.
        sums: upper and lower ends of first order and of the dims' sums, (B, 1) or (B, 1 + D) each.
        shift: what is added to each group's boxes, (G, K).
        asked: which boxes, (m,).
        group: every box's, (B,).
        linear: column of the first order in ``shift``.
        bound: of each, what first order and the dims' squares come to at most, (m,), overwritten.
    """
    high, low = neurons
    upper, lower = sums
    hidden = high.shape[1]
    value = np.empty((len(asked), 2 * hidden), np.float32)
    for i in range(len(asked)):
        p = np.uint64(asked[i])
        g = np.uint64(group[p])
        for h in range(hidden):
            value[i, h] = max(high[p, h] + shift[g, h], np.float32(0))
        for h in range(hidden):
            value[i, hidden + h] = max(low[p, h] + shift[g, h], np.float32(0))
        squares = np.float32(0)
        for s in range(1, upper.shape[1]):
            more = shift[g, linear + s]
            largest = max(upper[p, s] + more, -(lower[p, s] + more))
            squares += largest * largest
        bound[i] = upper[p, 0] + shift[g, linear] + np.float32(0.5) * squares
    return value


@compiled
def add_entries(sums: F32, table: F32, entry: Ints, keys: NDArray[Any]) -> None:
    """Add to rows what a user's history has for their value of an item column.

    Args:
        sums: shape (n, K), added to.
        table: what each entry adds, (E, K).
        entry: of each value of the column, and then of a missing one, its entry or −1.
        keys: each row's value, (n,); −1 = missing.
    """
    for r in range(len(sums)):
        at = entry[keys[r]]
        if at >= 0:
            for k in range(sums.shape[1]):
                sums[r, k] += table[at, k]


def load() -> None:
    """Compile both now, or load what was compiled, before a request has to wait for it."""
    one, zero, column = np.zeros((1, 1), np.float32), np.zeros(1, np.intp), np.zeros(1, np.float32)
    box_ends((one, one), (one, one), one, zero, zero, 0, column)
    add_entries(one, one, zero, np.zeros(1, np.int32))
