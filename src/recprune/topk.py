"""The k best of many scores, exactly, with one rule for ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import progress
from recprune.errors import ParameterError

__all__ = ["check_k", "top_k", "top_lists"]

#: Scores held at once.
BLOCK = 1 << 22


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
    check_k(k, "top_k")
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


def top_lists(
    score: Callable[[slice], NDArray[np.floating[Any]]],
    shape: tuple[int, int],
    k: int,
    exclude: Callable[[int], NDArray[np.integer[Any]]] | None = None,
    text: str = "",
) -> NDArray[np.int64]:
    """Return each user's ``k`` items of the highest scores, best first; ties by position.

    Users are scored a block at a time, so that the whole matrix is never held: of 100,000 users and
    100,000 items, 42 users at once (16 MB of float32).

    Args:
        score: some users, as a slice → their scores, shape ``(n_in_slice, n_items)``; NaN ranks last.
        shape: ``(n_users, n_items)``.
        k: how many.
        exclude: a user → positions of items that may not be returned; None = all may.
        text: what a progress bar calls the work; none by default.

    Returns:
        Positions of items, shape ``(n_users, k)``; −1 fills a list that is too short.

    Raises:
        ParameterError: ``k`` is not a positive whole number, or scores of another shape.

    >>> table = np.array([[0.1, 0.7, 0.7], [0.9, 0.2, 0.4]])
    >>> top_lists(lambda users: table[users], table.shape, 2).tolist()
    [[1, 2], [0, 2]]
    >>> top_lists(lambda users: table[users], table.shape, 2, lambda user: np.array([2, user])).tolist()
    [[1, -1], [0, -1]]
    """
    check_k(k, "top_lists")
    n_users, n_items = shape
    lists = np.full((n_users, k), -1, np.int64)
    size = max(BLOCK // max(n_items, 1), 1)
    starts = range(0, n_users, size)
    for start in progress(starts, text, len(starts)) if text else starts:
        here = slice(start, min(start + size, n_users))
        block, expected = np.asarray(score(here)), (here.stop - start, n_items)
        if block.shape != expected:
            raise ParameterError.of("score", "top_lists", f"to give shape {expected}", block.shape)
        for user, scores in enumerate(block, start):
            best = top_k(scores, k, None if exclude is None else exclude(user))
            lists[user, : len(best)] = best
    return lists


def check_k(k: Any, owner: str, name: str = "k") -> None:
    """Refuse what is no number of items.

    Args:
        k: what was given.
        owner: whose parameter it is, for the error.
        name: the parameter's.

    Raises:
        ParameterError: ``k`` is not a positive whole number.
    """
    if type(k) is int and k > 0:  # of nearly all requests
        return
    # NumPy counts durations among the whole numbers.
    odd = isinstance(k, bool | np.timedelta64) or not isinstance(k, int | np.integer)
    if odd or k < 1:
        raise ParameterError.of(name, owner, "a whole number above 0", k)
