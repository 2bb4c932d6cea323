"""Columns whose values move, and ids that only come and go."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recprune.metrics import population_stability
from recprune.streaming.hashes import hashes
from recprune.streaming.watching import Alarm, InputDrift
from recprune.streaming.watching.inputs import SHARE

WINDOW = 40_000


def run(frame: pl.DataFrame, window: int = WINDOW, chunk: int = 17_001) -> list[Alarm]:
    drift = InputDrift(frame.columns, window)
    return [
        a for start in range(0, len(frame), chunk) for a in drift.add(frame[start : start + chunk])
    ]


def test_the_index_is_that_of_every_eighth_events_parts() -> None:
    draws = np.random.default_rng(0)
    n = 2 * WINDOW
    number = draws.normal(0, 1, n) + (np.arange(n) >= WINDOW) * 0.3
    number[::13] = np.nan
    text = pl.Series(draws.integers(0, 30, n)).cast(pl.String)
    frame = pl.DataFrame({"text": text, "number": number})
    drift = InputDrift(["text", "number"], WINDOW)
    for start in range(0, n, 9_999):
        drift.add(frame[start : start + 9_999])
    figures = drift.figures()
    parts = (hashes(text) >> np.uint64(58)).astype(int)[::SHARE]
    half = WINDOW // SHARE
    counts = [np.bincount(p, minlength=65) for p in (parts[half:], parts[:half])]
    assert figures["psi.text"] == pytest.approx(population_stability(*counts))
    seen = number[::SHARE]
    edges = np.nanquantile(seen[:half], np.arange(1, 64) / 64)
    counts = []
    for values in (seen[half:], seen[:half]):
        known = np.searchsorted(edges, values[~np.isnan(values)], side="right")
        counts.append(np.append(np.bincount(known, minlength=64), np.isnan(values).sum()))
    assert figures["psi.number"] == pytest.approx(population_stability(*counts))


def moving(kind: str, n: int) -> pl.Series:
    draws = np.random.default_rng(1)
    late = np.arange(n) >= 2 * WINDOW
    if kind == "texts":
        return pl.Series(draws.integers(0, 20, n) * np.where(late, 3, 1)).cast(pl.String)
    if kind == "numbers":
        return pl.Series(draws.normal(0, 1, n) + late)
    if kind == "wholes":
        return pl.Series(draws.poisson(np.where(late, 6, 3)))
    if kind == "missing":
        there = draws.random(n) < np.where(late, 0.6, 0.9)
        return pl.Series(["a", "b", None]).gather(np.where(there, np.arange(n) % 2, 2))
    if kind == "flags":
        return pl.Series(draws.random(n) < np.where(late, 0.8, 0.4))
    assert kind == "lists"
    return pl.Series([["a", "b"], ["c"]]).gather(draws.random(n) < np.where(late, 0.8, 0.4))


@pytest.mark.parametrize("kind", ["texts", "numbers", "wholes", "missing", "flags", "lists"])
def test_one_alarm_where_a_column_moves(kind: str) -> None:
    n = 5 * WINDOW
    still = pl.Series(np.random.default_rng(2).integers(0, 9, n)).cast(pl.String)
    frame = pl.DataFrame({"still": still, "moving": moving(kind, n)})
    (alarm,) = run(frame)
    assert (alarm.kind, alarm.field, alarm.event) == ("input", "moving", 3 * WINDOW - 1)
    assert alarm.detail["psi"] > 0.25


def test_new_ids_and_short_windows_are_no_drift() -> None:
    draws = np.random.default_rng(3)
    n = 40 * 2048
    ids = np.arange(n) // 4 + draws.integers(0, 500, n)
    frame = pl.DataFrame(
        {
            "id": pl.Series(ids).cast(pl.String),
            "number": draws.normal(0, 1, n),
            "rare": pl.Series(draws.geometric(0.5, n)).cast(pl.String),
        }
    )
    assert run(frame, window=2048) == []


def test_a_column_that_was_all_missing_is_a_drift_when_it_is_not() -> None:
    numbers = [None] * WINDOW + [1.5] * WINDOW
    frame = pl.DataFrame({"late": pl.Series(numbers, dtype=pl.Float64)})
    assert [alarm.field for alarm in run(frame)] == ["late"]


def test_a_field_that_is_no_column_is_left_out() -> None:
    frame = pl.DataFrame({"there": ["a", "b"] * WINDOW})
    drift = InputDrift(["hour", "there"], WINDOW)
    assert drift.add(frame) == []
    assert drift.figures() == {"psi.there": 0.0}
