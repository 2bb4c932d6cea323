"""Events whose truth is known: a chance for each, and columns that do or do not bear on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass
class Events:
    """What a watch takes, and the true logits."""

    frame: pl.DataFrame
    label: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __getitem__(self, part: slice) -> Events:
        return Events(self.frame[part], self.label[part], self.logits[part])

    def __len__(self) -> int:
        return len(self.label)


def world(
    n: int,
    seed: int,
    *,
    columns: int = 2,
    values: int = 20,
    drift_at: int | None = None,
    strength: float = 0.5,
    shift: float = 0.0,
) -> Events:
    """Events with true logits N(−1.5, 1), a text column ``used`` and columns ``d0``, ``d1``, … that
    are noise; from ``drift_at`` on ``d0`` has effects of this standard deviation, and all logits are ``shift`` too low.
    """
    draws = np.random.default_rng(seed)
    logits = draws.normal(-1.5, 1, n)
    codes = draws.integers(0, values, (columns, n))
    truth = logits.copy()
    if drift_at is not None:
        after = np.arange(n) >= drift_at
        effects = draws.normal(0, 1, values)
        effects = strength * (effects - effects.mean()) / effects.std()
        truth += after * (shift + effects[codes[0]])
    label = draws.random(n) < 1 / (1 + np.exp(-truth))
    frame = pl.DataFrame({"used": draws.integers(0, 50, n).astype(str)}).with_columns(
        pl.Series(f"d{i}", codes[i]).cast(pl.String) for i in range(columns)
    )
    return Events(frame, label.astype(np.float32), logits.astype(np.float32))
