"""Training by several processes against one: how far the weights are apart, and what it takes.

Every model takes the same steps four times: by one process, by two and by three that share every
batch, and by two that also share the rows of the table. What the two have kept is then loaded by
one and by three.
"""

from __future__ import annotations

import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks._common import Claim
from recprune.data import Dataset
from recprune.executor import Executor
from recprune.layout import State, state_hash
from recprune.models import LR, RANKERS, Hidden, Ranker, Training
from recprune.models.parallel import DataParallel, RowSharded, joined, merged

__all__ = ["NAMES", "sharded"]

NAMES = ("LR", "DeepFM", "DCNv2")
BATCH, STEPS = 256, 100
#: How often each is timed.
REPEATS = 3


def sharded(quick: bool) -> Claim:
    """Return the largest difference of any weight from one process's, after a hundred steps."""
    # Processes take seconds to start, which is most of a quick run.
    names, rows, repeats, sizes, loaded_by = (
        (NAMES[:2], 6_000, 1, (2,), (1,)) if quick else (NAMES, 40_000, REPEATS, (2, 3), (1, 3))
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        one = Executor(1).map(_alone, [0], shared=(names, rows, repeats))[0]
        found = {
            size: _in_processes(place, size, names, rows, repeats if size == 2 else 1)
            for size in sizes
        }
        kept = {size: _loaded(place, size, names[-1], rows) for size in loaded_by}
    detail: dict[str, Any] = {"steps": one["steps"], "batch": BATCH, "table_rows": one["rows"]}
    worst = 0.0
    for name in names:
        apart = {
            f"{way}_{size}": _difference(each[of][name], one["state"][name])
            for way, of in (("data_parallel", "data"), ("row_sharded", "rows"))
            for size, each in found.items()
        }
        worst = max(worst, *apart.values())
        moved = _difference(one["state"][name], one["first"][name])
        seconds = {"one_process": one["seconds"][name], **found[2]["seconds"][name]}
        detail[name] = {"difference": apart, "moved": moved, "seconds": seconds}
    hashes = {"2": state_hash(found[2]["rows"][names[-1]])}
    hashes |= {str(size): told for size, told in kept.items()}
    detail["merged_hash_by_processes_that_loaded"] = hashes
    detail["same_hash"] = len(set(hashes.values())) == 1
    return Claim("sharded_max_difference", worst, "weight", None, detail)


@cache
def _table(rows: int) -> Dataset:
    draws = np.random.default_rng(0)
    item, user, x = (
        draws.zipf(1.3, rows) % 3_000,
        draws.integers(0, 500, rows),
        draws.normal(size=rows),
    )
    effect = draws.normal(0, 1, 3_000)
    label = draws.random(rows) < 1 / (1 + np.exp(-effect[item] - x))
    frame = pl.DataFrame(
        {
            "user": [f"u{v}" for v in user],
            "item": [f"i{v}" for v in item],
            "x": x,
            "tags": [
                [f"t{v}" for v in draws.integers(0, 99, k)] for k in draws.integers(0, 5, rows)
            ],
            "counts": draws.uniform(0.5, 2, rows),
            "y": label.astype(int),
        }
    )
    schema = {"weight": "counts"}
    data = Dataset.from_frame(frame, label="y", user="user", item="item", schema=schema)
    return data.split(by="random", seed=0)


def _ranker(name: str, rows: int) -> Ranker:
    epochs = -(-STEPS // -(-len(_table(rows).train) // BATCH))
    training = Training(epochs, BATCH, precision="fp32", device="cpu")
    if name == "LR":
        return LR(training)
    hidden = Hidden((32, 16), dropout=0.1)
    return RANKERS[name](8, hidden=hidden, training=training)


def _alone(shared: Any, part: int, draws: object) -> dict[str, Any]:
    names, rows, repeats = shared
    train = _table(rows).train
    out: dict[str, Any] = {"state": {}, "first": {}, "seconds": {}}
    for name in names:
        out["first"][name] = _ranker(name, rows).begin(train).state
        model, seconds = _timed(lambda name=name: _ranker(name, rows).fit(train), repeats)
        out["state"][name], out["seconds"][name] = model.state, seconds
    out["steps"] = len(model.history) * -(-len(train) // BATCH)
    out["rows"] = model.net.n_rows
    return out


def _in_processes(
    place: Path, size: int, names: tuple[str, ...], rows: int, repeats: int
) -> dict[str, Any]:
    shared = (size, place, names, rows, repeats)
    found: dict[str, Any] = Executor(size, retries=0).map(_together, range(size), shared=shared)[0]
    return found


def _together(shared: Any, rank: int, draws: object) -> dict[str, Any]:
    size, place, names, rows, repeats = shared
    train = _table(rows).train
    out: dict[str, Any] = {"data": {}, "rows": {}, "seconds": {}}
    with joined(rank, size, f"file://{place}/meeting-of-{size}") as group:
        for name in names:

            def fitted(name: str = name, **together: Any) -> Ranker:
                return _ranker(name, rows).fit(train, **together)

            model, data = _timed(lambda: fitted(together=DataParallel(group)), repeats)
            by_rows, over = _timed(lambda: fitted(together=RowSharded(group)), repeats)
            if size == 2:
                fitted(together=RowSharded(group), checkpoint=place / name)
            whole = merged(by_rows)
            out["data"][name], out["rows"][name] = model.state, whole and whole.state
            out["seconds"][name] = {f"data_parallel_{size}": data, f"row_sharded_{size}": over}
    return out


def _loaded(place: Path, size: int, name: str, rows: int) -> str:
    """Return the hash of what two processes have kept, loaded by so many."""
    found = Executor(size, retries=0).map(_load, range(size), shared=(size, place, name, rows))
    return str(found[0])


def _load(shared: Any, rank: int, draws: object) -> str | None:
    size, place, name, rows = shared
    with joined(rank, size, f"file://{place}/loading-by-{size}") as group:
        together = RowSharded(group)
        model = _ranker(name, rows)
        model.fit(_table(rows).train, together=together, checkpoint=place / name)
        whole = merged(model)
    return None if whole is None else state_hash(whole.state)


def _timed(work: Any, repeats: int) -> tuple[Ranker, float]:
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        model = work()
        seconds.append(time.perf_counter() - before)
    return model, round(float(np.median(seconds)), 3)


def _difference(one: State, other: State) -> float:
    return max(float(np.abs(one[name] - other[name]).max(initial=0)) for name in one)
