"""Negatives: items that a user did not take, drawn as often as their popularity suggests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError, ParameterError

__all__ = ["By", "Drawn", "Negatives", "popularity_of", "sample_negatives"]

By = Literal["popularity", "uniform"]
#: Rounds of drawing and rejecting; users who still miss some are then served exactly.
ROUNDS = 12

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Negatives:
    """How negatives are drawn for a log that holds positives alone.

    Args:
        per_positive: how many for each different item that a user took.
        by: ``"popularity"``: as often as the number of users who took the item, to the power
            ``alpha``; ``"uniform"``: all items alike, as calibration needs it.
        alpha: the power; without effect on ``"uniform"``. With 1, popularity alone tells nothing
            any more; with 0, all items are alike.

    Raises:
        ParameterError: one of them is out of range.

    >>> Negatives(per_positive=2).power, Negatives(by="uniform").power
    (0.75, 0.0)
    """

    per_positive: int = 4
    by: By = "popularity"
    alpha: float = 0.75

    def __post_init__(self) -> None:
        n, alpha = self.per_positive, self.alpha
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1000:
            raise ParameterError.of("per_positive", "Negatives", "an int in [1, 1000]", n)
        if self.by not in get_args(By):
            options = " or ".join(map(repr, get_args(By)))
            raise ParameterError.of("by", "Negatives", options, self.by)
        number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
        if not number or not math.isfinite(alpha) or not 0 <= alpha <= 10:
            raise ParameterError.of("alpha", "Negatives", "a number in [0, 10]", alpha)

    @property
    def power(self) -> float:
        """The power of popularity that items are drawn by."""
        return 0.0 if self.by == "uniform" else float(self.alpha)


class Drawn(NamedTuple):
    """Negatives, sorted by user and item.

    ``unobserved`` counts the pairs that could have been drawn, ``short`` lists the users who got
    fewer than stated, and ``empty`` those of them who got none.
    """

    users: Index
    items: Index
    unobserved: int
    short: Index
    empty: Index


def popularity_of(users: Index, items: Index, n_items: int) -> NDArray[np.float64]:
    """Return how many different users took each item, shape ``(n_items,)``.

    >>> popularity_of(np.array([0, 0, 1]), np.array([2, 2, 2]), 4).tolist()
    [0.0, 0.0, 2.0, 0.0]
    """
    pairs = _distinct(users * n_items + items)
    return np.bincount(pairs % n_items, minlength=n_items).astype(np.float64)


def sample_negatives(
    users: Index,
    items: Index,
    popularity: NDArray[np.float64],
    negatives: Negatives,
    draws: np.random.Generator,
    known: tuple[Index, Index] | None = None,
) -> Drawn:
    """Draw negatives for positive pairs (Mikolov et al. 2013, section 2.2: popularity to a power).

    Args:
        users: shape ``(n_positives,)``: each positive's user, a position in a list.
        items: shape ``(n_positives,)``: each positive's item, a position in ``popularity``.
        popularity: shape ``(n_items,)``, ≥ 0; an item with 0 is never drawn.
        negatives: how many, and the power.
        draws: the random stream.
        known: users and items of further pairs that must not be drawn.

    Returns:
        The negatives. None is a positive of its user or a known pair, and none comes twice; a user
        gets fewer only when no other item is left.

    Raises:
        DataError: a popularity that is negative or not finite, or no item with any.

    >>> some = np.array([0, 1]), np.array([2, 0])
    >>> drawn = sample_negatives(*some, np.ones(3), Negatives(2), np.random.default_rng(0))
    >>> drawn.users.tolist(), drawn.items.tolist(), drawn.unobserved
    ([0, 0, 1, 1], [0, 1, 1, 2], 4)
    """
    if not (np.isfinite(popularity).all() and (popularity >= 0).all() and popularity.any()):
        raise DataError("Popularity must be finite, ≥ 0 and not 0 for all items.")
    if not len(users):
        none = np.empty(0, np.int64)
        return Drawn(none, none, 0, none, none)
    n_items = len(popularity)
    power = negatives.power
    weight = np.where(popularity > 0, np.power(np.maximum(popularity, 1e-300), power), 0.0)
    bounds = np.cumsum(weight) / weight.sum()
    positive = _distinct(users * n_items + items)
    owners = _distinct(positive // n_items)
    counts = _per_owner(positive, owners, n_items)
    barred = positive
    if known is not None:
        own = _among(known[0], owners)
        further = known[0][own] * n_items + known[1][own]
        barred = _distinct(np.concatenate([positive, further]))
    can = barred[weight[barred % n_items] > 0]
    left = int((weight > 0).sum()) - _per_owner(can, owners, n_items)
    wanted = counts * negatives.per_positive
    needed = np.minimum(wanted, left)
    taken = np.empty(0, np.int64)
    for _ in range(ROUNDS):
        missing = needed - _per_owner(taken, owners, n_items)
        if not missing.any():
            break
        who = np.repeat(owners, missing)
        what = np.searchsorted(bounds, draws.random(len(who)), side="right")
        drawn = _distinct(who * n_items + np.minimum(what, n_items - 1))
        drawn = drawn[~_among(drawn, barred)]
        drawn = drawn[~_among(drawn, taken)]
        # Stable: what are two sorted runs is merged, not sorted again.
        taken = np.sort(np.concatenate([taken, drawn]), kind="stable")
    missing = needed - _per_owner(taken, owners, n_items)
    exact = [
        _exact(int(owners[i]), int(missing[i]), weight, (barred, taken), draws)
        for i in np.flatnonzero(missing)
    ]
    taken = np.sort(np.concatenate([taken, *exact]))
    short, empty = owners[needed < wanted], owners[needed == 0]
    return Drawn(taken // n_items, taken % n_items, int(left.sum()), short, empty)


def _distinct(values: Index) -> Index:
    """Return the different values, sorted (for so many, faster than ``np.unique``)."""
    values = np.sort(values)
    new: NDArray[np.bool_] = np.append(True, values[1:] != values[:-1])[: len(values)]
    return values[new]


def _per_owner(pairs: Index, owners: Index, n_items: int) -> Index:
    """Count the pairs of each owner; none is another's."""
    counts: Index = np.bincount(pairs // n_items, minlength=int(owners[-1]) + 1)[owners]
    return counts


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
