"""What grows with rows and ids, measured, against the formulas of ``docs/scaling.md``.

Each point is a process of its own, so that its peak memory is its own. Tables are those of training:
weights of two columns, both of Adam's moments, the running mean, and what is kept of each row. The
picture is ``benchmarks/results/scaling.png``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks._common import ROOT, Claim, main, one_thread

IDS = (10**5, 10**6, 10**7, 10**8)
ROWS = (10**5, 10**6, 4 * 10**6)
RESULTS = Path(__file__).parent / "results"
#: Columns of a table's row: one dim and the first-order weight.
WIDTH = 2
#: Look-ups of a step: a batch of 4,096 rows of twelve fields.
LOOKUPS = 4_096 * 12
#: Of the rows' points: columns of ids, each of so many values.
FIELDS = (100_000, 10_000, 1_000, 100, 10)


def row_bytes(width: int) -> int:
    """Return what training keeps of a table row: four tensors, and two numbers of the mean."""
    return 4 * 4 * width + 4 + 4


def sent_bytes(size: int, dense: int, width: int, touched: int, batch: int) -> int:
    """Return what one of ``size`` processes hands to the others in a data parallel step.

    Args:
        size: processes.
        dense: weights that are no table's, and the shared parts.
        width: columns of the table.
        touched: rows of the table that a process's part of the batch reads.
        batch: rows of a batch.
    """
    return 4 * dense + touched * (4 + 4 * width) + 4 * -(-batch // size)


def tables(n: int) -> dict[str, float]:
    """Return memory of a table of ``n`` rows in training, and the time of reads and updates."""
    import torch

    from recprune.models.averaging import RowMean
    from recprune.models.optimiser import LazyAdam

    before, draws = _peak(), torch.Generator().manual_seed(0)
    table = torch.zeros(n, WIDTH)
    adam, mean = LazyAdam(table, 1e-3), RowMean(table, 100)
    for kept in (table, adam.first, adam.second):
        kept.add_(0.01)  # touch every page
    rows = torch.unique(torch.randint(0, n, (LOOKUPS,), generator=draws))
    gradient = torch.full((len(rows), WIDTH), 0.1)
    reads, updates = [], []
    for _ in range(20):
        asked = torch.randint(0, n, (LOOKUPS,), generator=draws)
        start = time.perf_counter()
        torch.nn.functional.embedding(asked, table)
        reads.append(time.perf_counter() - start)
        start = time.perf_counter()
        mean.advance()
        values = table[rows]
        adam.step(rows, values, gradient)
        mean.add(rows, values)
        updates.append(time.perf_counter() - start)
    each = {"read_ns": np.median(reads) / LOOKUPS, "update_ns": np.median(updates) / len(rows)}
    return {"bytes": _peak() - before, **{k: float(v) * 1e9 for k, v in each.items()}}


def rows(n: int) -> dict[str, float]:
    """Return the speed and peak memory of ingest, and of an epoch of training, on ``n`` rows."""
    from recprune.data import Dataset, ingest
    from recprune.models import LR, Training

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        _write(source, n)
        before, start = _peak(), time.perf_counter()
        ingest(source, Path(folder) / "columns", label="y")
        ingested = time.perf_counter() - start
        after = _peak()
        data = Dataset.read(Path(folder) / "columns", label="y").split(by="random", seed=0)
        training = Training(epochs=1, batch_size=4096, device="cpu", precision="fp32")
        model = LR(training).fit(data.train)
        return {
            "ingest_rows_per_s": n / ingested,
            "train_rows_per_s": model.history[-1].rows_per_second,
            "ingest_bytes": after - before,
            "train_bytes": _peak() - before,
        }


def _write(path: Path, n: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    draws, writer = np.random.default_rng(0), None
    for start in range(0, n, 500_000):
        size = min(500_000, n - start)
        columns = {f"c{i}": draws.integers(0, most, size) for i, most in enumerate(FIELDS)}
        label = (draws.random(size) < 0.2 + 0.3 * (columns["c4"] > 4)).astype(np.int8)
        texts = {name: pl.Series(values).cast(pl.String) for name, values in columns.items()}
        block = pl.DataFrame({**texts, "y": label}).to_arrow()
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(pa.Table.from_batches(block.to_batches()))
    assert writer is not None
    writer.close()


def sent(n: int) -> dict[str, float]:
    """Return what a data parallel step of two processes hands over, of a table of about ``n`` ids."""
    from recprune.executor import Executor

    with tempfile.TemporaryDirectory() as folder:
        found: list[dict[str, float]] = Executor(2, retries=0).map(
            _counted, range(2), shared=(n, folder)
        )
    return found[0]


def _counted(shared: Any, rank: int, draws: object) -> dict[str, float]:
    import torch.distributed as dist

    from recprune.data import Dataset
    from recprune.models import DeepFM, Training
    from recprune.models.parallel import DataParallel, joined

    n, folder = shared
    ids = np.random.default_rng(0).integers(0, n, 20_480)
    frame = pl.DataFrame({"id": [f"i{v}" for v in ids], "y": ids % 2})
    data = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    training = Training(epochs=1, batch_size=4096, device="cpu", precision="fp32", unknown_rate=0)
    counted = {"bytes": 0, "touched": 0}
    reduced, gathered = dist.all_reduce, dist.all_gather

    def reducing(value: Any, *given: Any, **named: Any) -> Any:
        counted["bytes"] += value.numel() * value.element_size()
        return reduced(value, *given, **named)

    def gathering(out: Any, value: Any, *given: Any, **named: Any) -> Any:
        if value.numel() > 1 or value.is_floating_point():
            counted["bytes"] += value.numel() * value.element_size()
            counted["touched"] += len(value) if not value.is_floating_point() else 0
        return gathered(out, value, *given, **named)

    with joined(rank, 2, f"file://{folder}/meeting-of-{n}") as group:
        model = DeepFM(WIDTH - 1, (16,), training)
        model.begin(data.train)
        told: Any = dist
        told.all_reduce, told.all_gather = reducing, gathering
        history = model.train_on(data.train, together=DataParallel(group))
    steps = len(history) * -(-len(data.train) // 4096)
    dense = sum(p.numel() for p in model.net.dense_parameters())
    expected = steps * sent_bytes(2, dense, WIDTH, 0, 4096) + counted["touched"] * (4 + 4 * WIDTH)
    return {"bytes": counted["bytes"] / steps, "formula": expected / steps}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _point(kind: str, n: int) -> dict[str, float]:
    code = f"import json; from benchmarks import scaling; print(json.dumps(scaling.{kind}({n})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(quick: bool) -> list[Claim]:
    """Measure every point."""
    ids, many = (IDS[:2], ROWS[:1]) if quick else (IDS, ROWS)
    by_ids = {n: _point("tables", n) for n in ids}
    by_rows = {n: _point("rows", n) for n in many}
    message = _point("sent", 5_000)
    draw(by_ids, by_rows)
    last = ids[-1]
    ratio = by_ids[last]["bytes"] / (row_bytes(WIDTH) * last)
    slower = by_ids[last]["read_ns"] / by_ids[ids[0]]["read_ns"]
    return [
        Claim("table_bytes_over_formula", ratio, "ratio", None, {str(n): p for n, p in by_ids.items()}),
        Claim("sent_bytes_over_formula", message["bytes"] / message["formula"], "ratio", None, message),
        Claim("read_slower_at_most_ids", slower, "ratio"),
        Claim(
            "train_rows_per_second", by_rows[many[-1]]["train_rows_per_s"], "rows/s", None,
            {str(n): p for n, p in by_rows.items()},
        ),
    ]  # fmt: skip


def draw(by_ids: dict[int, dict[str, float]], by_rows: dict[int, dict[str, float]]) -> None:
    """Draw the measured points and the formulas' lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    line = np.logspace(5, 9, 50)
    left.plot(line, row_bytes(WIDTH) * line / 1e9, "k-", lw=1, label=f"formula, {WIDTH} columns")
    left.plot(line, row_bytes(17) * line / 1e9, "k--", lw=1, label="formula, 17 columns")
    left.plot(list(by_ids), [p["bytes"] / 1e9 for p in by_ids.values()], "o", label="measured")
    left.set(xscale="log", yscale="log", xlabel="ids (table rows)", ylabel="GB of training state")
    left.axhline(24, color="tab:red", lw=1, ls=":", label="24 GB")
    left.legend()
    for name, text in (("ingest_bytes", "ingest"), ("train_bytes", "ingest and training")):
        right.plot(list(by_rows), [p[name] / 1e9 for p in by_rows.values()], "o-", label=text)
    right.set(xscale="log", xlabel="rows", ylabel="GB at the peak", ylim=(0, None))
    right.legend()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=120)


if __name__ == "__main__":
    one_thread("scaling")
    main("scaling", measure)
