"""Beyond accuracy: how much of the catalogue is shown, how evenly, how varied, how surprising.

Lists hold item positions, shape ``(n_users, k)``, best first; −1 fills a list that is too short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError

__all__ = [
    "coverage_at_k",
    "diversity",
    "gini",
    "mean_of_lists",
    "novelty",
    "personalisation",
    "popularity_lift",
    "user_coverage",
    "vector_diversity",
]

PerUser = NDArray[np.float64]
#: Numbers held at once where lists are looked up in vectors.
BLOCK = 1 << 22


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
    p = _shares(popularity, "popularity", "novelty")
    counts = _exposure(lists, len(p), "novelty")
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


def popularity_lift(lists: ArrayLike, popularity: ArrayLike, profiles: ArrayLike) -> float:
    """Return by how much more popular the shown items are than what the users took before.

    (G_q − G_p) ÷ G_p, where G_q is the mean over users of the mean popularity of their list, and G_p
    that of the items they took: 0 = as popular, 0.5 = half more (Abdollahpouri et al. 2020, "The
    Connection Between Popularity Bias, Calibration, and Fairness in Recommendation", popularity lift).
    Users with an empty list or without a past are left out of both.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        popularity: share of the users who took each item, in [0, 1], shape ``(n_items,)``.
        profiles: mean popularity of the items that each user took, shape ``(n_users,)``; NaN for a
            user who took none.

    Raises:
        ParameterError: as :func:`mean_of_lists`, a popularity or profile outside [0, 1], or no user
            with a list and a profile above 0.

    User 0 is shown 0.5 and took 0.5, user 1 is shown 0.3 and took 0.1; user 2 is new.

    >>> round(popularity_lift([[0], [1], [0]], [0.5, 0.3], [0.5, 0.1, np.nan]), 4)
    0.3333
    """
    owner = "popularity_lift"
    p = _shares(popularity, "popularity", owner)
    shown = mean_of_lists(lists, p)
    took = np.asarray(profiles, np.float64)
    if took.shape != shown.shape:
        raise ParameterError.of("profiles", owner, f"of shape {shown.shape}", took.shape)
    known = ~np.isnan(shown) & ~np.isnan(took)
    _shares(took[known], "profiles", owner)
    if not took[known].any():
        raise ParameterError.of(
            "profiles", owner, "above 0 for a user whose list is not empty", "no such user"
        )
    return float(shown[known].sum() / took[known].sum() - 1)


def mean_of_lists(lists: ArrayLike, values: ArrayLike) -> PerUser:
    """Return the mean of the items' values in each list, shape ``(n_users,)``; NaN for an empty one.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        values: one number an item, shape ``(n_items,)``.

    Raises:
        ParameterError: lists of another shape, or with positions outside the catalogue, or values
            with another number of axes than one.

    >>> mean_of_lists([[0, 2], [1, -1], [-1, -1]], [1.0, 5.0, 2.0]).tolist()
    [1.5, 5.0, nan]
    """
    of_item = np.asarray(values, np.float64)
    if of_item.ndim != 1:
        raise ParameterError.of("values", "mean_of_lists", "a one-axis array", of_item.shape)
    shown = _inside(lists, len(of_item), "mean_of_lists")
    real = shown >= 0
    total = np.where(real, of_item[np.where(real, shown, 0)], 0.0).sum(axis=1)
    return _per_user(total, real.sum(axis=1))


def diversity(lists: ArrayLike, attributes: ArrayLike) -> PerUser:
    """Return how different the items of each list are, by their attributes: 0 = alike, 1 = nothing
    in common.

    The mean over all pairs of a list's items of their distance, the share of attributes that differ
    (intra-list diversity: Smyth & McClave 2001, "Similarity vs. Diversity", with the distance of
    Hamming). A missing attribute is a value like any other.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        attributes: codes, equal where two items are alike, shape ``(n_items, n_attributes)``.

    Returns:
        shape ``(n_users,)``; NaN for a list of fewer than two items.

    Raises:
        ParameterError: as :func:`coverage_at_k`, or attributes of another shape, or none.

    Items 0 and 1 share one of two attributes, items 0 and 2 none.

    >>> diversity([[0, 1], [0, 2], [1, -1]], [[7, 3], [7, 4], [8, 5]]).tolist()
    [0.5, 1.0, nan]
    """
    codes = np.asarray(attributes)
    if codes.ndim != 2 or not codes.shape[1]:
        raise ParameterError.of(
            "attributes", "diversity", "of shape (n_items, n_attributes)", codes.shape
        )
    shown = _inside(lists, len(codes), "diversity")
    real, at = shown >= 0, np.where(shown >= 0, shown, 0)
    apart = np.zeros(len(shown))
    for i in range(shown.shape[1]):
        for j in range(i):
            differ = (codes[at[:, i]] != codes[at[:, j]]).mean(axis=1)
            apart += differ * (real[:, i] & real[:, j])
    return _per_user(apart, _pairs(real))


def vector_diversity(lists: ArrayLike, vectors: ArrayLike) -> PerUser:
    """Return how different the items of each list are, by their vectors: 0 = one direction.

    The mean over all pairs of a list's items of 1 − the cosine of their vectors (intra-list
    diversity: Zhang & Hurley 2008, "Avoiding Monotony", with the cosine distance), so that 1 is a
    right angle and 2 the opposite. A vector of zeros has cosine 0 with every other.

    Args:
        lists: item positions, shape ``(n_users, k)``.
        vectors: shape ``(n_items, n_dims)``.

    Returns:
        shape ``(n_users,)``; NaN for a list of fewer than two items.

    Raises:
        ParameterError: as :func:`coverage_at_k`, or vectors of another shape or with a number that
            is not finite.

    >>> vector_diversity([[0, 1], [0, 2], [2, -1]], [[1, 0], [2, 0], [0, 3]]).tolist()
    [0.0, 1.0, nan]
    """
    owner = "vector_diversity"
    given = np.asarray(vectors, np.float64)
    if given.ndim != 2:
        raise ParameterError.of("vectors", owner, "of shape (n_items, n_dims)", given.shape)
    if not np.isfinite(given).all():
        raise ParameterError.of("vectors", owner, "finite numbers", "NaN or infinity")
    # Scaled by the largest first, so that no square overflows or vanishes.
    largest = np.abs(given).max(axis=1, initial=0, keepdims=True)
    unit = given / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit /= np.where(length > 0, length, 1)
    own = (length[:, 0] > 0).astype(np.float64)
    shown = _inside(lists, len(given), owner)
    real, at = shown >= 0, np.where(shown >= 0, shown, 0)
    alike = np.empty(len(shown))
    size = max(BLOCK // max(shown.shape[1] * given.shape[1], 1), 1)
    for start in range(0, len(shown), size):
        here = slice(start, start + size)
        total = (unit[at[here]] * real[here, :, None]).sum(axis=1)
        # |Σ v|² counts every pair twice, and every vector with itself.
        alike[here] = ((total**2).sum(axis=1) - (own[at[here]] * real[here]).sum(axis=1)) / 2
    pairs = _pairs(real)
    return _per_user(np.maximum(pairs - alike, 0), pairs)


def _lists(lists: ArrayLike, owner: str) -> NDArray[np.int64]:
    shown = np.asarray(lists)
    if shown.ndim != 2 or (shown.size and shown.dtype.kind not in "iu"):
        raise ParameterError.of(
            "lists", owner, "whole numbers of shape (n_users, k)", f"{shown.shape} {shown.dtype}"
        )
    return shown.astype(np.int64)


def _exposure(lists: ArrayLike, n_items: int, owner: str) -> NDArray[np.int64]:
    """Return how often each item is shown, shape ``(n_items,)``."""
    shown = _inside(lists, n_items, owner)
    return np.bincount(shown[shown >= 0], minlength=n_items).astype(np.int64)


def _inside(lists: ArrayLike, n_items: int, owner: str) -> NDArray[np.int64]:
    """Return lists whose positions are those of a catalogue of ``n_items``."""
    shown = _lists(lists, owner)
    if isinstance(n_items, bool) or not isinstance(n_items, int | np.integer) or n_items < 1:
        raise ParameterError.of("n_items", owner, "a whole number above 0", n_items)
    if shown.size and (shown.max() >= n_items or shown.min() < -1):
        bad = int(shown.max() if shown.max() >= n_items else shown.min())
        raise ParameterError.of("lists", owner, f"positions below {n_items}, or −1", bad)
    return shown


def _shares(values: ArrayLike, name: str, owner: str) -> NDArray[np.float64]:
    """Return numbers in [0, 1], shape ``(n,)``."""
    p = np.asarray(values, np.float64)
    if p.ndim != 1:
        raise ParameterError.of(name, owner, "a one-axis array", f"{p.ndim} axes")
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        raise ParameterError.of(name, owner, "shares in [0, 1]", p[outside][0].item())
    return p


def _pairs(real: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return each list's pairs of items, shape ``(n_users,)``."""
    items = real.sum(axis=1)
    return np.asarray(items * (items - 1) // 2)


def _per_user(total: NDArray[np.float64], count: NDArray[np.int64]) -> PerUser:
    """Divide; NaN where there is nothing to divide by."""
    out = np.full(len(count), np.nan)
    known = count > 0
    out[known] = total[known] / count[known]
    return out
