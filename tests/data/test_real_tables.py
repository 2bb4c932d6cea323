"""Real tables: read whole and ingested, with known counts and rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
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


#: File → rows, columns, roles, value of the label that counts → how often, distinct values, missing ones.
#: The counts are those that the publishers state, or the copies' own README where they state none.
Facts = tuple[int, int, dict[str, str], tuple[Any, int] | None, dict[str, int], dict[str, int]]
BANDIT = {"label": "click", "item": "item_id", "time": "timestamp"}
SHOP = {"user": "visitorid", "item": "itemid"}
BOOKS = {"user": "user", "item": "item"}
LISTENS = {"user": "column_1", "item": "column_2"}
INGESTED: dict[str, Facts] = {
    "adult_income/income_evaluation.csv.gz": (
        32_561,
        15,
        {"label": " income"},
        (" >50K", 7_841),
        {" sex": 2, " race": 5, " workclass": 9, " native-country": 42},
        {},
    ),
    "bank_marketing/bank-full.csv.gz": (
        45_211,
        17,
        {"label": "y"},
        ("yes", 5_289),
        {"job": 12, "month": 12, "poutcome": 4},
        {"age": 0, "job": 0},
    ),
    "book_crossing_subset/book_history.tsv.gz": (
        272_678,
        3,
        BOOKS,
        None,
        {"user": 2_946, "item": 17_384},
        {"user": 0, "item": 0},
    ),
    "book_crossing_subset/book_ratings.tsv.gz": (
        62_656,
        3,
        BOOKS,
        None,
        {"user": 1_295, "item": 14_684, "rating": 10},
        {"rating": 0},
    ),
    "book_crossing_subset/users_info.tsv.gz": (
        2_946,
        2,
        {"user": "User-ID"},
        None,
        {"User-ID": 2_946},
        {},
    ),
    "hillstrom_email/hillstrom.csv.gz": (
        64_000,
        12,
        {"label": "conversion"},
        (1, 578),
        {"segment": 3, "channel": 3},
        {"visit": 0, "spend": 0},
    ),
    "lastfm_lightgcn/data1.txt.gz": (42_135, 3, LISTENS, None, {"column_1": 1_878}, {}),
    "lastfm_lightgcn/test1.txt.gz": (10_533, 3, LISTENS, None, {"column_1": 1_858}, {}),
    "lastfm_lightgcn/trustnetwork.txt.gz": (25_434, 2, LISTENS, None, {}, {}),
    "online_retail/online_retail.parquet": (
        541_909,
        8,
        {"user": "CustomerID", "item": "StockCode", "time": "InvoiceDate"},
        None,
        {"InvoiceNo": 25_900, "StockCode": 4_070, "CustomerID": 4_372, "Country": 38},
        {"CustomerID": 135_080, "Description": 1_454},
    ),
    "online_shoppers/online_shoppers_intention.csv.gz": (
        12_330,
        18,
        {"label": "Revenue"},
        (True, 1_908),
        {"Month": 10, "VisitorType": 3},
        {"PageValues": 0},
    ),
    **{
        f"open_bandit/{policy}_{campaign}.parquet": (
            10_000,
            columns,
            BANDIT,
            (1, clicks),
            {"item_id": items},
            {"click": 0},
        )
        for policy, campaign, columns, clicks, items in (
            ("random", "all", 90, 38, 80),
            ("random", "men", 44, 46, 34),
            ("random", "women", 56, 46, 46),
            ("bts", "all", 90, 42, 80),
            ("bts", "men", 44, 69, 34),
            ("bts", "women", 56, 46, 46),
        )
    },
    **{
        f"open_bandit/{policy}_item_context_{campaign}.csv.gz": (
            items,
            6,
            {"item": "item_id"},
            None,
            {"item_id": items},
            {},
        )
        for policy in ("random", "bts")
        for campaign, items in (("all", 80), ("men", 34), ("women", 46))
    },
    "retailrocket_subset/view_ecommerce.tsv.gz": (
        78_371,
        3,
        SHOP,
        None,
        {"visitorid": 3_423, "itemid": 8_878},
        {},
    ),
    "retailrocket_subset/add_to_cart_ecommerce.tsv.gz": (
        9_028,
        3,
        SHOP,
        None,
        {"visitorid": 1_557, "itemid": 4_447},
        {},
    ),
    "retailrocket_subset/purchase_ecommerce.tsv.gz": (
        5_088,
        3,
        SHOP,
        None,
        {"visitorid": 824, "itemid": 3_077},
        {},
    ),
    "vehicle_coupon/in-vehicle-coupon-recommendation.csv.gz": (
        12_684,
        26,
        {"label": "Y"},
        (1, 7_210),
        {"couponType": 5, "age": 8},
        {
            "cartype": 12_576,
            "Bar": 107,
            "CoffeeHouse": 217,
            "CarryAway": 151,
            "RestaurantLessThan20": 130,
            "Restaurant20To50": 189,
        },
    ),
}


@pytest.mark.parametrize("file", INGESTED)
def test_ingested_without_a_schema(shared_data: Path, tmp_path: Path, file: str) -> None:
    rows, columns, roles, positive, distinct, missing = INGESTED[file]
    store = ColumnStore(ingest(shared_data / file, tmp_path / "data.rp", **roles))
    store.verify()
    assert store.n_rows == rows
    assert len(store.columns) == columns
    assert store.roles == roles
    assert not store.findings
    if positive is not None:
        value, times = positive
        assert int((store.series(roles["label"]) == value).sum()) == times
    for name, number in distinct.items():
        assert store.series(name).drop_nulls().n_unique() == number, name
    for name, number in missing.items():
        assert store.columns[name].missing == number == store.series(name).null_count(), name


@pytest.mark.parametrize("name", TABLES)
def test_the_folder_reads_as_the_file_does(shared_data: Path, tmp_path: Path, name: str) -> None:
    file, options, rows, rate = TABLES[name]
    folder = ingest(shared_data / file, tmp_path / "data.rp", **options)
    stored, direct = Dataset.read(folder), Dataset.read(shared_data / file, **options)
    assert stored.table is not None
    assert direct.table is not None
    assert stored.schema == direct.schema
    assert stored.table.held.equals(direct.table.held)
    assert np.array_equal(stored.table.label, direct.table.label)
    assert len(stored.table.label) == rows
    assert stored.table.label.mean() == pytest.approx(rate, abs=6e-5)


def test_the_books_have_bad_rows(shared_data: Path, tmp_path: Path) -> None:
    """17,384 books, of which 973 have tabs in the title or after it; all others end in one more."""
    file = shared_data / "book_crossing_subset" / "items_info.tsv.gz"
    with pytest.raises(DataError, match="line 2: 10 cells, but the header has 9 columns"):
        ingest(file, tmp_path / "books.rp")
    store = ColumnStore(ingest(file, tmp_path / "books.rp", item="Book_ID", on_bad_rows="skip"))
    assert {f.kind: f.rows for f in store.findings} == {"bad_rows": 973}
    assert store.n_rows == 17_384 - 973 == len(store.texts("Book_ID"))
    assert int(store.series("Year-Of-Publication").max()) < 2100, "no cell has moved"
    assert len((tmp_path / "books.rp.bad_rows.csv").read_text().splitlines()) == 974


def test_every_data_set_is_tried(shared_data: Path) -> None:
    there = {p.relative_to(shared_data).as_posix() for p in shared_data.glob("*/*")}
    data = {name for name in there if not name.endswith("README.md")}
    assert data == {*INGESTED, "book_crossing_subset/items_info.tsv.gz"}


def test_movielens_100k_as_recbole_ships_it(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    found = list(
        root.glob(".venv-recbole/lib/python3*/site-packages/recbole/dataset_example/ml-100k")
    )
    if not found:
        pytest.skip("RecBole's copy of ML-100k needs .venv-recbole, which make bench-peers builds")
    roles = {"user": "user_id", "item": "item_id", "time": "timestamp"}
    store = ColumnStore(ingest(found[0], tmp_path / "ml.rp", **roles))
    assert store.n_rows == 100_000
    assert len(store.texts("user_id")) == 943
    assert len(store.texts("item_id")) == 1_682
    stars = store.series("rating").value_counts().sort("rating")
    assert stars.rows() == [(1, 6_110), (2, 11_370), (3, 27_145), (4, 34_174), (5, 21_201)]
    users = store.frame().unique("user_id")
    assert users["gender"].value_counts().sort("gender").rows() == [("F", 273), ("M", 670)]
    assert users["occupation"].n_unique() == 21
    folder = ingest(found[0], tmp_path / "ml.rp", **roles)
    assert (
        ColumnStore(folder).kinds["age"] == ColumnStore(folder).kinds["zip_code"] == "categorical"
    )
