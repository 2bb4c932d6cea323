"""Negatives: items that a user did not take, drawn as often as their popularity suggests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.errors import DataError

__all__ = ["sample_negatives"]

#: Rounds of drawing and rejecting; users who still miss some are then served exactly.
ROUNDS = 12

Index = NDArray[np.int64]


def sample_negatives(
    users: Index,
    items: Index,
    popularity: NDArray[np.float64],
    per_positive: int,
    alpha: float,
    seed: int,
) -> tuple[Index, Index]:
    """Draw negatives for positive pairs (Mikolov et al. 2013, section 2.2: popularity to a power).

    Args:
        users: shape ``(n_positives,)``: each positive's user.
        items: shape ``(n_positives,)``: each positive's item, a position in ``popularity``.
        popularity: shape ``(n_items,)``, ≥ 0; an item with 0 is never drawn.
        per_positive: negatives for each different positive of a user.
        alpha: the power; 0 = all items alike.
        seed: of the draw.

    Returns:
        Users and items of the negatives, sorted by user and item. None is a positive of its user,
        none comes twice; a user gets fewer only when no other item is left.

    Raises:
        DataError: a popularity that is negative or not finite, or no item with any.

    >>> u, i = sample_negatives(np.array([0, 1]), np.array([2, 0]), np.ones(3), 2, 0.75, seed=0)
    >>> u.tolist(), i.tolist()
    ([0, 0, 1, 1], [0, 1, 1, 2])
    """
    if not (np.isfinite(popularity).all() and (popularity >= 0).all() and popularity.any()):
        raise DataError("Popularity must be finite, ≥ 0 and not 0 for all items.")
    n_items = len(popularity)
    weight = np.where(popularity > 0, np.power(np.maximum(popularity, 1e-300), alpha), 0.0)
    bounds = np.cumsum(weight) / weight.sum()
    positive = _distinct(users * n_items + items)
    owners = _distinct(positive // n_items)
    place = np.searchsorted(owners, positive // n_items)
    counts = np.bincount(place, minlength=len(owners))
    can = weight[positive % n_items] > 0
    left = int((weight > 0).sum()) - np.bincount(place[can], minlength=len(owners))
    needed = np.minimum(counts * per_positive, left)
    draws = stream(seed, "negatives")
    taken = np.empty(0, np.int64)
    for _ in range(ROUNDS):
        have = np.bincount(np.searchsorted(owners, taken // n_items), minlength=len(owners))
        missing = needed - have
        if not missing.any():
            break
        who = np.repeat(owners, missing)
        what = np.searchsorted(bounds, draws.random(len(who)), side="right")
        drawn = who * n_items + np.minimum(what, n_items - 1)
        drawn = drawn[~_among(drawn, positive)]
        taken = _distinct(np.concatenate([taken, drawn]))
    have = np.bincount(np.searchsorted(owners, taken // n_items), minlength=len(owners))
    exact = [
        _exact(int(owners[i]), int(needed[i] - have[i]), weight, (positive, taken), draws)
        for i in np.flatnonzero(needed > have)
    ]
    taken = np.sort(np.concatenate([taken, *exact]))
    return taken // n_items, taken % n_items


def _distinct(values: Index) -> Index:
    """Return the different values, sorted (for so many, faster than ``np.unique``)."""
    values = np.sort(values)
    new: NDArray[np.bool_] = np.append(True, values[1:] != values[:-1])[: len(values)]
    return values[new]


def _among(values: Index, known: Index) -> NDArray[np.bool_]:
    """Tell which values are in ``known`` (sorted)."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    found: NDArray[np.bool_] = (
        known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    )
    return found


def _exact(
    user: int,
    n: int,
    weight: NDArray[np.float64],
    excluded: tuple[Index, ...],
    draws: np.random.Generator,
) -> Index:
    """Draw ``n`` items by weight without repeats (exponential keys: Efraimidis & Spirakis 2006)."""
    keys = np.full(len(weight), np.inf)
    np.divide(draws.exponential(size=len(weight)), weight, out=keys, where=weight > 0)
    for pairs in excluded:
        low, high = np.searchsorted(pairs, [user * len(weight), (user + 1) * len(weight)])
        keys[pairs[low:high] % len(weight)] = np.inf
    return user * len(weight) + np.argpartition(keys, n - 1)[:n]
