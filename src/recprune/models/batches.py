"""The order in which training sees rows, and their batches: from memory, or a pool at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.scratch import on_disk

__all__ = ["batches_of", "shuffled"]

#: Rows that are shuffled, and held, at once.
POOL = 1 << 20
#: Rows that stay together when pools are drawn: read from disk in one piece.
PIECE = 1 << 12


def shuffled(n: int, draws: np.random.Generator) -> NDArray[Any]:
    """Return an order of ``n`` rows, shape ``(n,)``, in 32 bits where they suffice.

    Up to a million rows, any order is as likely. Beyond, pieces of 4,096 neighbours are dealt to
    pools of a million rows at random, and each pool is shuffled: wherever the rows lie, an epoch
    reads them in long pieces, and the order does not depend on where they lie.

    >>> sorted(shuffled(5, np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4]
    """
    if n <= POOL:
        return draws.permutation(n)
    pieces = draws.permutation(-(-n // PIECE))
    order, filled = np.empty(n, np.int32 if n < 2**31 else np.int64), 0
    for start in pieces * PIECE:
        piece = np.arange(start, min(start + PIECE, n))
        order[filled : filled + len(piece)] = piece
        filled += len(piece)
    for start in range(0, n, POOL):
        draws.shuffle(order[start : start + POOL])
    return order


def batches_of(rows: Rows, order: NDArray[Any], size: int) -> Iterator[tuple[Tensor, Rows]]:
    """Yield the rows in the given order, ``size`` at once, with their positions.

    Rows on disk are read a pool at a time, each pool in the order in which it lies there.
    """
    if not on_disk(rows.codes):
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield _positions(chosen), rows[chosen]
        return
    pool = max(POOL // size, 1) * size
    for first in range(0, len(order), pool):
        yield from _of_pool(rows, order[first : first + pool], size)


def _of_pool(rows: Rows, wanted: NDArray[Any], size: int) -> Iterator[tuple[Tensor, Rows]]:
    at = np.sort(wanted)
    held, place = rows[at], np.searchsorted(at, wanted)
    for start in range(0, len(wanted), size):
        here = place[start : start + size]
        yield _positions(wanted[start : start + size]), held[here]


def _positions(chosen: NDArray[Any]) -> Tensor:
    return torch.from_numpy(chosen.astype(np.int64, copy=False))
