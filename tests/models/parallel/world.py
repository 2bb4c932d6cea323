"""Processes that train together, each with one thread, and the table that they train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recprune.data import Dataset
from recprune.executor import Executor
from recprune.models import LR, RANKERS, Hidden, Ranker, Schedule, Training

#: Steps of what is compared: more than a hundred, the last of each epoch shorter.
EPOCHS, BATCH = 13, 128


def in_processes(work: Callable[..., Any], size: int, folder: Path, *given: Any) -> list[Any]:
    """Return what each of ``size`` processes makes of ``work((where they meet, *given), rank, …)``."""
    where = f"file://{folder}/meeting-of-{size}-for-{work.__name__}"
    return Executor(size, retries=0).map(work, range(size), shared=(size, where, *given))


@cache
def table() -> Dataset:
    """All kinds of fields, rows that count unlike, and few rows of many values."""
    draws, n = np.random.default_rng(0), 1_500
    a, x = draws.integers(0, 200, n), draws.normal(size=n)
    logit = x + (a % 3) - 1
    frame = pl.DataFrame(
        {
            "a": [f"a{v}" for v in a],
            "b": [f"b{v}" for v in draws.integers(0, 5, n)],
            "x": np.where(draws.random(n) < 0.1, np.nan, x),
            "s": [[f"t{v}" for v in draws.integers(0, 40, k)] for k in draws.integers(0, 5, n)],
            "v": pl.Series(draws.normal(size=(n, 3)), dtype=pl.Array(pl.Float64, 3)),
            "counts": draws.uniform(0.5, 2, n),
            "y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    data = Dataset.from_frame(frame, label="y", user="a", item="b", schema={"weight": "counts"})
    return data.split(by="random", seed=0)


def ranker(name: str, **changed: Any) -> Ranker:
    """Return a small ranker; in fp32, since bfloat16 rounds a batch's parts otherwise."""
    training = Training(
        epochs=EPOCHS,
        batch_size=BATCH,
        patience=EPOCHS,
        learning_rate=5e-3,
        schedule=Schedule(0.1, "linear"),
        precision="fp32",
        device="cpu",
    )
    training = replace(training, **changed)
    if name == "LR":
        return LR(training)
    return RANKERS[name](4, hidden=Hidden((16, 8), dropout=0.2), training=training)  # type: ignore[call-arg]


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of two states' weights."""
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max(initial=0)) for name in one)
