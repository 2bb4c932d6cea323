"""How long calls take, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["paired_latency_us"]

WARM_UP, LEAST_REPEATS, SECONDS = 5, 30, 0.5


def paired_latency_us(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the median time of each call in microseconds.

    The calls take turns, so that a noisy neighbour hits all of them alike; about half a second
    each, at least 30 times, after a warm-up.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    taken: list[list[float]] = [[] for _ in calls]
    start = time.perf_counter()
    while len(taken[0]) < LEAST_REPEATS or time.perf_counter() - start < SECONDS * len(calls):
        for call, times in zip(calls, taken, strict=True):
            before = time.perf_counter()
            call()
            times.append(time.perf_counter() - before)
    return [float(np.median(times)) * 1e6 for times in taken]
