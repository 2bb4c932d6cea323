"""A small stream of mixed columns, and models to begin with."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from recprune.artifact import Artifact
from recprune.data import Dataset
from recprune.models import Ranker, Training

COLUMNS = ("user", "item", "colour", "size", "tags", "vector")


def frame_of(n: int, seed: int = 0, first: int = 0, ids: int = 60) -> pl.DataFrame:
    """Return events: ids from ``first`` on, a category with gaps, a number, a list, a vector."""
    draws = np.random.default_rng(seed)
    item = first + (ids * draws.random(n) ** 2).astype(int)
    user = first + draws.integers(0, ids, n)
    size = draws.normal(0, 1, n)
    vector = draws.normal(0, 1, (n, 3))
    sizes = draws.integers(0, 4, n)
    tags = [[f"t{t}" for t in draws.integers(0, 9, k)] for k in sizes.tolist()]
    logit = np.sin(item * 1.7) + 0.8 * np.cos(user * 2.3) + np.sin(2 * size) + vector[:, 0]
    colour = pl.Series([f"c{c}" for c in draws.integers(0, 4, n)])
    return pl.DataFrame(
        {
            "user": [f"u{u}" for u in user.tolist()],
            "item": [f"i{i}" for i in item.tolist()],
            "colour": colour.set(pl.Series(draws.random(n) < 0.05), None),
            "size": pl.Series(np.where(draws.random(n) < 0.05, np.nan, size)).fill_nan(None),
            "tags": pl.Series(tags, dtype=pl.List(pl.String)),
            "vector": pl.Series(vector, dtype=pl.Array(pl.Float64, 3)),
            "y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8),
        }
    )


@cache
def data_of(columns: tuple[str, ...] = COLUMNS) -> Dataset:
    """Return the table that references are trained on."""
    frame = frame_of(2_000, seed=1).select(*columns, "y")
    user, item = (name if name in columns else None for name in ("user", "item"))
    return Dataset.from_frame(frame, label="y", user=user, item=item).split(by="random")


def trained(model: Ranker, columns: tuple[str, ...] = COLUMNS) -> Ranker:
    """Return the ranker, fitted a little, on some of the columns."""
    return model.fit(data_of(columns).train)


def reference(
    model: type[Ranker], columns: tuple[str, ...] = COLUMNS, **options: object
) -> Artifact:
    """Return the artefact of a ranker of this class that was trained a little."""
    made = model(training=Training(epochs=1, device="cpu"), **options)
    return trained(made, columns).artifact()


def label_of(frame: pl.DataFrame) -> np.ndarray:
    """Return the labels, shape (n,)."""
    return frame["y"].to_numpy().astype(np.float32)
