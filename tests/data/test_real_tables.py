"""Real tables: read whole, with known counts and rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.errors import DataError
from recprune.lookups import Vocabulary

TABLES: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "shoppers": (
        "online_shoppers/online_shoppers_intention.csv.gz",
        {"label": "Revenue"},
        12_330,
        0.1547,
    ),
    "bank": (
        "bank_marketing/bank-full.csv.gz",
        {"label": "y", "drop": ("duration",)},
        45_211,
        0.1170,
    ),
    "coupon": (
        "vehicle_coupon/in-vehicle-coupon-recommendation.csv.gz",
        {"label": "Y"},
        12_684,
        0.5684,
    ),
    "email": ("hillstrom_email/hillstrom.csv.gz", {"label": "visit"}, 64_000, 0.1468),
    "bandit": (
        "open_bandit/bts_all.parquet",
        {"label": "click", "item": "item_id", "time": "timestamp"},
        10_000,
        0.0042,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_counts_and_rates(shared_data: Path, name: str) -> None:
    file, options, rows, rate = TABLES[name]
    data = Dataset.read(shared_data / file, **options)
    assert data.table is not None
    assert len(data.table.label) == rows
    assert data.table.label.mean() == pytest.approx(rate, abs=6e-5)
    split = data.split()
    assert len(split.train) + len(split.valid) + len(split.test) == rows
    raw = {n: split.test.columns[n].to_list() for n in split.schema.names}
    again = split.encoder.encode(raw)
    assert np.array_equal(again.codes, split.test.rows.codes)
    assert np.array_equal(again.shares, split.test.rows.shares)


def test_attributes_of_the_coupon_table(shared_data: Path) -> None:
    file, options, _, _ = TABLES["coupon"]
    data = Dataset.read(shared_data / file, **options)
    assert set(data.sensitive) == {"gender", "age", "maritalStatus", "has_children", "income"}
    constant = [f for f in data.findings if f.kind == "constant"]
    assert [f.column for f in constant] == ["toCoupon_GEQ5min"]
    part = data.split().encoder.parts["cartype"]
    assert isinstance(part, Vocabulary)
    assert part.values[0] is None


def test_ratings_and_views_are_no_labels(shared_data: Path) -> None:
    with pytest.raises(DataError, match="one class only"):
        Dataset.read(
            shared_data / "retailrocket_subset/view_ecommerce.tsv.gz",
            label="event",
            user="visitorid",
            item="itemid",
        )
    with pytest.raises(DataError, match="--label-threshold"):
        Dataset.read(shared_data / "book_crossing_subset/book_ratings.tsv.gz", label="rating")
    with pytest.raises(DataError, match="Did you mean ' income'"):
        Dataset.read(shared_data / "adult_income/income_evaluation.csv.gz", label="income")
