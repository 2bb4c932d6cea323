"""The k best of many scores, exactly, with one rule for ties."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["top_k"]


def top_k(
    scores: NDArray[np.floating[Any]], k: int, exclude: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.int64]:
    """Return the positions of the ``k`` highest scores, best first; ties by position.

    Args:
        scores: shape ``(n_items,)``; NaN ranks last.
        k: how many; fewer come back when fewer are left.
        exclude: positions that may not be returned.

    Raises:
        ParameterError: ``k`` is not a positive whole number.

    >>> top_k(np.array([0.5, 0.9, 0.5, 0.1]), 3).tolist()
    [1, 0, 2]
    >>> top_k(np.array([0.5, 0.9, 0.5, 0.1]), 3, exclude=np.array([1])).tolist()
    [0, 2, 3]
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError.of("k", "top_k", "a whole number above 0", k)
    cost = np.negative(scores)
    allowed = np.arange(len(cost))
    if exclude is not None and len(exclude):
        mask = np.ones(len(cost), bool)
        mask[exclude] = False
        allowed = np.flatnonzero(mask)
        cost = cost[allowed]
    if k < len(cost):
        # NaN sorts last in a partition; equal costs at the edge are all kept, then cut by position.
        edge = np.partition(cost, k - 1)[k - 1]
        near = np.flatnonzero(cost <= edge) if edge == edge else np.arange(len(cost))
        allowed, cost = allowed[near], cost[near]
    return allowed[np.argsort(cost, kind="stable")[:k]]
