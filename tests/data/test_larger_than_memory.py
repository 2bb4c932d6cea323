"""Memory hardly grows with the rows of a folder: reading, splitting, training, ranking, scoring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data import ingest

FIELDS = 24

#: Prints the greatest memory of its own, in MB; pages of mapped files are the system's to take.
SCRIPT = """
import sys, threading, time
peak = 0
def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
import recprune as rp
from recprune.models import LR, Training, batches
batches.POOL = 1 << 18  # what training holds does not grow from here on
data = rp.Dataset.read(sys.argv[1]).split(by="random", seed=0)
model = LR(Training(epochs=1, batch_size=4096)).fit(data.train, data.tune)
rp.rank_fields(model, data.tune)
assert len(model.logits(data.test.rows)) == len(data.test)
print(peak / 1024)
"""


def folder(path: Path, rows: int) -> Path:
    draws = np.random.default_rng(0)
    columns = {f"c{i}": draws.integers(0, 50, rows).astype(np.int16) for i in range(FIELDS)}
    frame = pl.DataFrame({**columns, "y": draws.integers(0, 2, rows).astype(np.int8)})
    words = [pl.format("v{}", pl.col(f"c{i}")).alias(f"c{i}") for i in range(FIELDS // 4)]
    frame.with_columns(words).write_parquet(path / f"{rows}.parquet")
    return ingest(path / f"{rows}.parquet", path / f"{rows}.rp", label="y")


@pytest.mark.slow
def test_four_times_the_rows_need_little_more_memory(tmp_path: Path) -> None:
    """In memory, the encoded rows alone would be 4 · 24 bytes a row, and the frame as much again."""
    peaks = []
    for rows in (600_000, 2_400_000):
        run = [sys.executable, "-c", SCRIPT, str(folder(tmp_path, rows))]
        peaks.append(float(subprocess.check_output(run, text=True)))
    extra_bytes_a_row = (peaks[1] - peaks[0]) * 2**20 / 1_800_000
    assert extra_bytes_a_row < 100, peaks
