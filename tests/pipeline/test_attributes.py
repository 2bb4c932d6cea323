"""Results by user attribute: whatever texts the attribute's values are."""

from __future__ import annotations

import numpy as np
import polars as pl

from recprune.data import Dataset
from recprune.pipeline.attributes import attribute_groups


def test_values_are_ordered_by_their_first_number_whatever_else_they_hold() -> None:
    draws = np.random.default_rng(0)
    values = ["10.4.1", "2.3.1", "m²", "under 18", "18 to 25", "..", "beta"]
    frame = pl.DataFrame(
        {
            "version": draws.choice(values, 600),
            "y": draws.integers(0, 2, 600),
        }
    )
    data = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    flat = np.full(len(data.test), 0.5, np.float32)
    (block,) = attribute_groups(data, {"full": flat, "pruned": flat}, {})
    found = [group["value"] for group in block["groups"]]
    assert found == ["under 18", "2.3.1", "10.4.1", "18 to 25", "..", "beta", "m²"]
