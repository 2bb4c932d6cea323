"""Which rows belong together, by hand-made tables whose groups are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.errors import DataError, ParameterError
from recprune.evaluation import group_of, slice_groups
from recprune.evaluation.groups import activity, popularity


def table(n: int = 600, days: int = 100) -> pl.DataFrame:
    """Rows in order of time; user 29 and item 19 appear in the last rows only."""
    draws = np.random.default_rng(0)
    user, item = draws.integers(0, 29, n), draws.integers(0, 19, n)
    user[-40::2], item[-40::3] = 29, 19
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "user": [f"u{u}" for u in user],
            "item": [f"i{i}" for i in item],
            "when": [start + timedelta(days=days * k / n) for k in range(n)],
            "age": (18 + user * 2).tolist(),
            "shop": draws.choice(["north", "south"], n).tolist(),
            "price": draws.gamma(2, 10, n),
            "y": (draws.random(n) < 0.4).astype(int),
        }
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    schema = {"fields": {"age": {"sensitive": True}}}
    read = Dataset.from_frame(
        table(), label="y", user="user", item="item", time="when", schema=schema
    )
    return read.split(by="time")


def test_every_grouping_has_one_group_a_row(data: Dataset) -> None:
    found = slice_groups(data.test, data.train, by=["shop", "price", "age"])
    assert set(found) == {
        ("user", "activity"),
        ("item", "popularity"),
        ("user", "unseen ids"),
        ("item", "unseen ids"),
        ("week", "calendar"),
        ("weekday", "calendar"),
        ("age", "sensitive"),
        ("shop", "attribute"),
        ("price", "attribute"),
    }
    assert {len(group) for group in found.values()} == {len(data.test)}
    assert found["shop", "attribute"].tolist() == data.test.columns["shop"].to_list()
    # The user whom only the last rows have: new, and unseen.
    late = (data.test.columns["user"] == "u29").to_numpy()
    assert late.any()
    assert set(found["user", "activity"][late]) == {"new"}
    assert (found["user", "unseen ids"] == "unseen").tolist() == late.tolist()


def test_counts_are_those_of_the_training_rows(data: Dataset) -> None:
    found = slice_groups(data.test, data.train)
    taken = data.train.columns.filter(pl.Series(data.train.label) == 1)["user"].value_counts()
    count = dict(taken.iter_rows())
    middle = np.median(list(count.values()))
    for user, group in zip(data.test.columns["user"], found["user", "activity"], strict=True):
        n = count.get(user, 0)
        assert group == ("new" if n == 0 else "light" if n <= middle else "heavy")


def test_without_training_rows_the_vocabulary_says_what_is_unseen(data: Dataset) -> None:
    found = slice_groups(data.test)
    assert ("user", "activity") not in found
    assert ("item", "popularity") not in found
    late = (data.test.columns["user"] == "u29").to_numpy()
    assert ((found["user", "unseen ids"] == "unseen") >= late).all()
    assert ("user", "unseen ids") not in slice_groups(data.train)


@pytest.mark.parametrize(
    ("days", "unit", "example"),
    [
        (2, None, ""),
        (6, "day", "2024-01-01"),
        (40, "week", "2024-01-08"),
        (100, "month", "2024-02"),
    ],
)
def test_the_calendar_is_told_by_its_longest_unit(
    days: int, unit: str | None, example: str
) -> None:
    read = Dataset.from_frame(table(days=days), label="y", time="when").split(by="random")
    rows = read.train
    found = {
        name: group for (name, kind), group in slice_groups(rows).items() if kind == "calendar"
    }
    assert set(found) == ({unit} if unit else set()) | ({"weekday"} if days >= 14 else set())
    if unit:
        assert example in found[unit]
    times = rows.extras.time
    assert times is not None
    for scale in (1e-3, 1e-6):  # milliseconds and seconds since 1970 say the same
        other = replace(rows, extras=replace(rows.extras, time=times * scale))
        again = slice_groups(other)
        assert all((again[name, "calendar"] == group).all() for name, group in found.items())
    order = replace(rows, extras=replace(rows.extras, time=np.arange(len(rows))))
    # Numbers that only order the rows are no dates.
    assert not any(kind == "calendar" for _, kind in slice_groups(order))


def test_weekdays_are_those_of_the_dates() -> None:
    read = Dataset.from_frame(table(days=100), label="y", time="when").split(by="random")
    times = read.test.extras.time
    assert times is not None
    found = slice_groups(read.test)["weekday", "calendar"]
    names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    for micros, day in zip(times.tolist(), found, strict=True):
        assert day[2:] == names[(date(1970, 1, 1) + timedelta(microseconds=micros)).weekday()]


def test_columns_that_cannot_be_sliced_are_named(data: Dataset) -> None:
    with pytest.raises(ParameterError, match=r"'shp'.*Did you mean 'shop'"):
        slice_groups(data.test, by=["shp"])
    with pytest.raises(DataError, match=r"'tags'.*single values"):
        group_of(pl.Series([["a"], ["b"]]), "tags")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_head_and_tail_hold_a_fifth(counts: list[int]) -> None:
    taken = np.array(counts)
    group, total = popularity(taken), taken.sum()
    assert ((group == "none") == (taken == 0)).all()
    parts = {g: taken[group == g] for g in ("tail", "mid", "head")}
    joined = np.concatenate([np.sort(parts[g]) for g in ("tail", "mid", "head")])
    assert joined.tolist() == sorted(taken[taken > 0])
    assert parts["tail"].sum() <= total / 5 + 1e-6
    if total:
        head = parts["head"]
        assert head.sum() >= total / 5 - 1e-6
        assert head[head > head.min()].sum() < total / 5 + 1e-6  # none of them could be left out


def test_activity_without_any_positive() -> None:
    assert activity(np.zeros(2)).tolist() == ["new", "new"]


def test_numbers_are_grouped_by_value_or_range() -> None:
    assert group_of(pl.Series([3, 1, None]), "rooms").tolist() == ["3", "1", "not known"]
    numbers = pl.Series([float(v) for v in range(100)])
    found = group_of(numbers, "price")
    assert list(dict.fromkeys(found)) == [
        "under 24.75",
        "24.75 to 49.5",
        "49.5 to 74.25",
        "74.25 and over",
    ]
    assert group_of(pl.Series(["a", None]), "shop").tolist() == ["a", "not known"]
