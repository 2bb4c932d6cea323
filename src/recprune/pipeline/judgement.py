"""The verdict on a pair of models, with the guards around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset
from recprune.evaluation import Verdict, verdict
from recprune.pipeline.config import RunConfig

__all__ = ["judge"]


def judge(
    data: Dataset,
    full: NDArray[np.float32],
    pruned: NDArray[np.float32],
    config: RunConfig,
    references: list[dict[str, Any]] | None = None,
    **_: Any,
) -> Verdict:
    test = data.test
    return verdict(
        test.label,
        full,
        pruned,
        users=test.users,
        items=test.items,
        tolerance=config.tolerance,
        seed=config.seed,
    )
