"""The ids of the latest events, so that one that is sent twice counts once; compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.errors import ParameterError

__all__ = ["RememberedIds"]

Ids = NDArray[np.uint64]


class RememberedIds:
    """The hashes of at least the last so many events, in two generations of that many.

    When the younger is full the older is forgotten, so that memory is bounded and nothing has to be
    deleted one by one: between ``least`` and twice as many are remembered.

    Args:
        least: how many events back a repetition is found for certain.

    Raises:
        ParameterError: fewer than one.

    >>> ids = RememberedIds(2)
    >>> ids.add(np.array([7, 8, 7], np.uint64)).tolist()
    [True, True, False]
    >>> ids.add(np.array([8, 9], np.uint64)).tolist(), len(ids)
    ([False, True], 3)
    """

    def __init__(self, least: int) -> None:
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise ParameterError.of("least", "RememberedIds", "an int ≥ 1", least)
        self.least = least
        places = 1 << max(4, (2 * least - 1).bit_length())
        #: In the order in which they came; how many there are.
        self._order: list[Ids] = [np.zeros(least, np.uint64), np.zeros(least, np.uint64)]
        self._count = [0, 0]
        self._places: list[Ids] = [np.zeros(places, np.uint64), np.zeros(places, np.uint64)]

    def __len__(self) -> int:
        return sum(self._count)

    def add(self, ids: Ids) -> NDArray[np.bool_]:
        """Remember ids, and return which are new, shape ``(n,)``."""
        new = np.zeros(len(ids), np.bool_)
        given = np.where(ids == 0, np.uint64(1), ids)  # 0 stands for an empty place
        done = 0
        while done < len(ids):
            older, younger = self._places
            done, self._count[1] = _add(
                given, done, older, younger, self._order[1], self._count[1], new
            )
            if self._count[1] == self.least:
                self._turn()
        return new

    def _turn(self) -> None:
        """Let the younger generation be the older, and forget the older."""
        self._order.reverse()
        self._places.reverse()
        self._count = [self._count[1], 0]
        self._places[1][:] = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what :meth:`restore` goes on from."""
        (older, younger), (m, n) = self._order, self._count
        return {"older": older[:m], "younger": younger[:n]}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        for at, name in enumerate(("older", "younger")):
            known, places = state[name], self._places[at]
            self._count[at] = len(known)
            self._order[at][: len(known)] = known
            places[:] = 0
            _fill(known, places)


@compiled
def _add(
    ids: Ids,
    start: int,
    older: Ids,
    younger: Ids,
    order: Ids,
    count: int,
    new: NDArray[np.bool_],
) -> tuple[int, int]:
    """Add ids from ``start`` on until ``order`` is full; return where it stopped, and its length."""
    mask = np.uint64(len(older) - 1)
    for i in range(start, len(ids)):
        one, known = ids[i], False
        place = one & mask
        while older[place] != 0:
            if older[place] == one:
                known = True
                break
            place = (place + np.uint64(1)) & mask
        if known:
            continue
        place = one & mask
        while younger[place] != 0:
            if younger[place] == one:
                known = True
                break
            place = (place + np.uint64(1)) & mask
        if known:
            continue
        younger[place], order[count], new[i] = one, one, True
        count += 1
        if count == len(order):
            return i + 1, count
    return len(ids), count


@compiled
def _fill(ids: Ids, places: Ids) -> None:
    """Put ids into their places."""
    mask = np.uint64(len(places) - 1)
    for i in range(len(ids)):
        place = ids[i] & mask
        while places[place] != 0:
            place = (place + np.uint64(1)) & mask
        places[place] = ids[i]
