"""A million events as they come: consume, score, learn, watch and commit, beside River.

The events are those of ``benchmarks._planted_stream``, as JSON lines in a folder of segments, twelve
fields of text each. Both begin knowing nothing, score an event before they learn from it, and are
compared by what they said then (prequential AUC). Ours reads each segment as ``recprune stream``
does: ids of events remembered, erased users looked for, three dropped columns watched, everything
committed to disk on the way. River's loop parses JSON, predicts and learns, and keeps nothing.

- ``events_vs_river``: events a second, ours ÷ River's, both a first-order logistic regression; a
  DeepFM's figure stands in the detail. River's rate is the best of three by its own AUC.
- ``auc_gap_unbounded``: prequential AUC with room for every value less that with room for a tenth of
  them, beside the memory of the process at each commit. What no choice of rows can mend stands
  beside it: the gap where the values that come most are known beforehand (``gap_in_hindsight``).
- ``drift_delay_events`` and ``false_alarms``: see ``benchmarks._stream_drift``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import recprune as rp
from benchmarks._common import Claim, main
from benchmarks._planted_stream import DROPPED, FIELDS, LABEL, events
from benchmarks._river import RATES, river
from benchmarks._stream_drift import drift_claims
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.streaming import Learning, Pace, StreamSettings, open_stream
from recprune.streaming.rows import row_bytes

#: Of the events: rates and half-lives were chosen on others.
SEED = 4
SEGMENT, REPEATS, QUICK_REPEATS = 50_000, 5, 1
#: Bytes with room for all.
PLENTY = 100_000_000


def measure(quick: bool) -> list[Claim]:
    """Return all claims."""
    n = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        label = write_segments(place / "segments", n)
        begin(place / "lr", rp.LR())
        begin(place / "deepfm", rp.DeepFM(16, (64, 32)))
        claims = [beside_river(place, label, quick), bounded(place, label)]
    return claims + [Claim(**claim) for claim in drift_claims(quick)]


def write_segments(folder: Path, n: int) -> NDArray[np.float32]:
    """Write the events, and return their labels."""
    folder.mkdir()
    labels = []
    for number, frame in enumerate(events(n, seed=SEED, chunk=SEGMENT)):
        frame.write_ndjson(folder / f"{number:06}.jsonl")
        labels.append(frame[LABEL].to_numpy().astype(np.float32))
    return np.concatenate(labels)


def begin(folder: Path, model: Ranker) -> None:
    """Write a model that has learned nothing; it knows the fields by a thousand events."""
    frame = next(events(1000, seed=99)).drop("event_id", *DROPPED)
    roles: Any = {"label": LABEL, "user": "user_id", "item": "item_id"}
    # Of a thousand events an id tells nothing, so that it would not be a field of its own accord.
    ids = {name: {"kind": "categorical"} for name in ("user_id", "item_id")}
    data = rp.Dataset.from_frame(frame, **roles, schema={"fields": ids})
    model.begin(data.split(by="random").train).save(folder)


# In a process of its own: its memory, and its first touch of every kernel, are its own.
OURS = """
import json, sys
from pathlib import Path
from benchmarks.stream import ours
place, model, size, state, source = sys.argv[1:]
print(json.dumps(ours(Path(place), model, int(size), Path(state), source)))
"""


def run_ours(
    place: Path, model: str, size: int, source: str = "segments"
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Run our stream in a process of its own; return what it told, and its logits."""
    with tempfile.TemporaryDirectory(dir=place) as state:
        run = [sys.executable, "-c", OURS, str(place), model, str(size), state, source]
        told = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout
        return json.loads(told.splitlines()[-1]), np.load(Path(state) / "logits.npy")


def ours(
    place: Path, model: str, size: int, state: Path, source: str = "segments"
) -> dict[str, Any]:
    """Learn from all segments, and tell seconds, memory by the way, and figures."""
    settings = StreamSettings(
        id="event_id", shadows=DROPPED, learning=Learning(bytes=size), pace=Pace(commit=250_000)
    )
    warm(place, model, state)
    memory: list[int] = []
    logits: list[NDArray[np.float32]] = []
    with open_stream(
        str(place / source), place / model, state / "state", settings=settings,
        until_end=True, at_commit=lambda _: memory.append(resident()),
    ) as running:  # fmt: skip
        learn = running.learner.learn

        def kept(*given: Any) -> NDArray[np.float32]:
            logits.append(learn(*given))
            return logits[-1]

        running.learner.learn = kept  # type: ignore[assignment, method-assign]
        start = time.perf_counter()
        summary = running.run()
        seconds = time.perf_counter() - start
    np.save(state / "logits.npy", np.concatenate(logits))
    flow = summary.flow
    return {
        "seconds": seconds,
        "events": flow.events,
        "memory": memory,
        "rows": running.learner.rows.capacity,
        "reading_waited": flow.source_waited,
        "learning_waited": flow.learner_waited,
        "counts": dict(summary.counts),
    }


