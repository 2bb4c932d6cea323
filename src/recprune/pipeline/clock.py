"""The time that a search may take."""

from __future__ import annotations

import time

from recprune._support import logger

__all__ = ["Clock"]


class Clock:
    """Runs from its making on, and remembers whether anything was cut short by it.

    Args:
        seconds: that the search may take; None = as long as it needs.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = time.monotonic() + (float("inf") if seconds is None else seconds)
        self.cut_short = False

    def over(self) -> bool:
        """Tell whether the time is over; whoever asks stops then."""
        if not self.cut_short and time.monotonic() > self._end:
            self.cut_short = True
            logger.warning("The search's time is over; it goes on with what it has.")
        return self.cut_short
