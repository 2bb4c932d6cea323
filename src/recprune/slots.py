"""Few slots for many codes: those used most of late have one, by counts that decay.

What in-training pruning of embeddings keeps beside a table (ITEP: TorchRec's ``itep_modules.py``): a
count of uses for every code, and the address of its row. There, counts are multiplied by 0.98 at
each pruning, and the threshold is a quantile of a sample of them; here counts halve in a time that is
stated, and the codes with the largest counts have the slots exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["SlotMap"]

IntArray = NDArray[np.int32]

#: Half-lives after which counts are scaled down: by a power of two, so that nothing is rounded.
RESCALED = 256
#: Half-lives after which nothing is left of any count.
FORGOTTEN = 1 << 12


class SlotMap:
    """Which of many codes have one of a few slots.

    Args:
        codes: N, the number of codes; they are 0 to N − 1.
        slots: n, the number of slots; all are empty at first.
        half_life: time after which a use counts half, in the unit of :meth:`advance`; infinity =
            uses count the same for ever.

    Raises:
        ParameterError: a negative number, or a half-life that is not above 0.

    >>> few = SlotMap(codes=5, slots=2, half_life=10)
    >>> few.count([3, 3, 4, 0, 0, 0])
    >>> few.renew().tolist(), few.look_up([0, 3, 4]).tolist()
    ([0, 1], [0, 1, -1])
    >>> few.advance(20)
    >>> few.count([4])
    >>> few.renew().tolist(), few.look_up([0, 3, 4]).tolist()
    ([1], [0, -1, 1])
    """

    def __init__(self, codes: int, slots: int, half_life: float = math.inf) -> None:
        for name, value in (("codes", codes), ("slots", slots)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ParameterError.of(name, "SlotMap", "an int ≥ 0", value)
        if not half_life > 0:
            raise ParameterError.of("half_life", "SlotMap", "a number > 0", half_life)
        self.half_life = float(half_life)
        #: The slot of each code, shape (N,), and the code of each slot, shape (n,); −1 = none.
        self.slot_of: IntArray = np.full(codes, -1, np.int32)
        self.code_of: IntArray = np.full(slots, -1, np.int32)
        # A use counts the more the later it is, and what is read is divided by a present use's
        # weight: so no count is touched but those of the codes that are used.
        self._counts = np.zeros(codes)
        self._now = 0.0

    @property
    def uses(self) -> NDArray[np.float64]:
        """Each code's uses, shape (N,): one counts 2^(−its age / half-life)."""
        return self._counts / self._weight

    @property
    def held(self) -> IntArray:
        """The codes that have a slot, increasing."""
        return np.sort(self.code_of[self.code_of >= 0])

    def look_up(self, codes: Any) -> IntArray:
        """Return the slots of codes, in their shape; −1 = none."""
        found: IntArray = self.slot_of[codes]
        return found

    def count(self, codes: Any) -> None:
        """Count a use, now, of each code; of one that occurs twice, two."""
        np.add.at(self._counts, np.asarray(codes, np.int64).ravel(), self._weight)

    def advance(self, time: float) -> None:
        """Let time pass.

        Raises:
            ParameterError: it is negative.
        """
        if not 0 <= time < math.inf:
            raise ParameterError.of("time", "SlotMap.advance", "a finite number ≥ 0", time)
        self._now += time
        halvings = self._now // self.half_life
        if halvings >= RESCALED:
            self._counts = np.ldexp(self._counts, -int(min(halvings, FORGOTTEN)))
            self._now %= self.half_life

    def renew(self) -> IntArray:
        """Give the slots to the codes used most: the least used are evicted, others admitted.

        Of codes used alike those that have a slot keep it, then the lower code gets one. A code that
        was never used gets none, and none is evicted while slots are empty. Whoever stays keeps its
        slot.

        Returns:
            The slots that stand for another code than before, increasing.
        """
        stays = self._most_used()
        full = np.flatnonzero(self.code_of >= 0)
        out = full[~stays[self.code_of[full]]]
        self.slot_of[self.code_of[out]] = -1
        self.code_of[out] = -1
        admitted = np.flatnonzero(stays & (self.slot_of < 0)).astype(np.int32)
        taken = np.flatnonzero(self.code_of < 0)[: len(admitted)].astype(np.int32)
        self.code_of[taken], self.slot_of[admitted] = admitted, taken
        return taken

    @property
    def _weight(self) -> float:
        return math.pow(2.0, self._now / self.half_life)

    def _most_used(self) -> NDArray[np.bool_]:
        """Return which codes are to have a slot, shape (N,)."""
        counts, has = self._counts, self.slot_of >= 0
        able = has | (counts > 0)
        n = min(len(self.code_of), int(able.sum()))
        if not n:
            return np.zeros(len(counts), bool)
        bar = np.partition(counts, len(counts) - n)[len(counts) - n]
        stays: NDArray[np.bool_] = counts > bar
        tied = np.flatnonzero((counts == bar) & able)
        first = tied[np.argsort(~has[tied], kind="stable")]
        stays[first[: n - int(stays.sum())]] = True
        return stays
