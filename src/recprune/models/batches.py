"""The order in which training sees rows, and their batches: from memory, or a pool at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.scratch import on_disk

__all__ = ["Order", "batches_of", "in_windows", "shuffled"]

#: ``order(n, draws)``: an order of n rows, as arrays of their positions.
Order = Callable[[int, np.random.Generator], Iterable[NDArray[Any]]]

#: Rows that are shuffled, and held, at once.
POOL = 1 << 20
#: Rows that stay together when pools are drawn: read from disk in one piece.
PIECE = 1 << 12


def shuffled(n: int, draws: np.random.Generator) -> Iterator[NDArray[Any]]:
    """Yield an order of ``n`` rows, a pool after the other.

    Up to a million rows, any order is as likely. Beyond, pieces of 4,096 neighbours are dealt to
    pools of a million rows at random, and each pool is shuffled: wherever the rows lie, an epoch
    reads them in long pieces, and the order does not depend on where they lie.

    >>> sorted(next(shuffled(5, np.random.default_rng(0))).tolist())
    [0, 1, 2, 3, 4]
    """
    if n <= POOL:
        yield draws.permutation(n)
        return
    waiting, count = [], 0
    for start in draws.permutation(-(-n // PIECE)) * PIECE:
        waiting.append(np.arange(start, min(start + PIECE, n)))
        count += len(waiting[-1])
        if count >= POOL:
            pool, rest = np.split(np.concatenate(waiting), [POOL])
            draws.shuffle(pool)
            yield pool
            waiting, count = [rest], len(rest)
    pool = np.concatenate(waiting)
    draws.shuffle(pool)
    yield pool


def in_windows(key: NDArray[Any], windows: int) -> Order:
    """Return the order by a key, such as time: window after window of it, each shuffled.

    Args:
        key: of each row, shape (n,); rows of the same stay as they stand before they are cut.
        windows: how many of equal size.

    >>> order = in_windows(np.array([9, 1, 8, 2]), 2)(4, np.random.default_rng(0))
    >>> [sorted(window.tolist()) for window in order]
    [[1, 3], [0, 2]]
    """
    ranked = np.argsort(key, kind="stable")

    def order(n: int, draws: np.random.Generator) -> Iterator[NDArray[Any]]:
        for window in np.array_split(ranked, windows):
            yield draws.permutation(window)

    return order


def batches_of(
    rows: Rows,
    order: Iterable[NDArray[Any]],
    size: int,
    done: int = 0,
    part: Callable[[int], slice] = lambda n: slice(0, n),
) -> Iterator[tuple[Tensor, Rows]]:
    """Yield the positions of rows in the given order, ``size`` at once, and a part of the rows.

    Rows on disk are read a pool at a time, each pool in the order in which it lies there.

    Args:
        rows: all rows.
        order: their positions, in arrays of any length.
        size: rows of a batch.
        done: batches that are left out at the beginning.
        part: which part of a batch of n rows is read; default: all.
    """
    for wanted in _cut(order, max(POOL // size, 1) * size, done * size):
        if on_disk(rows.codes):
            yield from _of_pool(rows, wanted, size, part)
        else:
            for start in range(0, len(wanted), size):
                chosen = wanted[start : start + size]
                yield _positions(chosen), rows[chosen[part(len(chosen))]]


def _cut(order: Iterable[NDArray[Any]], length: int, skip: int) -> Iterator[NDArray[Any]]:
    """Yield what follows the first ``skip`` positions, in arrays of one length (the last: less)."""
    waiting = np.empty(0, np.int64)
    for pool in order:
        left = min(skip, len(pool))
        skip -= left
        waiting = np.concatenate([waiting, pool[left:]])
        while len(waiting) >= length:
            yield waiting[:length]
            waiting = waiting[length:]
    if len(waiting):
        yield waiting


def _of_pool(
    rows: Rows, wanted: NDArray[Any], size: int, part: Callable[[int], slice]
) -> Iterator[tuple[Tensor, Rows]]:
    batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    read = [chosen[part(len(chosen))] for chosen in batches]
    at = np.sort(np.concatenate(read))
    held = rows[at]
    for chosen, here in zip(batches, read, strict=True):
        yield _positions(chosen), held[np.searchsorted(at, here)]


def _positions(chosen: NDArray[Any]) -> Tensor:
    return torch.from_numpy(chosen.astype(np.int64, copy=False))
