"""A small shop: events, and a model that learned from the first of them."""

from __future__ import annotations

import functools
from pathlib import Path

import polars as pl
from benchmarks._planted_stream import DROPPED, LABEL, events

import recprune as rp
from recprune.pipeline.saving import save_model

__all__ = ["DROPPED", "LABEL", "some_events", "trained"]


@functools.cache
def some_events(n: int, seed: int = 0) -> pl.DataFrame:
    """Return the first events of the planted stream."""
    return pl.concat(list(events(n, seed)))


def trained(folder: Path, ranker: type[rp.Ranker] = rp.LR, n: int = 20_000) -> Path:
    """Write a model that learned from ``n`` events of another day, its catalogue included."""
    frame = some_events(n, seed=99).drop("event_id", *DROPPED)
    ids = {name: {"kind": "categorical"} for name in ("user_id", "item_id")}
    data = rp.Dataset.from_frame(
        frame, label=LABEL, user="user_id", item="item_id", schema={"fields": ids}
    )
    data = data.split(by="random")
    model = ranker(training=rp.Training(epochs=2)).fit(data.train, data.valid)
    save_model(model, data, folder)
    return folder