def warm(place: Path, model: str, state: Path) -> None:
    """Let every kernel be compiled and loaded, by a few events."""
    few = state / "few"
    few.mkdir()
    next(events(20_000, seed=5)).write_ndjson(few / "0.jsonl")
    settings = StreamSettings(id="event_id", shadows=DROPPED)
    with open_stream(
        str(few), place / model, state / "warm", settings=settings, until_end=True
    ) as running:
        running.run()


def resident() -> int:
    """Return the bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def beside_river(place: Path, label: NDArray[np.float32], quick: bool) -> Claim:
    """Return the claim of speed."""
    rates = RATES[:1] if quick else RATES
    tried = {rate: river(place / "segments", FIELDS, LABEL, rate) for rate in rates}
    aucs = {rate: auc(label, guess) for rate, (_, guess) in tried.items()}
    best = max(aucs, key=lambda rate: aucs[rate])
    theirs, mine = [], []
    for number in range(QUICK_REPEATS if quick else REPEATS):
        for whose in ("river", "ours")[:: -1 if number % 2 else 1]:
            if whose == "ours":
                mine.append(run_ours(place, "lr", PLENTY))
            else:
                theirs.append(river(place / "segments", FIELDS, LABEL, best)[0]["seconds"])
    ratios = [their / told["seconds"] for their, (told, _) in zip(theirs, mine, strict=True)]
    deep, deep_logits = run_ours(place, "deepfm", PLENTY)
    told, logits = mine[0]
    n = len(label)
    return Claim(
        "events_vs_river",
        statistics.median(ratios),
        "ratio",
        f"river {tried[best][0]['version']} LogisticRegression",
        {
            "events": n,
            "ours_per_second": n / statistics.median(t["seconds"] for t, _ in mine),
            "river_per_second": n / statistics.median(theirs),
            "ratios": ratios,
            "ours_auc": auc(label, logits),
            "river_auc": {str(rate): value for rate, value in aucs.items()},
            "reading_waited": told["reading_waited"],
            "learning_waited": told["learning_waited"],
            "deepfm_per_second": n / deep["seconds"],
            "deepfm_vs_river": statistics.median(theirs) / deep["seconds"],
            "deepfm_auc": auc(label, deep_logits),
        },
    )


def bounded(place: Path, label: NDArray[np.float32]) -> Claim:
    """Return the claim of bounded memory."""
    frames = [pl.read_ndjson(f) for f in sorted((place / "segments").glob("*.jsonl"))]
    values = counted(frames)
    rows = len(values) // 10
    runs = {
        "all": run_ours(place, "lr", PLENTY),
        "tenth": run_ours(place, "lr", rows * row_bytes(1)),
        "fifth": run_ours(place, "lr", 2 * rows * row_bytes(1)),
    }
    in_hindsight(place / "hindsight", frames, values.head(rows))
    runs["hindsight"] = run_ours(place, "lr", PLENTY, "hindsight")
    aucs = {name: auc(label, logits) for name, (_, logits) in runs.items()}
    told = runs["tenth"][0]
    return Claim(
        "auc_gap_unbounded",
        aucs["all"] - aucs["tenth"],
        "difference",
        "the same with room for all",
        {
            "values": len(values),
            "rows": told["rows"],
            "bytes": rows * row_bytes(1),
            "auc": aucs,
            "gap_of_a_fifth": aucs["all"] - aucs["fifth"],
            "gap_in_hindsight": aucs["all"] - aucs["hindsight"],
            "memory_mb": [m // 1_000_000 for m in told["memory"]],
        },
    )


def counted(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Return every field's values, the most frequent first."""
    columns = [
        pl.concat([f.select(pl.col(name).alias("value")) for f in frames])
        .group_by("value")
        .len()
        .with_columns(pl.lit(name).alias("field"))
        for name in FIELDS
    ]
    return pl.concat(columns).sort("len", "field", "value", descending=[True, False, False])


def in_hindsight(folder: Path, frames: list[pl.DataFrame], kept: pl.DataFrame) -> None:
    """Write the events with one id in the place of all that have no room, were it known who comes."""
    folder.mkdir()
    values = {
        n: kept.filter(pl.col("field") == n)["value"].implode() for n in ("user_id", "item_id")
    }
    for number, frame in enumerate(frames):
        columns = [
            pl.when(pl.col(n).is_in(v)).then(pl.col(n)).otherwise(pl.lit("cold")).alias(n)
            for n, v in values.items()
        ]
        frame.with_columns(columns).write_ndjson(folder / f"{number:06}.jsonl")


if __name__ == "__main__":
    main("stream", measure)
