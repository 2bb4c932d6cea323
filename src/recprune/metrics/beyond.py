"""Beyond accuracy: how much of the catalogue is shown, how evenly, and how surprising it is.

Lists hold item positions, shape ``(n_users, k)``, best first; −1 fills a list that is too short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError

__all__ = ["coverage_at_k", "gini", "novelty", "personalisation", "user_coverage"]


def coverage_at_k(lists: ArrayLike, n_items: int) -> float:
    """Return the share of the catalogue that is in any user's list.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        n_items: items in the catalogue.

    Raises:
        ParameterError: lists of another shape, or with positions outside the catalogue.

    Items 0, 1, 2 of five are shown.

    >>> coverage_at_k([[0, 1], [0, 2], [1, 0], [2, -1]], 5)
    0.6
    """
    return float(np.count_nonzero(_exposure(lists, n_items, "coverage_at_k")) / n_items)


def user_coverage(lists: ArrayLike) -> float:
    """Return the share of users whose list is not empty.

    Args:
        lists: item positions, shape ``(n_users, k)``.

    Raises:
        ParameterError: lists of another shape.

    The last user got nothing.

    >>> user_coverage([[0, 1], [0, 2], [1, -1], [-1, -1]])
    0.75
    """
    shown = _lists(lists, "user_coverage")
    return float((shown >= 0).any(axis=1).mean()) if len(shown) else 0.0


def gini(lists: ArrayLike, n_items: int) -> float:
    """Return the Gini coefficient of exposure: 0 = all items shown equally often, near 1 = one.

    With x the counts of all items in increasing order: Σ (2i − n − 1) x_i ÷ (n Σ x).

    Args:
        lists: item positions, shape ``(n_users, k)``.
        n_items: items in the catalogue; those never shown count as zero.

    Raises:
        ParameterError: as :func:`coverage_at_k`, or no list holds an item.

    Two of four items are shown twice each, the others never.

    >>> gini([[0, 1], [1, 0]], 4)
    0.5
    """
    counts = np.sort(_exposure(lists, n_items, "gini"))
    if not counts.sum():
        raise ParameterError.of("lists", "gini", "lists with items in them", "empty lists")
    place = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((place @ counts) / (n_items * counts.sum()))


def novelty(lists: ArrayLike, popularity: ArrayLike) -> float:
    """Return the mean of −log2 popularity over all shown items, in bits.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        popularity: share of the users who took each item, in (0, 1], shape ``(n_items,)``.

    Raises:
        ParameterError: as :func:`coverage_at_k`, no list holds an item, a popularity is outside
            [0, 1], or a shown item has popularity 0 (count such an item as taken once).

    Shown twice: an item that half of the users took (1 bit); once each: of a quarter and an
    eighth (2 and 3 bits).

    >>> novelty([[0, 1], [0, 2]], [0.5, 0.25, 0.125])
    1.75
    """
    p = np.asarray(popularity, np.float64)
    if p.ndim != 1:
        raise ParameterError.of("popularity", "novelty", "a one-axis array", f"{p.ndim} axes")
    counts = _exposure(lists, len(p), "novelty")
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        raise ParameterError.of("popularity", "novelty", "shares in [0, 1]", p[outside][0].item())
    shown = counts > 0
    if not shown.any():
        raise ParameterError.of("lists", "novelty", "lists with items in them", "empty lists")
    if (p[shown] == 0).any():
        first = int(np.flatnonzero(shown & (p == 0))[0])
        raise ParameterError.of(
            "popularity",
            "novelty",
            "above 0 for every shown item (count one that nobody took as taken once)",
            f"0 for item {first}",
        )
    return float(np.average(-np.log2(p[shown]), weights=counts[shown]))


def personalisation(lists: ArrayLike, n_items: int) -> float:
    """Return 1 − the mean overlap of two users' lists: 0 = all the same, 1 = none in common.

    The overlap of two lists is their common items ÷ k, the mean is over all pairs of users; it
    is counted by items, so no pair is looked at.

    Args:
        lists: item positions without repeats in a list, shape ``(n_users, k)``.
        n_items: items in the catalogue.

    Raises:
        ParameterError: as :func:`coverage_at_k`, or fewer than two users.

    Users 0 and 1 share one of two items, user 2 none with anybody: 1 − (1/2 + 0 + 0) / 3.

    >>> round(personalisation([[0, 1], [1, 2], [3, 4]], 5), 4)
    0.8333
    """
    counts = _exposure(lists, n_items, "personalisation")
    users, k = np.shape(lists)
    if users < 2 or not k:
        raise ParameterError.of(
            "lists", "personalisation", "lists of at least two users", np.shape(lists)
        )
    common = (counts * (counts - 1)).sum() / 2
    return float(1 - common / (k * users * (users - 1) / 2))


def _lists(lists: ArrayLike, owner: str) -> NDArray[np.int64]:
    shown = np.asarray(lists)
    if shown.ndim != 2 or (shown.size and shown.dtype.kind not in "iu"):
        raise ParameterError.of(
            "lists", owner, "whole numbers of shape (n_users, k)", f"{shown.shape} {shown.dtype}"
        )
    return shown.astype(np.int64)


def _exposure(lists: ArrayLike, n_items: int, owner: str) -> NDArray[np.int64]:
    """Return how often each item is shown, shape ``(n_items,)``."""
    shown = _lists(lists, owner)
    if isinstance(n_items, bool) or not isinstance(n_items, int | np.integer) or n_items < 1:
        raise ParameterError.of("n_items", owner, "a whole number above 0", n_items)
    if shown.size and (shown.max() >= n_items or shown.min() < -1):
        bad = int(shown.max() if shown.max() >= n_items else shown.min())
        raise ParameterError.of("lists", owner, f"positions below {n_items}, or −1", bad)
    return np.bincount(shown[shown >= 0], minlength=n_items).astype(np.int64)
