"""How soon a planted drift raises the alarm, and whether anything else does."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._planted_stream import DROPPED, FIELDS, LABEL, events
from recprune._support import compiled
from recprune.streaming.hashes import hashes
from recprune.streaming.watching import Alarm, Watch, Watching

__all__ = ["Linear", "drift_claims", "watched"]

#: Weights of the model, shared by hash.
WEIGHTS = 1 << 20
EVENTS, DRIFT_AT, RUNS = 1_000_000, 500_000, 10


class Linear:
    """A logistic regression that learns one event after the other (AdaGrad, by hashed values).

    Args:
        shift, slope: what is wrong with the logits that it tells, never to be learned away.
    """

    def __init__(self, shift: float = 0.0, slope: float = 1.0) -> None:
        self.shift, self.slope = shift, slope
        self.weights, self.squares = np.zeros(WEIGHTS), np.full(WEIGHTS, 1.0)

    def encode(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """Return each event's weights, shape ``(fields, n)``."""
        last = np.uint64(WEIGHTS - 1)
        rows = [hashes(frame[name], salt) & last for salt, name in enumerate(FIELDS, 1)]
        return np.stack(rows).astype(np.int64)

    def learn(self, encoded: NDArray[np.int64], label: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score each event, then learn from it; return the logits, shape ``(n,)``."""
        logits = np.empty(len(label), np.float32)
        _learn(encoded, label, self.weights, self.squares, logits)
        return self.slope * logits + np.float32(self.shift)


@compiled
def _learn(
    rows: NDArray[np.int64],
    label: NDArray[np.float32],
    weights: NDArray[np.float64],
    squares: NDArray[np.float64],
    logits: NDArray[np.float32],
) -> None:
    for i in range(len(label)):
        z = 0.0
        for row in rows[:, i]:
            z += weights[row]
        logits[i] = z
        slope = 1 / (1 + np.exp(-z)) - label[i]
        for row in rows[:, i]:
            squares[row] += slope * slope
            weights[row] -= 0.1 * slope / np.sqrt(squares[row])


def watched(
    n: int, seed: int, drift_at: int | None = None, model: Linear | None = None, **how: Any
) -> tuple[list[Alarm], Watch, float]:
    """Return the alarms of a stream, what watched it, and seconds of watching.

    Args:
        n, seed, drift_at: of the events.
        model: that learns; None = a new one.
        how: options of :func:`~benchmarks._planted_stream.events` (``drifting``, ``strength``).
    """
    model = model or Linear()
    watch = Watch(FIELDS, DROPPED, Watching(seed=seed))
    alarms: list[Alarm] = []
    seconds = 0.0
    for frame in events(n, seed, drift_at, **how):
        label = frame[LABEL].to_numpy().astype(np.float32)
        logits = model.learn(model.encode(frame), label)
        start = time.perf_counter()
        alarms += watch.add(frame, label, logits, groups=frame["user_id"])
        seconds += time.perf_counter() - start
    return alarms, watch, seconds


def drift_claims(quick: bool) -> list[dict[str, Any]]:
    """Return the claims ``drift_delay_events`` and ``false_alarms``.

    Args:
        quick: a fifth of the events, and three runs, for development.
    """
    return []


if __name__ == "__main__":
    alarms, watch, seconds = watched(300_000, 0)
    print(Counter(a.kind for a in alarms), *alarms, sep="\n")
    for name, value in watch.figures().items():
        print(f"{name:30s} {value:.6f}")
    print("us an event", seconds / 300_000 * 1e6)
