"""How soon a planted drift raises the alarm, and whether anything else does.

The model is a logistic regression that learns one event after the other, from hashed values: the
watch sees nothing of a model but its logits. It begins with what it learned from other events of the
same world, as an artefact would. The false alarms are counted of this model and of two that are off:
too low and too sure by known amounts that are never learned away.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._planted_stream import DROPPED, FIELDS, LABEL, events
from recprune._support import compiled
from recprune.streaming.hashes import hashes
from recprune.streaming.watching import Alarm, Watch, Watching

__all__ = ["drift_claims"]

#: Weights of the model, shared by hash.
WEIGHTS = 1 << 20
EVENTS, DRIFT_AT, MOST_DELAY, RUNS = 1_000_000, 500_000, 50_000, 10
#: Events that the model has learned from before.
BEFORE, BEFORE_SEED = 300_000, 10_000
#: What is wrong with the logits: added to them, and times them.
MISFITS = ((0.0, 1.0), (-0.15, 1.2), (0.1, 0.8))

Logits = NDArray[np.float32]


@dataclass
class Rows:
    """The weights that each event reads, shape ``(fields, n)``."""

    rows: NDArray[np.int64]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """Look up a frame."""
        last = np.uint64(WEIGHTS - 1)
        rows = [hashes(frame[name], salt) & last for salt, name in enumerate(FIELDS, 1)]
        return cls(np.stack(rows).astype(np.int64))

    def __getitem__(self, index: NDArray[np.int64]) -> Rows:
        return Rows(np.ascontiguousarray(self.rows[:, index]))

    def shuffled(self, field: str, order: NDArray[np.int64]) -> Rows:
        """Return the events with one field's values from others."""
        rows, place = self.rows.copy(), FIELDS.index(field)
        rows[place] = rows[place, order]
        return Rows(rows)


@dataclass
class Linear:
    """Logistic regression by AdaGrad."""

    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(WEIGHTS))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.ones(WEIGHTS))

    def score(self, encoded: Rows) -> Logits:
        """Return logits, shape ``(n,)``."""
        return np.asarray(self.weights[encoded.rows].sum(axis=0), np.float32)

    def learn(self, encoded: Rows, label: NDArray[np.float32]) -> Logits:
        """Score each event, then learn from it; return the logits, shape ``(n,)``."""
        logits = np.empty(len(label), np.float32)
        _learn(encoded.rows, label, self.weights, self.squares, logits)
        return logits


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


@dataclass
class Chunk:
    """Events with what the model said of them before it learned them."""

    frame: pl.DataFrame
    label: NDArray[np.float32]
    encoded: Rows
    logits: Logits


@functools.cache
def _before() -> Linear:
    model = Linear()
    for _ in _chunks(model, BEFORE, BEFORE_SEED):
        pass
    return model


def _chunks(model: Linear, *what: Any, **how: Any) -> Iterator[Chunk]:
    for frame in events(*what, **how):
        label = frame[LABEL].to_numpy().astype(np.float32)
        encoded = Rows.of(frame)
        yield Chunk(frame, label, encoded, model.learn(encoded, label))


def _alarms(
    model: Linear, chunks: Iterator[Chunk], misfits: tuple[tuple[float, float], ...]
) -> list[list[Alarm]]:
    """Watch the same events by as many watches as there are models that are off."""
    watches = [Watch(FIELDS, DROPPED, Watching()) for _ in misfits]
    found: list[list[Alarm]] = [[] for _ in misfits]
    for chunk in chunks:
        for watch, alarms, (shift, slope) in zip(watches, found, misfits, strict=True):
            logits = np.float32(slope) * chunk.logits + np.float32(shift)
            users = chunk.frame["user_id"]
            given = (chunk.encoded, model.score, users)
            alarms += watch.add(chunk.frame, chunk.label, logits, *given)
    return found


def drift_claims(quick: bool) -> list[dict[str, Any]]:
    """Return the claims ``drift_delay_events`` and ``false_alarms`` as they are printed.

    ``drift_delay_events`` is the longest delay over all runs and all three columns, one of which
    begins to matter at event 500,000 (effects of standard deviation 0.5 in log-odds); the end of the
    run where there was no alarm. ``false_alarms`` counts all alarms of all kinds in runs in which
    nothing happens, and those before the drift.

    Args:
        quick: a fifth of the events, and two runs of ten, for development.
    """
    parts = 5 if quick else 1
    runs, n, drift_at = 2 if quick else RUNS, EVENTS // parts, DRIFT_AT // parts
    delays: dict[str, list[int]] = {}
    too_early = 0
    for column in DROPPED:
        for seed in range(runs):
            model = copy.deepcopy(_before())
            chunks = _chunks(model, drift_at + MOST_DELAY, seed, drift_at, drifting=column)
            (alarms,) = _alarms(model, chunks, MISFITS[:1])
            too_early += sum(alarm.event < drift_at for alarm in alarms)
            late = [a.event - drift_at for a in alarms if (a.kind, a.field) == ("shadow", column)]
            delays.setdefault(column, []).append(late[0] if late else MOST_DELAY)
    counts: Counter[str] = Counter()
    for seed in range(runs):
        model = copy.deepcopy(_before())
        for alarms in _alarms(model, _chunks(model, n, seed), MISFITS):
            counts.update(f"{alarm.kind} {alarm.field}" for alarm in alarms)
    how = {"runs": runs, "run_length": Watching().run_length}
    return [
        {
            "id": "drift_delay_events",
            "value": float(max(max(of_column) for of_column in delays.values())),
            "unit": "events",
            "peer": None,
            "detail": {"delays": delays, "drift_at": drift_at, **how},
        },
        {
            "id": "false_alarms",
            "value": float(counts.total() + too_early),
            "unit": "alarms",
            "peer": None,
            "detail": {
                "events": n * runs * len(MISFITS),
                "models": [{"shift": shift, "slope": slope} for shift, slope in MISFITS],
                "by_kind": dict(counts),
                "before_the_drift": too_early,
                **how,
            },
        },
    ]
