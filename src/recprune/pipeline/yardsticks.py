"""What the full model must be worth beating: popularity, logistic regression, boosted trees."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger, require
from recprune.artifact import stored_size
from recprune.data import Dataset, Split
from recprune.errors import MissingExtra
from recprune.lookups import FIRST
from recprune.metrics import auc
from recprune.models import LR
from recprune.pipeline.config import RunConfig

__all__ = ["yardsticks"]

#: Added to an item's rows before its rate of positives is taken.
SMOOTHING = 20.0
#: First-order weights are few and see every row often.
LINEAR_EPOCHS = 6
#: Rows that LightGBM, which holds its table in memory, learns from or scores at once.
MOST_ROWS = 2_000_000


def yardsticks(data: Dataset, config: RunConfig) -> list[dict[str, Any]]:
    """Train the yardsticks on the training rows and score the test rows.

    Returns:
        Records of the report: name, auc, bytes (None where a yardstick is no model), seconds.
    """
    start = time.perf_counter()
    out = [_record("popularity", data.test, _popularity(data), None, start)]
    start = time.perf_counter()
    # First-order weights alone move slowly; give them the rate and patience to arrive.
    training = replace(config.training(), learning_rate=1e-2, epochs=LINEAR_EPOCHS, patience=3)
    linear = LR(training, config.seed).fit(data.train, data.tune)
    out.append(
        _record(
            "LR", data.test, linear.logits(data.test.rows), stored_size(linear.artifact()), start
        )
    )
    if importlib.util.find_spec("lightgbm") is not None:
        start = time.perf_counter()
        try:
            lightgbm = require("lightgbm", "trees")
        except MissingExtra as error:
            logger.warning("The report is without LightGBM: %s", error)
            return out
        score, size = _boosted_trees(lightgbm, data, config.seed)
        out.append(_record("LightGBM", data.test, score, size, start))
    return out


def _record(
    name: str, test: Split, score: NDArray[Any], size: int | None, start: float
) -> dict[str, Any]:
    seconds = round(time.perf_counter() - start, 1)
    logger.info("yardstick %s: %.1f s", name, seconds)
    return {"name": name, "auc": auc(test.label, score), "bytes": size, "seconds": seconds}


def _popularity(data: Dataset) -> NDArray[np.float64]:
    """Score by the item's rate of positives in training, drawn towards the mean; else a constant."""
    train, test = data.train, data.test
    if train.items is None or test.items is None or data.items is None:
        return np.zeros(len(test.rows))
    shown = np.bincount(train.items, minlength=len(data.items))
    taken = np.bincount(train.items, train.label, minlength=len(data.items))
    rate = (taken + SMOOTHING * train.label.mean()) / (shown + SMOOTHING)
    return np.asarray(rate[test.items], np.float64)


def _boosted_trees(lightgbm: Any, data: Dataset, seed: int) -> tuple[NDArray[np.float64], int]:
    """LightGBM on all fields but the ids, stopped early on the tune rows."""
    ids = (data.schema.user, data.schema.item)
    names = [n for n in data.schema.names if n not in ids]
    settings = {
        "objective": "binary",
        "learning_rate": 0.1,
        "num_leaves": 63,
        "verbose": -1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
    }
    held = [_held(split) for split in (data.train, data.tune)]
    sets = [lightgbm.Dataset(_matrix(data, split, names), split.label) for split in held]
    stop = lightgbm.early_stopping(20, verbose=False)
    model = lightgbm.train(settings, sets[0], 300, valid_sets=[sets[1]], callbacks=[stop])
    parts = np.array_split(np.arange(len(data.test)), -(-len(data.test) // MOST_ROWS))
    scores = [model.predict(_matrix(data, data.test.take(part), names)) for part in parts]
    return np.concatenate(scores), len(model.model_to_string(num_iteration=model.best_iteration))


def _held(split: Split) -> Split:
    """Return the split, or of a larger one as many rows as are held at once, evenly spread."""
    if len(split) <= MOST_ROWS:
        return split
    return split.take(np.linspace(0, len(split) - 1, MOST_ROWS).astype(np.int64))


def _matrix(data: Dataset, split: Split, names: list[str]) -> NDArray[np.float32]:
    """Return numbers as they are and categories (and a list's elements, one a column) by rank of
    frequency; missing is NaN.
    """
    columns = []
    for name in names:
        kind, (codes, shares) = data.schema[name].kind, data.encoder.columns_of((name,))
        if kind == "numeric":
            columns.append(split.columns[name].cast(float).to_numpy().astype(np.float32)[:, None])
        elif kind == "dense":
            columns.append(split.rows.shares[:, shares])
        else:
            code = split.rows.codes[:, codes]
            columns.append(np.where(code < FIRST, np.nan, code).astype(np.float32))
    return np.concatenate(columns, axis=1)
