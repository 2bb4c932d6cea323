"""What scoring a catalogue does to its rows, compiled: each in one pass over memory.

Named axes as in :mod:`recprune.runtime.items`, and m rows of a batch, H neurons of the first layer,
G groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["enter", "largest", "load"]

F32 = NDArray[np.float32]
Ints = NDArray[np.intp]


@compiled
def enter(
    side: F32,
    rows: Ints,
    shift: F32,
    group: Ints,
    shape: tuple[int, int, int],
    out: tuple[F32, F32],
) -> None:
    """Add what a user adds to some rows; make the first layer's neurons, first order and FM of it.

    Args:
        side: what the items' fields add up to, (R, K).
        rows: which of them, (m,).
        shift: what is added to the rows of a group, biases included, (G, K).
        group: of each of the m rows.
        shape: H, the column of the first order, the end of the columns that are squared.
        out: neurons after a relu, (≥ m, H), and logits, (m,), both overwritten.
    """
    hidden, linear, end = shape
    neurons, logits = out
    first = linear + 1
    fours = first + (end - first) // 4 * 4
    for i in range(len(rows)):
        # Unsigned: no index has to be tested for counting from the end.
        r, g = np.uint64(rows[i]), np.uint64(group[i])
        for h in range(hidden):
            neurons[i, h] = max(side[r, h] + shift[g, h], np.float32(0))
        # Four sums at once, since each waits for its last addition.
        a = b = c = d = np.float32(0)
        for k in range(first, fours, 4):
            p, q = side[r, k] + shift[g, k], side[r, k + 1] + shift[g, k + 1]
            s, t = side[r, k + 2] + shift[g, k + 2], side[r, k + 3] + shift[g, k + 3]
            a += p * p
            b += q * q
            c += s * s
            d += t * t
        for k in range(fours, end):
            p = side[r, k] + shift[g, k]
            a += p * p
        squares = (a + b) + (c + d)
        logits[i] = side[r, linear] + shift[g, linear] + np.float32(0.5) * squares


@compiled
def largest(logits: F32, row_of: Ints, without: NDArray[Any], places: Ints, scores: F32) -> int:
    """Find the best items, best first, ties by position.

    Args:
        logits: of each distinct row, (R,).
        row_of: each item's row, (n,).
        without: positions of the items to leave out.
        places: positions of the best, (k,), overwritten.
        scores: their logits, likewise.

    Returns:
        How many were found; −1 where a logit is no number, which this cannot order.
    """
    closed = np.zeros(len(row_of), np.bool_)
    for i in range(len(without)):
        closed[without[i]] = True
    count, most = 0, len(places)
    for place in range(len(row_of)):
        if closed[place]:
            continue
        score = logits[np.uint64(row_of[place])]
        if score != score:
            return -1
        if count == most:
            # An equal one that came before stays before.
            if score <= scores[most - 1]:
                continue
            at = most - 1
        else:
            at = count
            count += 1
        while at > 0 and scores[at - 1] < score:
            places[at], scores[at] = places[at - 1], scores[at - 1]
            at -= 1
        places[at], scores[at] = place, score
    return count


def load() -> None:
    """Compile both now, or load what was compiled, before a request has to wait for it."""
    one, zero, column = np.zeros((1, 2), np.float32), np.zeros(1, np.intp), np.zeros(1, np.float32)
    enter(one, zero, one, zero, (1, 1, 2), (one.copy(), column))
    largest(column, zero, np.zeros(0, np.int64), zero.copy(), column.copy())
