"""Ingest against FuxiCTR's feature processor and pandas + scikit-learn, and its peak memory.

The same Criteo-like file for all: a label, 13 counts with holes and heavy tails, 26 categories of
hashed texts with 3 to 200,000 values, drawn by a power law. Each contestant reads the file, turns
the categories into codes and writes codes and numbers to disk. The codes must be equal up to
renaming.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks._common import Claim, main, peer
from recprune.data.columns import ColumnStore

#: Distinct values of Criteo's 26 categorical columns, none above 200,000.
SIZES: tuple[int, ...] = (
    1460,
    583,
    200_000,
    150_000,
    305,
    24,
    12_517,
    633,
    3,
    50_000,
    5683,
    150_000,
    3194,
    27,
)
SIZES += (14_992, 150_000, 10, 5652, 2173, 4, 150_000, 18, 15, 80_000, 105, 60_000)
NUMBERS = [f"I{i}" for i in range(1, 14)]
WORDS = [f"C{i}" for i in range(1, 27)]
BLOCK = 250_000
REPEATS = 3

OURS = """
import resource, sys, time
from recprune.data import ingest
start = time.perf_counter()
ingest(sys.argv[1], sys.argv[2], label="label")
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print('{"seconds": %r, "peak_mb": %r}' % (seconds, peak))
"""

SKLEARN = """
import json, sys, time
import numpy as np, pandas as pd, sklearn
from sklearn.preprocessing import OrdinalEncoder
numbers, words = [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
start = time.perf_counter()
frame = pd.read_csv(sys.argv[1], dtype=dict.fromkeys(words, str))
encoder = OrdinalEncoder(dtype=np.int32, encoded_missing_value=-1)
codes = encoder.fit_transform(frame[words])
np.save(sys.argv[2] + "/codes.npy", codes)
np.save(sys.argv[2] + "/numbers.npy", frame[numbers].to_numpy(np.float32))
np.save(sys.argv[2] + "/label.npy", frame["label"].to_numpy(np.float32))
seconds = time.perf_counter() - start
versions = f"pandas {pd.__version__} + scikit-learn {sklearn.__version__}"
print(json.dumps({"seconds": seconds, "peer": versions}))
"""


FUXICTR = """
import json, logging, os, sys, time
from importlib.metadata import version
os.environ["RAY_DISABLE_USAGE_STATS"] = "1"
import numpy as np, polars as pl
from fuxictr.preprocess import FeatureProcessor, build_dataset
numbers, words = [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
features = [
    {"name": numbers, "active": True, "dtype": "float", "type": "numeric"},
    {"name": words, "active": True, "dtype": "str", "type": "categorical"},
]
label = {"name": "label", "dtype": "float"}
# Its engine starts before the clock, so that only the work is timed.
import ray
begin = time.perf_counter()
ray.init(logging_level=logging.ERROR, include_dashboard=False)
setup = time.perf_counter() - begin
processor = FeatureProcessor(features, label, dataset_id="criteo", data_root=sys.argv[2] + "/")
start = time.perf_counter()
made, _, _ = build_dataset(processor, train_data=sys.argv[1], data_format="csv")
seconds = time.perf_counter() - start
np.save(sys.argv[2] + "/fuxictr.npy", pl.read_parquet(made, columns=words).select(words).to_numpy())
print(json.dumps({"seconds": seconds, "setup_s": setup, "peer": "fuxictr " + version("fuxictr")}))
"""


def write_table(rows: int, path: Path) -> None:
    """Write the Criteo-like file."""
    draws = np.random.default_rng(0)
    words = [np.array([f"{v:08x}" for v in draws.integers(0, 2**32, size)]) for size in SIZES]
    with path.open("wb") as file:
        for start in range(0, rows, BLOCK):
            n = min(BLOCK, rows - start)
            columns = {"label": pl.Series((draws.random(n) < 0.25).astype(np.int8))}
            for i, name in enumerate(NUMBERS):
                values = np.floor(draws.lognormal(1.5, 1.5 + 0.1 * i, n)).astype(np.int64)
                columns[name] = _with_holes(pl.Series(values), draws.random(n) < 0.1)
            for name, size, texts in zip(WORDS, SIZES, words, strict=True):
                rank = np.minimum((draws.pareto(0.6, n) * 3).astype(np.int64), size - 1)
                columns[name] = _with_holes(pl.Series(texts[rank]), draws.random(n) < 0.03)
            pl.DataFrame(columns).write_csv(file, include_header=start == 0)


def measure(quick: bool) -> list[Claim]:
    """Return the claims ``ingest_vs_…`` and ``peak_memory_20m_over_2m``."""
    rows = 50_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "criteo.csv"
        write_table(rows, table)
        ours, sklearn, fuxictr = [], [], []
        for number in range(1 if quick else REPEATS):
            ours.append(_ours(table, folder / "data.rp"))
            sklearn.append(peer(SKLEARN, str(table), str(folder)))
            (folder / str(number)).mkdir()
            fuxictr.append(peer(FUXICTR, str(table), str(folder / str(number))))
        _check_codes(folder / "data.rp", np.load(folder / "codes.npy"))
        _check_codes(folder / "data.rp", np.load(folder / "0" / "fuxictr.npy"))
        claims = [
            _claim("ingest_vs_fuxictr", rows, ours, fuxictr),
            _claim("ingest_vs_pandas_sklearn", rows, ours, sklearn),
        ]
    return [*claims, _memory(quick)]


def _memory(quick: bool) -> Claim:
    scale = 100 if quick else 1
    peaks = {}
    for rows in (2_000_000 // scale, 20_000_000 // scale):
        with tempfile.TemporaryDirectory() as name:
            table = Path(name) / "criteo.csv"
            write_table(rows, table)
            peaks[rows] = _ours(table, Path(name) / "data.rp")["peak_mb"]
    low, high = peaks.values()
    detail = {"peak_mb": {f"{rows:,} rows": peak for rows, peak in peaks.items()}}
    return Claim("peak_memory_20m_over_2m", high / low, "ratio", None, detail)


def _ours(table: Path, output: Path) -> dict[str, Any]:
    run = [sys.executable, "-c", OURS, str(table), str(output)]
    result: dict[str, Any] = json.loads(subprocess.check_output(run, text=True))
    return result


def _claim(
    name: str, rows: int, ours: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]
) -> Claim:
    ratio = statistics.median(p["seconds"] / o["seconds"] for p, o in zip(peers, ours, strict=True))
    detail = {
        who: {
            "rows_per_s": rows / statistics.median(r["seconds"] for r in runs),
            "seconds": [r["seconds"] for r in runs],
            **({"setup_s": [r["setup_s"] for r in runs]} if "setup_s" in runs[0] else {}),
        }
        for who, runs in (("ours", ours), ("peer", peers))
    }
    return Claim(name, ratio, "ratio", peers[0]["peer"], {"rows": rows, **detail})


def _check_codes(folder: Path, theirs: np.ndarray) -> None:
    """Stop if one column's codes are not the peer's under other names."""
    store = ColumnStore(folder)
    for i, name in enumerate(WORDS):
        ours = store.raw(name)
        pairs = len(np.unique(ours.astype(np.int64) << 32 | (theirs[:, i].astype(np.int64) + 1)))
        if not pairs == len(np.unique(ours)) == len(np.unique(theirs[:, i])):
            sys.exit(f"The codes of column {name} differ.")


def _with_holes(values: pl.Series, holes: np.ndarray) -> pl.Series:
    return pl.select(pl.when(pl.Series(~holes)).then(values)).to_series()


if __name__ == "__main__":
    main("ingest", measure)
