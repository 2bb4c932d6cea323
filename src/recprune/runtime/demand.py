"""When to load numba: NumPy answers first."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from recprune._support import logger
from recprune.runtime.fused import Fused

__all__ = ["OnDemand"]

#: A row by NumPy takes about a microsecond longer than by the kernels, and a call as long as so
#: many rows. Loading numba and its kernels takes half a second, so much work later it has paid.
CALL, ENOUGH = 20, 500_000


class OnDemand:
    """The compiled forward pass, made once there was enough work that it pays.

    Loading numba takes half a second (and, once on a machine, some seconds to compile the kernels,
    which are then kept). So it waits until the rows answered, with 20 for each call, add up to
    500,000: whoever pays late has lost at most as much again by waiting. The count alone decides,
    not the clock: the same requests in the same order get the same bytes.

    Args:
        make: makes the pass; nothing is compiled until it is called.
    """

    def __init__(self, make: Callable[[], Fused]) -> None:
        self._make, self._work = make, 0
        self._lock = threading.Lock()
        self._made: Fused | None = None
        self._missing = False

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays; 0 before it is made."""
        return 0 if self._made is None else self._made.nbytes

    def after(self, rows: int) -> Fused | None:
        """Return the pass if it is there, or if so many rows more make it pay; else None."""
        if self._made is None and not self._missing:
            self._work += CALL + rows
            # While one thread loads, NumPy answers the others.
            if self._work >= ENOUGH and self._lock.acquire(blocking=False):
                try:
                    self._load()
                finally:
                    self._lock.release()
        return self._made

    def ready(self, rows: int) -> bool:
        """Return whether it is there, or so many rows more make it pay: numba is loaded then."""
        return self.after(rows) is not None

    def load(self) -> bool:
        """Make the pass now; return whether it is there, which it never is without numba."""
        with self._lock:
            self._load()
        return self._made is not None

    def _load(self) -> None:
        if self._made is not None or self._missing:
            return
        try:
            fused = self._make()
            for n in (1, fused.few + 1):
                # Code 0 is a row of every table.
                codes = np.zeros((n, fused.slots), np.int32)
                fused(codes, np.zeros((n, fused.shares), np.float32))
            self._made = fused
        except ImportError as error:
            logger.info("numba cannot be loaded, NumPy goes on answering: %s", error)
            self._missing = True
