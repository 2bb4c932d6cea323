"""What all sources of events have in common: partitions, positions, and reading on from one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, TypeVar, overload

from recprune._support import logger
from recprune.errors import RunError

__all__ = ["MOST_BYTES", "PATIENCE", "Patience", "Positions", "Read", "Source", "within"]

T = TypeVar("T")

#: Bytes after which a reading ends, however many events were asked for.
MOST_BYTES = 64 << 20
#: Seconds that a broker may be away.
PATIENCE = 120.0


class Positions(Sequence[str]):
    """Positions that are written when they are asked for: most never are.

    Args:
        n: how many there are.
        at: writes one, 0 ≤ index < n.

    >>> list(Positions(3, lambda i: f"{i:04}"))
    ['0000', '0001', '0002']
    """

    def __init__(self, n: int, at: Callable[[int], str]) -> None:
        self._n, self._at = n, at

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(self._n))]
        if not -self._n <= index < self._n:
            raise IndexError(index)
        return self._at(index % self._n)


@dataclass(frozen=True)
class Read:
    """Events of one partition, in order.

    Args:
        payloads: the bytes of each.
        positions: where to go on after each: opaque texts that ascend as texts do.
        more: whether the reading ended for the bytes it had (:data:`MOST_BYTES`), with more to come
            at once. Where it ends depends on the position alone.
    """

    payloads: Sequence[bytes]
    positions: Sequence[str]
    more: bool = False

    def __len__(self) -> int:
        return len(self.payloads)

    def followed_by(self, other: Read) -> Read:
        """Return both as one reading.

        >>> one, two = Read([b"a"], ["1"]), Read([b"b", b"c"], ["2", "3"])
        >>> both = one.followed_by(two)
        >>> both.payloads, list(both.positions)
        ([b'a', b'b', b'c'], ['1', '2', '3'])
        """
        first, n = self.positions, len(self)
        positions = Positions(
            n + len(other), lambda i: first[i] if i < n else other.positions[i - n]
        )
        return Read([*self.payloads, *other.payloads], positions, other.more)


class Source(Protocol):
    """A log that can be read again from any position: what is read is never taken out of it.

    Nothing is written to the source, and it keeps no position for us: who reads keeps it. All
    methods are called from one thread.
    """

    @property
    def partitions(self) -> tuple[str, ...]:
        """The names of the partitions, sorted; each has an order of its own."""

    def read(self, partition: str, after: str | None, most: int) -> Read:
        """Return the events that come next; fewer than ``most`` = no more are there now.

        Args:
            partition: its name.
            after: the position of the last event that was read; None = from the first one there is.
            most: how many events at most.

        Raises:
            GapError: what comes next is not there any more, or not as it was.
            RunError: the source is away for longer than it may be.
        """

    def waiting(self, partition: str, after: str | None) -> int | None:
        """Return how many events are there after a position, or nearly; None = it cannot be told now.

        It does not wait for a broker that is away.
        """

    def close(self) -> None:
        """Let go of connections and files."""


def within(payloads: Sequence[bytes], most_bytes: int) -> int:
    """Return how many payloads come before so many bytes are reached, the one that does so included.

    >>> within([b"aa", b"bb", b"cc"], 3)
    2
    """
    if sum(map(len, payloads)) <= most_bytes:
        return len(payloads)
    sizes = accumulate(map(len, payloads))
    return next(i for i, size in enumerate(sizes, 1) if size >= most_bytes)


class Patience:
    """Tries again what failed, after ever longer pauses, up to a limit.

    Args:
        what: the source, for the error.
        limit: seconds.
        retries: how often was tried again so far, in all.
    """

    def __init__(self, what: str, limit: float = PATIENCE) -> None:
        self.what, self.limit, self.retries = what, limit, 0

    def call(self, function: Callable[[], T], away: tuple[type[Exception], ...]) -> T:
        """Return what a function returns, once it does so without one of the exceptions ``away``.

        Raises:
            RunError: the limit is reached.
        """
        began, pause = time.monotonic(), 0.05
        while True:
            try:
                return function()
            except away as error:
                gone = time.monotonic() - began
                if gone + pause > self.limit:
                    raise RunError(
                        f"{self.what} has been away for {gone:.0f} s: {error}. Start again when it is "
                        "back: reading goes on where it ended."
                    ) from error
                if pause in (0.05, 2.0):
                    logger.warning("%s is away and is tried again: %s", self.what, error)
            self.retries += 1
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
