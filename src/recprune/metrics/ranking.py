"""Metrics of top-k lists against what each user found relevant.

All take *hits*: is the item at this place of this user's list relevant? A drawn batch, k = 4::

    place        1      2      3      4
    user 0    [[ True, False,  True, False],   n_relevant [2,   both found
    user 1     [False, False, False,  True],               3,   one of three
    user 2     [False, False, False, False],               1,   none
    user 3     [False, False, False, False]]               0]   nothing to find: NaN

and give one value a user, NaN for a user without relevant items: the caller takes the mean of the
others and *says how many were skipped*. Gain is 0 or 1; docs/metrics.md has a table of how
other libraries' definitions differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError

__all__ = [
    "hit_rate_at_k",
    "hits_of_lists",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
]

PerUser = NDArray[np.float64]


def recall_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return the share of a user's relevant items that the first k places hold.

    Args:
        hits: bool, shape ``(n_users, n_places)``, best place first.
        n_relevant: relevant items of each user, in the list or not, shape ``(n_users,)``.
        k: places that count; default all, one at least. Above ``n_places``, the missing places are
            no hits.

    Returns:
        shape ``(n_users,)``; NaN where ``n_relevant`` is 0.

    Raises:
        ParameterError: shapes differ, k is below 1, a hit is neither 0 nor 1, or a user has more
            hits than relevant items.

    User 0 finds 2 of 2, user 1 finds 1 of 3, user 2 none of 1; user 3 has nothing to find.

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> recall_at_k(hits, [2, 3, 1, 0]).round(3).tolist()
    [1.0, 0.333, 0.0, nan]
    """
    found, relevant, _ = _checked(hits, n_relevant, k, "recall_at_k")
    return _share(found.sum(axis=1), relevant, relevant)


def precision_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return the share of the k places that are hits; parameters as in :func:`recall_at_k`.

    The divisor is k, also for lists that are shorter.

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> precision_at_k(hits, [2, 3, 1, 0]).tolist()
    [0.5, 0.25, 0.0, nan]
    """
    found, relevant, k = _checked(hits, n_relevant, k, "precision_at_k")
    return _share(found.sum(axis=1), np.full(len(found), k), relevant)


def hit_rate_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return 1 for a user with a hit, else 0; parameters as in :func:`recall_at_k`.

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> hit_rate_at_k(hits, [2, 3, 1, 0]).tolist()
    [1.0, 1.0, 0.0, nan]
    """
    found, relevant, _ = _checked(hits, n_relevant, k, "hit_rate_at_k")
    return _share(found.any(axis=1), np.ones(len(found)), relevant)


def mrr_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return 1 / place of the first hit, 0 without one; parameters as in :func:`recall_at_k`.

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> mrr_at_k(hits, [2, 3, 1, 0]).tolist()
    [1.0, 0.25, 0.0, nan]
    """
    found, relevant, _ = _checked(hits, n_relevant, k, "mrr_at_k")
    if not found.shape[1]:
        return _share(np.zeros(len(found)), np.ones(len(found)), relevant)
    return _share(found.any(axis=1), found.argmax(axis=1) + 1, relevant)


def map_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return Σ over hits of the precision at their place, ÷ min(n_relevant, k).

    Parameters as in :func:`recall_at_k`.

    User 0: (1/1 + 2/3) / 2; user 1: (1/4) / 3.

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> map_at_k(hits, [2, 3, 1, 0]).round(4).tolist()
    [0.8333, 0.0833, 0.0, nan]
    """
    found, relevant, k = _checked(hits, n_relevant, k, "map_at_k")
    precisions = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    return _share((precisions * found).sum(axis=1), np.minimum(relevant, k), relevant)


