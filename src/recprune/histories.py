"""What each user did: histories with the values of item columns, and items seen.

A *cross* field is a user's history with one value of an item column ("bought this category 7
times"). The histories of all users with the values of column ``by`` are one sparse table, row by
row (CSR), shared by every cross field of that column::

    offsets  [0,        2,     3]      user 0 has entries 0 and 1, user 1 has entry 2
    keys     [4,   9,   4]             positions in `values`: ("…", "dairy", …)
    fields   {"times": [7., 1., 2.], "days_since": [3., 80., 12.]}
    defaults {"times": 0., "days_since": nan}        what every other value reads as
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError, nearest
from recprune.texts import text

__all__ = ["CrossTable", "SeenItems"]

Array = NDArray[Any]
IntArray = NDArray[np.int64]
Column = Sequence[Any] | Array


@dataclass(frozen=True, eq=False)
class CrossTable:
    """Users' histories with the values of one item column; see the drawing above.

    Args:
        values: raw values of the item column, as text, without repeats.
        offsets: shape ``(n_users + 1,)``: where each user's entries start.
        keys: shape ``(n_entries,)``: positions in ``values``; none twice for one user.
        fields: cross field → shape ``(n_entries,)``, float32; NaN = missing.
        defaults: cross field → what a value without an entry reads as; not named = missing (NaN).

    Raises:
        DataError: arrays that contradict each other.
    """

    values: tuple[str, ...]
    offsets: IntArray
    keys: NDArray[np.int32]
    fields: Mapping[str, NDArray[np.float32]]
    defaults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_offsets("A cross table's", self.offsets, len(self.keys))
        _check_range("A cross table's keys", self.keys, len(self.values))
        for name, numbers in self.fields.items():
            if numbers.shape != self.keys.shape:
                raise DataError(
                    f"Cross field {name!r} has {len(numbers)} numbers; its keys are {len(self.keys)}."
                )
        for name in self.defaults:
            if name not in self.fields:
                raise DataError(
                    f"'defaults' names the cross field {name!r}.{nearest(name, self.fields)}"
                )
        owner = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        place = np.sort(owner * max(len(self.values), 1) + self.keys)
        if len(place) and not np.diff(place).all():
            raise DataError("A cross table holds one value twice for one user.")

    @classmethod
    def from_entries(
        cls,
        users: Column,
        keys: Column,
        values: Sequence[Any],
        fields: Mapping[str, Column],
        n_users: int,
        defaults: Mapping[str, float] | None = None,
    ) -> CrossTable:
        """Build the table from entries in any order.

        Args:
            users: shape ``(n_entries,)``: each entry's user, 0 to ``n_users - 1``.
            keys: shape ``(n_entries,)``: each entry's position in ``values``.
            values: raw values of the item column.
            fields: cross field → shape ``(n_entries,)``.
            n_users: number of users, those without entries too.
            defaults: see the class.

        >>> t = CrossTable.from_entries([1, 0], [0, 1], ["dairy", "fish"], {"times": [2, 7]}, 2)
        >>> t.offsets.tolist(), t.keys.tolist(), t.fields["times"].tolist()
        ([0, 1, 2], [1, 0], [7.0, 2.0])
        """
        owner, key = np.asarray(users, np.int64), np.asarray(keys, np.int32)
        _check_range("A cross entry's user", owner, n_users)
        order = np.lexsort((key, owner))
        numbers = {n: np.asarray(v, np.float32)[order] for n, v in fields.items()}
        texts = tuple(str(text(v)) for v in values)
        return cls(texts, _offsets(owner, n_users), key[order], numbers, dict(defaults or {}))

    def of_user(self, index: int) -> tuple[NDArray[np.int32], dict[str, NDArray[np.float32]]]:
        """Return one user's keys and numbers, each shape ``(n_entries_of_user,)``."""
        part = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.keys[part], {name: numbers[part] for name, numbers in self.fields.items()}

    def default(self, name: str) -> float:
        """Return what a value without an entry reads as; NaN = missing."""
        return float(self.defaults.get(name, np.nan))


@dataclass(frozen=True, eq=False)
class SeenItems:
    """The items that each user has seen.

    Args:
        items: item ids, as text.
        offsets: shape ``(n_users + 1,)``: where each user's items start.
        index: shape ``(n_seen,)``: positions in ``items``.
    """

    items: tuple[str, ...]
    offsets: IntArray
    index: NDArray[np.int32]

    def __post_init__(self) -> None:
        _check_offsets("The seen items'", self.offsets, len(self.index))
        _check_range("The seen items' positions", self.index, len(self.items))

    @classmethod
    def from_entries(
        cls, users: Column, index: Column, items: Sequence[Any], n_users: int
    ) -> SeenItems:
        """Build it from (user, item position) pairs in any order, repeats allowed.

        >>> SeenItems.from_entries([1, 0, 1, 1], [0, 2, 2, 0], ["a", "b", "c"], 2).of_user(1)
        array([0, 2], dtype=int32)
        """
        owner, position = np.asarray(users, np.int64), np.asarray(index, np.int64)
        _check_range("A seen item's user", owner, n_users)
        _check_range("A seen item's position", position, len(items))
        place = np.unique(owner * max(len(items), 1) + position)
        owner, position = np.divmod(place, max(len(items), 1))
        texts = tuple(str(text(v)) for v in items)
        return cls(texts, _offsets(owner, n_users), position.astype(np.int32))

    def of_user(self, index: int) -> NDArray[np.int32]:
        """Return the positions in ``items`` that this user has seen."""
        return self.index[int(self.offsets[index]) : int(self.offsets[index + 1])]


def _offsets(owner: IntArray, n_users: int) -> IntArray:
    counts = np.bincount(owner, minlength=n_users)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _check_offsets(whose: str, offsets: Array, n_entries: int) -> None:
    sound = offsets.ndim == 1 and len(offsets) > 0 and offsets[0] == 0
    if not sound or offsets[-1] != n_entries or (np.diff(offsets) < 0).any():
        raise DataError(
            f"{whose} offsets must rise from 0 to the number of entries, {n_entries}, "
            "with one more offset than users."
        )


def _check_range(what: str, positions: Array, size: int) -> None:
    if positions.ndim != 1:
        raise DataError(f"{what} must be one-dimensional. Got shape {positions.shape}.")
    if len(positions) and not (positions.min() >= 0 and positions.max() < size):
        raise DataError(f"{what} must be from 0 to {size - 1}.")
