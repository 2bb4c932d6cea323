"""What scoring a catalogue does to its rows, compiled: each in one pass over memory.

Named axes as in :mod:`recprune.runtime.items`, and m rows of a batch, H neurons of the first layer,
G groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["enter", "largest", "load", "narrow"]

F32 = NDArray[np.float32]
Ints = NDArray[np.intp]
#: Rows that go through all layers before the next ones: their neurons stay in the nearest cache.
STRIP = 128


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
def narrow(
    columns: F32,
    shift: F32,
    shape: tuple[int, int, int],
    sizes: Ints,
    weights: F32,
    logits: F32,
) -> None:
    """Score rows that stand as columns: :func:`enter`, and then all layers.

    One multiplication is one of many rows, so that few neurons fill the processor's lanes as well as
    many do; and each row's sums are formed in the same order whatever rows stand beside it.

    Args:
        columns: what the rows' fields add up to, (K, m).
        shift: what is added to every row, biases included, (K,).
        shape: as of :func:`enter`.
        sizes: neurons of each layer, the first one's and the last one's, 1, included.
        weights: every later layer's matrix, (H_out, H_in), and bias, in one piece.
        logits: shape (m,), overwritten.
    """
    hidden, linear, end = shape
    n, most = len(logits), sizes.max()
    here, there = np.empty((most, STRIP), np.float32), np.empty((most, STRIP), np.float32)
    squares = np.empty(STRIP, np.float32)
    for low in range(0, n, STRIP):
        m = min(STRIP, n - low)
        for h in range(hidden):
            add = shift[h]
            for i in range(m):
                here[h, i] = max(columns[h, low + i] + add, np.float32(0))
        squares[:] = 0
        for k in range(linear + 1, end):
            add = shift[k]
            for i in range(m):
                p = columns[k, low + i] + add
                squares[i] += p * p
        add = shift[linear]
        for i in range(m):
            logits[low + i] = columns[linear, low + i] + add + np.float32(0.5) * squares[i]
        at = 0
        for layer in range(1, len(sizes)):
            before, after = sizes[layer - 1], sizes[layer]
            fours = before // 4 * 4
            for h in range(after):
                row = at + h * before
                bias = weights[at + before * after + h]
                for i in range(m):
                    there[h, i] = bias
                # Four at once: the sums are then read and written a quarter as often.
                for k in range(0, fours, 4):
                    a, b = weights[row + k], weights[row + k + 1]
                    c, d = weights[row + k + 2], weights[row + k + 3]
                    for i in range(m):
                        there[h, i] += (a * here[k, i] + b * here[k + 1, i]) + (
                            c * here[k + 2, i] + d * here[k + 3, i]
                        )
                for k in range(fours, before):
                    a = weights[row + k]
                    for i in range(m):
                        there[h, i] += a * here[k, i]
                if layer < len(sizes) - 1:
                    for i in range(m):
                        there[h, i] = max(there[h, i], np.float32(0))
            here, there = there, here
            at += (before + 1) * after
        if len(sizes) > 1:
            for i in range(m):
                logits[low + i] += here[0, i]


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
    """Compile them now, or load what was compiled, before a request has to wait for it."""
    one, zero, column = np.zeros((1, 2), np.float32), np.zeros(1, np.intp), np.zeros(1, np.float32)
    enter(one, zero, one, zero, (1, 1, 2), (one.copy(), column))
    largest(column, zero, np.zeros(0, np.int64), zero.copy(), column.copy())
    narrow(one, one[0], (1, 1, 2), np.ones(2, np.intp), np.zeros(2, np.float32), column[:0])
