"""An iterator that runs ahead in a thread of its own, by so much and no more."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")

#: Seconds after which a thread that waits looks whether it is still wanted.
LOOK = 0.1


class Ahead(Generic[T]):
    """Iterates over ``source`` in another thread; whoever takes finds up to ``depth`` ready.

    When so many are ready the source waits, so that memory is bounded: that is the back-pressure.
    An exception of the source is raised where the next one would have been taken.

    Args:
        source: what to iterate over; it is told to end by being closed, if it can be.
        depth: most that are ready.

    >>> list(Ahead(iter([1, 2, 3]), 2))
    [1, 2, 3]
    """

    def __init__(self, source: Iterable[T], depth: int) -> None:
        self._source, self._ready = source, queue.Queue[T | BaseException | None](depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Seconds that the source has waited because enough was ready, and the taker for more.
        self.source_waited, self.taker_waited = 0.0, 0.0

    def __iter__(self) -> Iterator[T]:
        self._thread.start()
        try:
            while True:
                began = time.perf_counter()
                one = self._ready.get()
                self.taker_waited += time.perf_counter() - began
                if one is None:
                    return
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            self._stopped.set()
            self._thread.join()

    @property
    def ready(self) -> int:
        """How many are ready now."""
        return self._ready.qsize()

    def _run(self) -> None:
        try:
            for one in self._source:
                if not self._put(one):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 (raised where it is taken)
            self._put(error)

    def _put(self, one: T | BaseException | None) -> bool:
        began = time.perf_counter()
        try:
            while not self._stopped.is_set():
                try:
                    self._ready.put(one, timeout=LOOK)
                    return True
                except queue.Full:
                    continue
            return False
        finally:
            self.source_waited += time.perf_counter() - began
