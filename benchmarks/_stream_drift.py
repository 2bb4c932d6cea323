"""How soon a planted drift raises the alarm, and whether anything else does.

The model is a logistic regression that goes on learning from an artefact, as streams do. False alarms
are counted of its own logits and of two that are off: too low and too sure, too high and too unsure,
by known amounts that are never learned away.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._planted_stream import DROPPED, FIELDS, LABEL, events
from recprune import LR, Dataset, Training
from recprune.artifact import Artifact
from recprune.streaming.learner import Learner
from recprune.streaming.watching import Alarm, Watch, Watching

__all__ = ["drift_claims"]

EVENTS, DRIFT_AT, MOST_DELAY = 1_000_000, 500_000, 50_000
#: Runs without a drift, and runs by the column that begins to matter.
RUNS, DRIFTS = 10, {"coupon": 10, "channel": 3, "store": 3}
#: Events that the artefact comes from.
BEFORE, BEFORE_SEED = 200_000, 10_000
BYTES = "64 MB"
#: What is wrong with the logits: added to them, and times them.
MISFITS = ((0.0, 1.0), (-0.15, 1.2), (0.1, 0.8))


@functools.cache
def _reference(rows: int) -> Artifact:
    frame = pl.concat(list(events(rows, BEFORE_SEED))).drop("event_id", *DROPPED)
    data = Dataset.from_frame(frame, label=LABEL, user="user_id", item="item_id").split(by="random")
    return LR(Training(epochs=2)).fit(data.train, data.valid).artifact()


def _alarms(
    reference: Artifact, frames: Iterator[pl.DataFrame], misfits: tuple[tuple[float, float], ...]
) -> list[list[Alarm]]:
    """Learn, and watch the same events by as many watches as there are logits that are off."""
    learner = Learner(reference, bytes=BYTES)
    watches = [Watch(FIELDS, DROPPED, Watching()) for _ in misfits]
    found: list[list[Alarm]] = [[] for _ in misfits]
    for frame in frames:
        label = frame[LABEL].to_numpy().astype(np.float32)
        encoded = learner.encode(frame)
        said: NDArray[np.float32] = learner.learn(encoded, label)
        for watch, alarms, (shift, slope) in zip(watches, found, misfits, strict=True):
            logits = np.float32(slope) * said + np.float32(shift)
            alarms += watch.add(frame, label, logits, encoded, learner.score, frame["user_id"])
    return found


def drift_claims(quick: bool) -> list[dict[str, Any]]:
    """Return the claims ``drift_delay_events`` and ``false_alarms`` as they are printed.

    ``drift_delay_events`` is the longest delay over all runs and all three columns, one of which
    begins to matter at event 500,000 (effects of standard deviation 0.5 in log-odds); 50,000, the end
    of the run, where there was no alarm. ``false_alarms`` counts the alarms of all kinds in runs in
    which nothing happens, and before the drift in the others.

    Args:
        quick: a tenth of the events, and one run of ten, for development.
    """
    parts = 10 if quick else 1
    runs, n, drift_at = 1 if quick else RUNS, EVENTS // parts, DRIFT_AT // parts
    reference = _reference(BEFORE // parts)
    delays: dict[str, list[int]] = {}
    counts: Counter[str] = Counter()
    for column, most in DRIFTS.items():
        for seed in range(min(runs, most)):
            frames = events(drift_at + MOST_DELAY, seed, drift_at, drifting=column)
            (alarms,) = _alarms(reference, frames, MISFITS[:1])
            counts.update(a.kind for a in alarms if a.event < drift_at)
            late = [a.event - drift_at for a in alarms if (a.kind, a.field) == ("shadow", column)]
            delays.setdefault(column, []).append(late[0] if late else MOST_DELAY)
    for seed in range(runs):
        for alarms in _alarms(reference, events(n, seed), MISFITS):
            counts.update(alarm.kind for alarm in alarms)
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
            "value": float(counts.total()),
            "unit": "alarms",
            "peer": None,
            "detail": {
                "events": n * runs,
                "models": [{"shift": shift, "slope": slope} for shift, slope in MISFITS],
                "by_kind": dict(counts),
                **how,
            },
        },
    ]
