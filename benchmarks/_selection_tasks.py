"""The sets that methods of selection compete on: real columns, and half as many that are noise.

Half of the added columns are draws with as many values as a real column has, half are real columns
whose rows are shuffled. Neither says anything about the label, and both look like the real ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from benchmarks._tasks import read_tabular
from recprune._support import stream
from recprune.data import Dataset
from recprune.data.datasets import SCHEMA, load_demo
from recprune.schema import Field

__all__ = ["QUICK_SETS", "SETS", "Task", "selection_task"]

#: Columns that are left out beside those that tell the outcome: what is known only afterwards.
ALSO_OUT = {"online_shoppers": ("PageValues",)}
SETS = ("online_shoppers", "bank_marketing", "vehicle_coupon", "adult_income", "demo")
#: Of a quick run.
QUICK_SETS = ("online_shoppers", "vehicle_coupon")
#: At most so many rows a set: households of the demo, with one drawn product for each bought one.
ROWS, HOUSEHOLDS = 100_000, 280
QUICK_ROWS = 4_000


@dataclass(frozen=True, eq=False)
class Task:
    """A set that is split, and which of its fields are planted noise."""

    data: Dataset
    noise: tuple[str, ...]

    @property
    def n_real(self) -> int:
        """How many fields are not planted."""
        return len(self.data.schema.names) - len(self.noise)


def selection_task(name: str, seed: int, quick: bool = False) -> Task:
    """Return a set with its planted noise; ``seed`` draws the noise, and the split or the sample."""
    return _demo(seed) if name == "demo" else _tabular(name, seed, quick)


def _tabular(name: str, seed: int, quick: bool) -> Task:
    frame, label, drop = read_tabular(name)
    frame = frame.drop(*drop, *ALSO_OUT.get(name, ()))
    most = QUICK_ROWS if quick else ROWS
    if len(frame) > most:
        chosen = stream(seed, "rows").permutation(len(frame))[:most]
        frame = frame[np.sort(chosen)]
    fields = Dataset.from_frame(frame, label=label).schema.fields
    added, noise = _planted(frame, fields, seed)
    kinds = {f.name: {"kind": f.kind} for f in (*fields, *noise)}
    data = Dataset.from_frame(frame.with_columns(added), label=label, schema={"fields": kinds})
    data = data.split(by="stratified", valid=0.15, test=0.2, seed=seed)
    return Task(data, tuple(f.name for f in noise))


def _demo(seed: int) -> Task:
    data = load_demo(HOUSEHOLDS, seed=seed, negatives=1)
    frames = []
    for part in (data.train, data.valid, data.test):
        assert isinstance(part.columns, pl.DataFrame)
        label = pl.Series(SCHEMA.label, part.label.astype(np.int8))
        frames.append(part.columns.with_columns(label))
    whole = pl.concat(frames)
    added, noise = _planted(whole, SCHEMA.fields, seed)
    whole = whole.with_columns(added)
    ends = np.cumsum([0, *map(len, frames)])
    cut = [whole[a:b] for a, b in itertools.pairwise(ends)]
    schema = replace(SCHEMA, fields=(*SCHEMA.fields, *noise))
    made = Dataset.from_splits(*cut, schema=schema, name=data.name, seed=seed)
    return Task(made, tuple(f.name for f in noise))


def _planted(
    frame: pl.DataFrame, fields: tuple[Field, ...], seed: int
) -> tuple[list[pl.Series], list[Field]]:
    """Return noise with the values' numbers of some real columns, and shuffles of others."""
    draws = stream(seed, "planted noise")
    models = [fields[i] for i in draws.permutation(len(fields))[: round(len(fields) / 2)]]
    columns, noise = [], []
    for number, model in enumerate(models):
        real = frame[model.name]
        if number % 2:
            name, values = f"copy_of_{model.name}", real[draws.permutation(len(frame))]
        else:
            name = f"like_{model.name}"
            drawn = draws.integers(0, real.n_unique(), len(frame))
            values = pl.Series(drawn)
            if model.kind != "numeric":
                values = pl.Series([f"v{v}" for v in drawn.tolist()])
        columns.append(values.rename(name))
        noise.append(Field(name, model.kind))
    return columns, noise