def ndcg_at_k(hits: ArrayLike, n_relevant: ArrayLike, k: int | None = None) -> PerUser:
    """Return Σ over hits of 1 / log2(place + 1), ÷ the same of the best possible list.

    The best possible list has hits at its first min(n_relevant, k) places (Järvelin & Kekäläinen
    2002, "Cumulated gain-based evaluation of IR techniques", with binary gain). Parameters as in
    :func:`recall_at_k`.

    User 0: (1 + 1/2) / (1 + 0.631); user 1: 0.431 / (1 + 0.631 + 0.5).

    >>> hits = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> ndcg_at_k(hits, [2, 3, 1, 0]).round(4).tolist()
    [0.9197, 0.2021, 0.0, nan]
    """
    found, relevant, k = _checked(hits, n_relevant, k, "ndcg_at_k")
    # Places beyond the most relevant items of any user are never in a best list.
    reach = max(found.shape[1], int(min(k, relevant.max(initial=0))))
    discount = 1 / np.log2(np.arange(2, reach + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    return _share(
        found @ discount[: found.shape[1]], ideal[np.minimum(relevant, k).astype(int)], relevant
    )


def hits_of_lists(
    lists: NDArray[np.integer], relevant: NDArray[np.bool_] | list[NDArray[np.integer]]
) -> NDArray[np.bool_]:
    """Return which places of the lists hold a relevant item, shape ``(n_users, k)``.

    Args:
        lists: item positions, shape ``(n_users, k)``; −1 fills a list that is too short.
        relevant: each user's relevant item positions (−1, an item outside the catalogue, is in no
            list), or a table ``(n_users, n_items)`` of bools.

    Raises:
        ParameterError: not one entry of ``relevant`` for each list, or a list with a position
            outside the table.

    >>> hits_of_lists(np.array([[4, 2], [1, -1]]), [np.array([2, 9]), np.array([3])]).tolist()
    [[False, True], [False, False]]
    """
    if len(lists) != len(relevant):
        raise ParameterError.of(
            "relevant", "hits_of_lists", f"of {len(lists)} users, as the lists", len(relevant)
        )
    real = lists >= 0
    if isinstance(relevant, np.ndarray):
        if lists.size and lists.max() >= relevant.shape[1]:
            raise ParameterError.of(
                "lists", "hits_of_lists", f"positions below {relevant.shape[1]}", int(lists.max())
            )
        return np.take_along_axis(relevant, np.where(real, lists, 0), axis=1).astype(bool) & real
    # One lookup for all users: the pair (user, item) as one number.
    sizes = np.fromiter(map(len, relevant), np.int64, len(relevant))
    none = np.empty(0, np.int64)
    items = np.concatenate([none, *relevant], dtype=np.int64, casting="unsafe")
    width = 1 + max(int(lists.max(initial=0)), int(items.max(initial=0)))
    owners = np.repeat(np.arange(len(relevant)), sizes)
    # A position of −1 would be the last item of the user before.
    pairs = np.sort((owners * width + items)[items >= 0])
    if not len(pairs):
        return np.zeros(lists.shape, bool)
    asked = lists.astype(np.int64) + width * np.arange(len(lists))[:, None]
    place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    found: NDArray[np.bool_] = (pairs[place] == asked) & real
    return found


def _checked(
    hits: ArrayLike, n_relevant: ArrayLike, k: int | None, owner: str
) -> tuple[NDArray[np.bool_], NDArray[np.int64], int]:
    found, relevant = np.asarray(hits), np.asarray(n_relevant)
    if found.ndim != 2:
        raise ParameterError.of("hits", owner, "of shape (n_users, n_places)", found.shape)
    if relevant.shape != found.shape[:1]:
        raise ParameterError.of("n_relevant", owner, f"of shape {found.shape[:1]}", relevant.shape)
    if k is None:
        k = max(found.shape[1], 1)
    elif isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError.of("k", owner, "a whole number above 0", k)
    if found.dtype != bool:
        rule = "an array of bool, or of 0 and 1"
        if found.size and found.dtype.kind not in "iuf":
            raise ParameterError.of("hits", owner, rule, f"an array of {found.dtype}")
        other = (found != 0) & (found != 1)
        if other.any():
            raise ParameterError.of("hits", owner, rule, found[other][0].item())
        found = found.astype(bool)
    if relevant.size and relevant.dtype.kind not in "iuf":
        raise ParameterError.of(
            "n_relevant", owner, "whole numbers", f"an array of {relevant.dtype}"
        )
    if not np.isfinite(relevant).all():
        raise ParameterError.of("n_relevant", owner, "whole numbers", "NaN or infinity")
    whole = relevant.astype(np.int64)
    if (whole != relevant).any() or (found.sum(axis=1) > whole).any() or (whole < 0).any():
        raise ParameterError(
            f"The 'n_relevant' parameter of {owner} must count all of a user's relevant items, "
            "so it cannot be below the user's hits. Count the relevant items outside the list too."
        )
    return found[:, :k], whole, int(k)


def _share(top: ArrayLike, bottom: ArrayLike, relevant: NDArray[np.int64]) -> PerUser:
    """Divide; NaN for users with nothing to find, whatever stands above or below the line."""
    out = np.full(len(relevant), np.nan)
    known = relevant > 0
    out[known] = np.asarray(top, np.float64)[known] / np.asarray(bottom, np.float64)[known]
    return out
