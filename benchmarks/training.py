"""Training against FuxiCTR, DeepCTR-Torch and torch-rechub; the share of the GEMM peak; memory.

The same rows and the same model for all: DeepFM, 39 categorical fields, dim 16, hidden layers
400-400-400, batches of 4,096, two threads. Ids are skewed (a value's frequency goes as one over its
rank), fields have from some tens to a fifth of all values. Seconds are those of an epoch over rows
in memory, without start-up and validation; ours with all that a user gets by default: unknown
reads, frequency groups, the running mean of the weights.

Memory is the peak of what is resident while training on 20,000,000 rows of an ingested folder over
that on 2,000,000.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks._common import Claim, Timing, main
from benchmarks._training_peers import PEERS, Peer
from recprune import Dataset
from recprune.data import Split, ingest
from recprune.models import DeepFM, Training

FIELDS, DIM, HIDDEN, BATCH, THREADS = 39, 16, [400, 400, 400], 4096, 2
ROUNDS, QUICK_ROUNDS = 5, 1
#: Vocabulary → steps of an epoch.
STEPS = {1_000_000: 50, 20_000: 25}
#: Rows that hold every value of the vocabulary once at least.
ROWS = {1_000_000: 420_000, 20_000: 220_000}
#: A quick run's part of both.
QUICK_PARTS = 10
BLOCK = 500_000

MEMORY = """
import json, sys, threading, time
peaks, phase = {"reading": 0, "training": 0}, "reading"
def watch():
    while True:
        status = open("/proc/self/status").read()
        peaks[phase] = max(peaks[phase], int(status.split("VmRSS:")[1].split()[0]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
import recprune as rp
from recprune.models import DeepFM, Training
data = rp.Dataset.read(sys.argv[1]).split(by="random", seed=0)
start, phase = time.perf_counter(), "training"
DeepFM(4, (16,), Training(epochs=1, batch_size=4096)).fit(data.train)
print(json.dumps({f"{k}_mb": v / 1024 for k, v in peaks.items()} | {"fit_s": time.perf_counter() - start}))
"""


class Timed(DeepFM):
    """Our ranker, which notes when an epoch begins and ends: that is when it would be scored."""

    def epoch(self, rows: Split) -> dict[str, float]:
        """Train one epoch; return its seconds, and those of the processor."""
        marks: list[tuple[float, float]] = []

        def mark() -> float:
            marks.append((time.perf_counter(), time.process_time()))
            return float(len(marks))

        self.held_out = lambda _: mark  # type: ignore[assignment, method-assign]
        self.train_on(rows, valid=rows.take(slice(0, 1)))
        (start, cpu), (end, cpu_end) = marks
        return {"seconds": end - start, "cpu_s": cpu_end - cpu}


def table(total: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values (rows, FIELDS), by rank, and labels; each value occurs, the first ones most."""
    draws = np.random.default_rng(0)
    weights = np.geomspace(1, 3000, FIELDS)
    sizes = np.maximum((weights / weights.sum() * total).astype(int), 4)
    values = np.empty((rows, FIELDS), np.int32)
    logit = np.full(rows, -1.0)
    for i, size in enumerate(sizes):
        rank = np.minimum((size ** draws.random(rows)).astype(np.int64) - 1, size - 1)
        rank[draws.permutation(rows)[:size]] = np.arange(size)
        values[:, i] = rank
        logit += draws.normal(0, 0.4, size)[rank]
    return values, (draws.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)


def split(total: int, steps: int, parts: int = 1) -> Split:
    """Return training rows for so many steps at most, encoded by a vocabulary of ``total``.

    Of a quick run both rows and vocabulary are one of so many parts.
    """
    values, label = table(total // parts, ROWS[total] // parts)
    columns = [pl.Series(f"f{i}", values[:, i]) for i in range(FIELDS)]
    texts = pl.DataFrame(columns).select(
        pl.format("v{}", pl.col(c.name)).alias(c.name) for c in columns
    )
    frame = texts.with_columns(pl.Series("label", label))
    data = Dataset.from_frame(frame, label="label").split(by="random", valid=0.01, test=0.01)
    return data.train.take(slice(0, steps * BATCH))


def speed(total: int, quick: bool) -> list[Claim]:
    """Return the claims of one vocabulary."""
    steps = 2 if quick else STEPS[total]
    rows = split(total, steps, QUICK_PARTS if quick else 1)
    training = Training(epochs=1, batch_size=BATCH)
    ours = Timed(DIM, tuple(HIDDEN), training=training).fit(rows)
    assert isinstance(ours, Timed)
    short = {1_000_000: "1m", 20_000: "20k"}[total]
    with tempfile.TemporaryDirectory() as name:
        np.save(f"{name}/codes.npy", rows.rows.codes)
        np.save(f"{name}/label.npy", rows.label)
        np.save(f"{name}/sizes.npy", np.array(rows.encoder.sizes))
        peers = [Peer(p, Path(name), [THREADS, DIM, HIDDEN, BATCH]) for p in PEERS]
        works = {"ours": lambda: ours.epoch(rows), **{p.name: p.epoch for p in peers}}
        timing, cpu = _alternate(works, QUICK_ROUNDS if quick else ROUNDS)
        for peer in peers:
            peer.close()
    detail = {
        "rows": len(rows),
        "vocabulary": sum(rows.encoder.sizes),
        "rows_per_s": {who: len(rows) / timing.median(who) for who in works},
        "cpu_s": cpu,
        **timing.detail(),
    }
    return [
        Claim(f"train_{short}_vs_{p.name}", timing.ratio(p.name, "ours"), "ratio", p.peer, detail)
        for p in peers
    ]


def _alternate(
    works: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> tuple[Timing, dict[str, float]]:
    """Run the contestants in turn after a warm-up; return what they timed themselves."""
    seconds: dict[str, list[float]] = {who: [] for who in works}
    cpu: dict[str, list[float]] = {who: [] for who in works}
    for number in range(rounds + 1):
        for who in list(works)[:: -1 if number % 2 else 1]:
            told = works[who]()
            if number:
                seconds[who].append(told["seconds"])
                cpu[who].append(told["cpu_s"])
    medians = {who: statistics.median(c) for who, c in cpu.items()}
    return Timing({who: tuple(s) for who, s in seconds.items()}), medians


def gemm(rows: Split) -> Claim:
    """Return the share of the peak at which the hidden layers run, forward and backward."""
    net = DeepFM(DIM, tuple(HIDDEN), training=Training(epochs=0)).fit(rows).net
    inputs = torch.randn(BATCH, FIELDS * DIM, requires_grad=True)
    sizes = [FIELDS * DIM, *HIDDEN]
    work = 3 * 2 * BATCH * sum(a * b for a, b in zip(sizes, [*sizes[1:], 1], strict=True))
    square = torch.randn(2048, 2048)

    def multiply() -> float:
        return 2 * 2048**3 / _seconds(lambda: square @ square)

    def layers() -> float:
        def both() -> None:
            value = inputs
            for layer in net.hidden_layers:
                value = torch.relu(layer(value))
            value.sum().backward()  # type: ignore[no-untyped-call]

        return work / _seconds(both)

    rates = [(multiply(), layers()) for _ in range(ROUNDS)]
    peak, reached = max(r[0] for r in rates), statistics.median(r[1] for r in rates)
    detail = {"peak_gflop_s": peak / 1e9, "reached_gflop_s": reached / 1e9, "step_flop": work}
    return Claim("gemm_share", reached / peak, "share", None, detail)


def _seconds(work: Callable[[], object], calls: int = 5) -> float:
    """Return the fastest of some calls' seconds."""
    took = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def memory(quick: bool) -> Claim:
    """Return the peak resident memory while training on 20 million rows over that on two million.

    Pages of files that are mapped count. The peak of reading and splitting stands in the detail.
    """
    scale = 100 if quick else 1
    found = {}
    for rows in (2_000_000 // scale, 20_000_000 // scale):
        with tempfile.TemporaryDirectory() as name:
            _write(rows, Path(name) / "table.parquet")
            folder = ingest(Path(name) / "table.parquet", Path(name) / "data.rp", label="label")
            run = [sys.executable, "-c", MEMORY, str(folder)]
            found[f"{rows:,} rows"] = json.loads(subprocess.check_output(run, text=True))
    low, high = (f["training_mb"] for f in found.values())
    return Claim("peak_memory_20m_over_2m", high / low, "ratio", None, found)


def _write(rows: int, path: Path) -> None:
    draws = np.random.default_rng(0)
    parts = []
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        ranks = [(s ** draws.random(n)).astype(np.int64) for s in (20, 500, 5_000, 50_000)]
        columns = {f"f{i}": pl.Series(r) for i, r in enumerate(ranks)}
        part = pl.DataFrame(columns).select(pl.format("v{}", pl.col(c)).alias(c) for c in columns)
        label = (draws.random(n) < 0.1 + 0.5 / ranks[1]).astype(np.int8)
        numbers = {f"x{i}": draws.normal(size=n).astype(np.float32) for i in range(2)}
        parts.append(
            part.with_columns(**{k: pl.Series(v) for k, v in numbers.items()}, label=label)
        )
    pl.concat(parts).write_parquet(path)


def measure(quick: bool) -> Sequence[Claim]:
    """Return the claims ``train_…``, ``gemm_share`` and ``peak_memory_20m_over_2m``."""
    torch.set_num_threads(THREADS)
    # A quick run has the small vocabulary alone.
    totals = list(STEPS)[-1:] if quick else list(STEPS)
    claims = [claim for total in totals for claim in speed(total, quick)]
    return [*claims, gemm(split(20_000, 1, QUICK_PARTS if quick else 1)), memory(quick)]


if __name__ == "__main__":
    main("training", measure)
