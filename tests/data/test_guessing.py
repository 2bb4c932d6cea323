"""Which column is what: guessed where name and content agree, left open where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.guessing import Guess, guess_roles
from recprune.data.labels import read_label
from recprune.data.sources import read_source
from recprune.data.spec import Spec

N = 60


def guesses(from_text: bool = False, spec: Spec | None = None, **columns: Any) -> dict[str, Guess]:
    frame = pl.DataFrame({name: (values * N)[:N] for name, values in columns.items()})
    return dict(guess_roles(frame, spec or Spec(), from_text))


def columns_of(found: dict[str, Guess]) -> tuple[str | None, ...]:
    return tuple(found[role].column for role in ("label", "user", "item", "time"))


#: Of the data sets beside the repository: label, user, item, time, threshold, drawn negatives.
REAL: dict[str, tuple[str | None, str | None, str | None, str | None, float | None, bool]] = {
    "adult_income/income_evaluation.csv.gz": (None, None, None, None, None, False),
    "bank_marketing/bank-full.csv.gz": ("y", None, None, None, None, False),
    "book_crossing_subset/book_ratings.tsv.gz": ("rating", "user", "item", None, 8.0, False),
    "book_crossing_subset/book_history.tsv.gz": (None, "user", "item", None, None, True),
    "book_crossing_subset/users_info.tsv.gz": (None, None, None, None, None, False),
    "hillstrom_email/hillstrom.csv.gz": (None, None, None, None, None, False),
    "lastfm_lightgcn/data1.txt.gz": (None, None, None, None, None, False),
    "online_retail/online_retail.parquet": (
        None,
        "CustomerID",
        "StockCode",
        "InvoiceDate",
        None,
        True,
    ),
    "online_shoppers/online_shoppers_intention.csv.gz": (
        "Revenue",
        None,
        None,
        None,
        None,
        False,
    ),
    "open_bandit/bts_all.parquet": ("click", None, "item_id", "timestamp", None, False),
    "retailrocket_subset/view_ecommerce.tsv.gz": (None, "visitorid", "itemid", None, None, True),
    "vehicle_coupon/in-vehicle-coupon-recommendation.csv.gz": (
        "Y",
        None,
        None,
        None,
        None,
        False,
    ),
}


@pytest.mark.parametrize("file", REAL)
def test_real_tables(shared_data: Path, file: str) -> None:
    read = read_source(shared_data / file)
    found = guess_roles(read.frame, Spec(), read.from_text)
    label = found["label"]
    assert (*columns_of(dict(found)), label.threshold, label.negatives) == REAL[file]
    assert all(guess.reason for guess in found.values())


def test_two_outcomes_are_a_choice_that_is_left(shared_data: Path) -> None:
    read = read_source(shared_data / "hillstrom_email/hillstrom.csv.gz")
    label = guess_roles(read.frame, Spec(), read.from_text)["label"]
    assert [name for name, _ in label.candidates] == ["visit", "conversion"]
    assert "0.90% are 1" in label.candidates[1][1]


def test_two_values_that_are_no_label_yet(shared_data: Path) -> None:
    read = read_source(shared_data / "adult_income/income_evaluation.csv.gz")
    candidates = dict(guess_roles(read.frame, Spec(), read.from_text)["label"].candidates)
    assert "map them first" in candidates[" income"]


@pytest.mark.parametrize(
    "name",
    [
        "user_id",
        "userId",
        "USER ID",
        "CustomerID",
        "visitorid",
        "household_id",
        "account_no",
        "uid",
    ],
)
def test_names_of_users(name: str) -> None:
    assert guesses(**{name: [1, 2, 3, 3]})["user"].column == name


@pytest.mark.parametrize(
    "name", ["item_id", "itemid", "ProductID", "StockCode", "movieId", "sku", "asin", "product"]
)
def test_names_of_items(name: str) -> None:
    assert guesses(**{name: ["a", "b", "c", "c"]})["item"].column == name


@pytest.mark.parametrize(
    "name", ["user_age", "user_feature_0", "customers", "product_type", "song"]
)
def test_names_of_neither(name: str) -> None:
    found = guesses(**{name: [1, 2, 3, 3]})
    assert found["user"].column is None
    assert found["item"].column is None


def test_an_id_goes_before_a_name_of_the_same() -> None:
    found = guesses(product=["pear", "plum", "fig", "fig"], product_id=[1, 2, 3, 3])["item"]
    assert found.column == "product_id"
    assert [name for name, _ in found.candidates] == ["product"]


def test_two_ids_that_fit_as_well_are_listed() -> None:
    found = guesses(customer_id=[1, 2, 3, 3], user_id=[1, 2, 2, 3])["user"]
    assert found.column is None
    assert {name for name, _ in found.candidates} == {"customer_id", "user_id"}


@pytest.mark.parametrize(
    "values, why",
    [
        (list(range(N)), "a value of its own"),
        ([None] * 3 + [1], "no value"),
        ([0, 1], "2 values only"),
        ([0.5, 1.5, 2.25, 0.75], "fractions"),
    ],
)
def test_values_rule_a_user_out(values: list[Any], why: str) -> None:
    found = guesses(user_id=values)["user"]
    assert found.column is None
    assert why in dict(found.candidates)["user_id"]


@pytest.mark.parametrize(
    "name, values",
    [
        ("at", ["2024-01-02", "2024-01-03"]),
        ("InvoiceDate", ["1/12/2010 8:26", "2/12/2010 9:00"]),
        ("timestamp", [881250949, 891717742]),
        ("ts", [1_700_000_000_000, 1_700_000_100_000]),
        ("whatever", ["2024-01-02 10:00:00", "2024-01-03 10:00:00"]),
    ],
)
def test_times(name: str, values: list[Any]) -> None:
    assert guesses(**{name: values})["time"].column == name


def test_words_and_steps_are_no_times() -> None:
    found = guesses(time=["2PM", "10AM", "6PM"], day=[1, 2, 31], price_at=[3, 5, 9])["time"]
    assert found.column is None
    assert [name for name, _ in found.candidates] == ["day"]


def test_dates_of_a_life_are_no_time_of_the_row() -> None:
    days = [f"2024-01-{d:02d}" for d in range(1, 31)]
    found = guesses(
        user_id=[1, 1, 2, 2, 3, 3],
        birth_date=["1980-01-01", "1990-01-01"],
        member_since=["2020-01-01"] * 2 + ["2020-01-02"] * 2 + ["2020-01-03"] * 2,
        seen=days,
    )["time"]
    assert found.column == "seen"
    others = dict(found.candidates)
    assert "not of the row" in others["birth_date"]
    assert "each user has one alone" in others["member_since"]


def test_ratings_get_the_upper_quarter_of_their_range() -> None:
    label = guesses(rating=[1, 2, 3, 4, 5], user=[1, 2, 3], item=[4, 5, 6])["label"]
    assert (label.column, label.threshold) == ("rating", 4.0)
    assert "40.0% of the rows" in label.reason


def test_a_flag_beside_users_and_items_leaves_the_label_open() -> None:
    """It may be the label under an odd name: a log of positives would be a guess too bold."""
    label = guesses(user=[1, 2, 3], item=[4, 5, 6, 4], premium=[0, 1])["label"]
    assert (label.column, label.negatives) == (None, False)
    assert label.candidates[0][0] == "premium"


def test_what_was_stated_stays() -> None:
    spec = Spec(label="flag", user="who", drop=("item",))
    found = guesses(
        spec=spec, flag=[0, 1], who=[1, 2, 3], user_id=[1, 2, 3, 3], item=[1, 2, 3], click=[1, 0, 0]
    )
    assert columns_of(found) == ("flag", "who", None, None)
    assert found["label"].stated
    assert found["user"].stated


NAMES = st.sampled_from(
    ["label", "y", "user", "user_id", "uid", "item", "sku", "date", "day", "rating", "x", "Click"]
)
VALUES = st.one_of(
    st.lists(st.none() | st.integers(0, 1), min_size=1, max_size=8),
    st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=8),
    st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=8),
    st.lists(st.none() | st.floats(width=32), min_size=1, max_size=8),
    st.lists(st.dates().map(str), min_size=1, max_size=8),
)


@settings(max_examples=40)
@given(table=st.dictionaries(NAMES, VALUES, min_size=1), from_text=st.booleans())
def test_a_guess_is_never_refused_by_the_reader(table: dict[str, Any], from_text: bool) -> None:
    columns = {name: pl.Series((values * N)[:N]) for name, values in table.items()}
    if from_text:
        columns = {n: v.cast(pl.String) for n, v in columns.items()}
    frame = pl.DataFrame(columns)
    found = guess_roles(frame, Spec(), from_text)
    taken = [guess.column for guess in found.values() if guess.column is not None]
    assert len(set(taken)) == len(taken) <= len(frame.columns)
    for guess in found.values():
        assert {name for name, _ in guess.candidates} <= set(frame.columns) - {guess.column}
    label = found["label"]
    if label.column is not None and label.threshold is None and not from_text:
        values, _ = read_label(frame[label.column])
        assert {0.0, 1.0} <= set(values.tolist())
