"""Where groups begin and end: ages, ranges, dates, heads and tails, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.errors import DataError
from recprune.evaluation import (
    group_of,
    slice_groups,
)
from recprune.evaluation.groups import activity, popularity


def test_ages_and_numbers_have_their_edges_in_the_upper_group() -> None:
    ages = pl.Series([17.0, 18, 24.9, 25, 34, 35, 44, 45, 54, 55, 64, 65, 99])
    assert group_of(ages, "Age_of_user").tolist() == [
        "under 18",
        *["18 to 25"] * 2,
        *["25 to 35"] * 2,
        *["35 to 45"] * 2,
        *["45 to 55"] * 2,
        *["55 to 65"] * 2,
        *["65 and over"] * 2,
    ]
    numbers = pl.Series([*range(13)])
    assert set(group_of(numbers, "usage")) == {"under 3", "3 to 6", "6 to 9", "9 and over"}
    assert group_of(numbers[:12], "usage").tolist() == [str(v) for v in range(12)]
    lame = pl.Series([*range(13), None, float("nan"), float("inf")], strict=False)
    assert group_of(lame, "usage")[-3:].tolist() == ["not known"] * 3
    assert group_of(pl.Series([1.5, None, 2.0]), "x").tolist() == ["1.5", "not known", "2"]
    same = pl.Series([0.0] * 90 + list(range(1, 14)))  # quartiles that coincide
    assert set(group_of(same, "x")) == {"0 and over"}
    assert group_of(pl.Series([True, None, False]), "x").tolist() == ["true", "not known", "false"]
    with pytest.raises(DataError, match="'tags': the column holds List"):
        group_of(pl.Series([["a"]]), "tags")


def test_activity_and_popularity_at_their_edges() -> None:
    assert activity(np.array([5, 0, 3, 1])).tolist() == ["heavy", "new", "light", "light"]
    assert activity(np.array([2])).tolist() == ["light"]
    # A fifth exactly is the head; so is the tail.
    assert popularity(np.array([20, 60, 20])).tolist() == ["mid", "head", "mid"]
    assert popularity(np.array([20, 10, 10, 60])).tolist() == ["mid", "tail", "tail", "head"]
    assert popularity(np.array([20, 40, 39, 1])).tolist() == ["mid", "head", "mid", "tail"]
    assert popularity(np.zeros(2)).tolist() == ["none", "none"]


def rows_at(times: Any, train: Any = None) -> Any:
    """Return rows with times, and nothing else to group by."""
    schema = SimpleNamespace(user=None, item=None, fields=(), names=())
    return SimpleNamespace(
        encoder=SimpleNamespace(schema=schema),
        extras=SimpleNamespace(time=np.asarray(times, float)),
        users=None,
        items=None,
    )


DAY = 86_400_000_000


def calendar(days: Any, unit: float = 1.0) -> dict[str, list[str]]:
    found = slice_groups(rows_at(np.asarray(days, float) * DAY / unit))
    assert all(kind == "calendar" for _, kind in found)
    return {name: group.tolist() for (name, _), group in found.items()}


def since_1970(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


@pytest.mark.parametrize("unit", [1, 1e3, 1e6])
def test_three_of_a_unit_make_a_calendar(unit: float) -> None:
    years = [since_1970(f"{y}-06-01") for y in (2001, 2002, 2003)]
    found = calendar(years, unit)
    assert found == {"year": ["2001", "2002", "2003"]}
    assert calendar(years[:2], unit) == {}  # two years hold two days here
    months = [since_1970(d) for d in ("2001-12-31", "2002-01-01", "2002-02-28")]
    assert calendar(months, unit) == {"month": ["2001-12", "2002-01", "2002-02"]}
    weeks = [since_1970(d) for d in ("2024-01-07", "2024-01-08", "2024-01-14", "2024-01-15")]
    mondays = ["2024-01-01", "2024-01-08", "2024-01-08", "2024-01-15"]
    assert calendar(weeks, unit) == {"week": mondays}
    days = [since_1970(d) for d in ("2024-01-01", "2024-01-02", "2024-01-03")]
    assert calendar(np.array(days) + 0.999, unit) == {
        "day": ["2024-01-01", "2024-01-02", "2024-01-03"]
    }


def test_fourteen_days_have_weekdays() -> None:
    start = since_1970("2024-01-01")  # a Monday
    assert "weekday" not in calendar(start + np.arange(13))
    found = calendar(start + np.arange(14))["weekday"]
    names = ["1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun"]
    assert found == names * 2
    assert "weekday" not in calendar(start + np.arange(40) / 4)


def test_times_out_of_the_years_that_dates_have_only_order_rows() -> None:
    first, last = since_1970("1990-01-01"), since_1970("2100-01-01")
    assert list(calendar([first, first + 1, first + 2])) == ["day"]
    assert calendar([first - 1e-6, first, first + 1, first + 2]) == {}
    assert list(calendar([last - 3, last - 2, last - 1e-6])) == ["day"]
    assert calendar([last - 2, last - 1, last]) == {}
    assert slice_groups(rows_at([])) == {}
    assert slice_groups(rows_at([DAY, np.nan, 3 * DAY])) == {}


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Twenty users and ten items, of which two and one come late."""
    draws = np.random.default_rng(0)
    n = 400
    user, item = draws.integers(0, 18, n), draws.integers(0, 9, n)
    user[-30::2], user[-29::4], item[-30::3] = 18, 19, 9
    frame = pl.DataFrame(
        {
            "user": [f"u{u:02d}" for u in user],
            "item": [f"i{i}" for i in item],
            "when": np.arange(n),
            "sex": [("f", "m")[u % 2] for u in user],
            "colour": draws.choice(["red", "blue"], n),
            "y": (draws.random(n) < 0.2 + 0.05 * item).astype(int),
        }
    )
    schema = {"fields": {"sex": {"sensitive": True}}}
    read = Dataset.from_frame(
        frame, label="y", user="user", item="item", time="when", schema=schema
    )
    return read.split(by="time")


def test_groups_are_of_who_learned_and_who_is_asked(shop: Dataset) -> None:
    found = slice_groups(shop.test, shop.train, by=["colour", "sex", "colour"])
    assert list(found) == [
        ("user", "activity"),
        ("item", "popularity"),
        ("user", "unseen ids"),
        ("item", "unseen ids"),
        ("sex", "sensitive"),
        ("colour", "attribute"),
    ]
    train, test = shop.train, shop.test
    for name, ids, kind, grouped in (
        ("user", "users", "activity", activity),
        ("item", "items", "popularity", popularity),
    ):
        learned, asked = np.asarray(getattr(train, ids)), np.asarray(getattr(test, ids))
        count = np.zeros(1000)
        for one, label in zip(learned, train.label, strict=True):
            count[one] += label
        expected = grouped(count)[asked]
        assert found[name, kind].tolist() == expected.tolist()
        unseen = ["seen" if one in set(learned) else "unseen" for one in asked]
        assert found[name, "unseen ids"].tolist() == unseen
        assert set(unseen) == {"seen", "unseen"}
    # Where all were seen, there is nothing to compare.
    again = slice_groups(train, train)
    assert not any(kind == "unseen ids" for _, kind in again)
