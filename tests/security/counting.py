"""What other processes do to the counters."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from recprune.security import Caller, Limits, Rates
from recprune.security.shared_counters import SharedCounters


def spend(folder: Path, limit: str, times: int, file: Path) -> None:
    """Ask so often, and write how often it was granted."""
    rates = Rates(Limits((limit,), (), ()), folder / "limits")
    caller = Caller("shop", frozenset(), "key")
    granted = sum(rates.request("192.0.2.1", caller) == 0 for _ in range(times))
    file.write_text(str(granted))


def hold(file: Path, ready: Path) -> None:
    """Take the lock and keep it until killed."""
    counters = SharedCounters(file)
    fcntl.flock(counters._handle, fcntl.LOCK_EX)
    ready.touch()
    time.sleep(600)


def count_forever(file: Path) -> None:
    """Count until killed."""
    counters = SharedCounters(file)
    while True:
        counters.incr("busy", 3600)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    paths = [Path(w) for w in words]
    if what == "hold":
        hold(*paths)
    else:
        count_forever(*paths)
