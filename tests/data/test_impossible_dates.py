"""Dates that cannot be are reported, wherever they stand; unusual ones are not."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.data.impossible_dates import impossible_dates, impossible_times
from recprune.data.infer import read_column

DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(200)]


def rows(values: list[Any], **options: Any) -> int:
    column = read_column(pl.Series("d", values, strict=False), **options)
    return sum(f.rows for f in impossible_dates(column))


FAULTS: dict[str, list[Any]] = {
    "the year 9999": [date(9999, 12, 31)],
    "the year 1": [date(1, 1, 1)],
    "a spreadsheet's zero": [date(1899, 12, 30)],
    "a clock's zero": [date(1970, 1, 1)] * 40,
    "one clock's zero": [date(1970, 1, 1)],
    "a slip of the decade": [date(2091, 3, 1)],
    "times too": [datetime(1, 1, 1, 12)],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_impossible_dates(fault: str) -> None:
    bad = FAULTS[fault]
    days = [datetime(d.year, d.month, d.day) for d in DAYS] if fault == "times too" else DAYS
    assert rows(days) == 0
    assert rows([*days, *bad]) == len(bad)
    texts = [str(d) for d in (*days, *bad)]
    if fault != "the year 1":  # written without leading zeros by some, and read as text
        assert rows(texts, from_text=True) == len(bad)


@pytest.mark.parametrize("text", ["2024-13-01", "2023-02-29", "0000-00-00", "31.06.2024"])
def test_days_that_no_calendar_has(text: str) -> None:
    form = "%d.%m.%Y" if "." in text else "%Y-%m-%d"
    texts = [d.strftime(form) for d in DAYS]
    assert rows(texts, from_text=True) == 0
    assert rows([*texts, text, text], from_text=True) == 2


def test_birthdays_around_the_clocks_zero_are_dates_like_others() -> None:
    births = [date(1950, 1, 1) + timedelta(days=int(i)) for i in range(0, 20_000, 7)]
    assert date(1970, 1, 1) not in births
    assert rows([*births, date(1970, 1, 1)]) == 0
    assert rows([*births, *[date(1970, 1, 1)] * 12]) == 12


def test_a_long_history_and_a_coming_delivery_are_possible() -> None:
    assert rows([*DAYS, date(2026, 6, 1), date(1985, 6, 1)]) == 0


def test_versions_and_ratios_are_no_dates() -> None:
    assert rows([f"{i}.{i % 7}.{i % 90}" for i in range(100)], from_text=True) == 0
    assert rows([f"{i}/{i + 3}" for i in range(100)], from_text=True) == 0


@given(st.lists(st.dates(date(1990, 1, 1), date(2019, 12, 31)), min_size=1, max_size=60))
def test_no_ordinary_date_is_reported(days: list[date]) -> None:
    assert rows(days) == 0


CLOCK = np.arange(1_600_000_000, 1_600_000_000 + 86_400 * 200, 86_400)


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
def test_a_clocks_numbers(unit: int) -> None:
    def bad(values: Any) -> int:
        return sum(f.rows for f in impossible_times(pl.Series("t", values)))

    assert bad(CLOCK * unit) == 0
    assert bad([*(CLOCK * unit), 0, 0]) == 2
    assert bad([*(CLOCK * unit), 253_402_214_400 * unit]) == 1
    assert bad(range(500)) == 0  # a counter that starts with zero is no clock


def test_a_run_hears_of_them() -> None:
    frame = pl.DataFrame(
        {
            "when": [*map(str, DAYS), "1970-01-01"],
            "due": [*DAYS, date(9999, 1, 1)],
            "x": range(201),
            "y": [i % 2 for i in range(201)],
        }
    )
    found = Dataset.from_frame(frame, label="y", time="when").findings
    dates = {f.column: f for f in found if f.kind == "impossible_date"}
    assert {c: f.rows for c, f in dates.items()} == {"when": 1, "due": 1}
    assert "ordered by them" in dates["when"].action
    assert "1970-01-01" in dates["when"].message
