"""Dropped columns that begin to matter, and all that looks like it and is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.metrics import auc
from recprune.streaming.watching import Alarm, Shadows, Watching
from recprune.streaming.watching.alarms import BLOCK
from recprune.streaming.watching.shadow_kernels import BUCKETS, foretell
from recprune.streaming.watching.shadows import worth

from .world import Events, world


def run(events: Events, shadows: Shadows, chunk: int = 20_000) -> list[Alarm]:
    found = []
    for start in range(0, len(events), chunk):
        part = events[start : start + chunk]
        found += shadows.add(part.frame, part.label, part.logits)
    return found


@pytest.mark.parametrize("values", [2, 20, 300])
@pytest.mark.parametrize("strength", [0.4, 0.8])
def test_one_alarm_a_drift_in_time(values: int, strength: float) -> None:
    events = world(120_000, values, values=values, drift_at=50_000, strength=strength)
    found = run(events, Shadows(["d0", "d1"], Watching()))
    assert [(alarm.kind, alarm.field) for alarm in found] == [("shadow", "d0")]
    assert 50_000 < found[0].event < 90_000
    assert found[0].detail["gain_nats"] > 0


def test_a_second_drift_is_a_second_alarm() -> None:
    first = world(100_000, 1, drift_at=40_000)
    second = world(250_000, 2, drift_at=200_000)
    shadows = Shadows(["d0", "d1"], Watching())
    (one,) = run(first, shadows)
    (two,) = run(second, shadows)
    assert (one.field, two.field) == ("d0", "d0")
    assert 300_000 < two.event < 330_000


@pytest.mark.parametrize(("shift", "slope"), [(0.5, 1.0), (0.0, 0.5), (-0.3, 1.5)])
def test_a_model_that_is_off_gives_nothing_to_gain(shift: float, slope: float) -> None:
    events = world(150_000, 3)
    events.logits = np.float32(slope) * events.logits + np.float32(shift)
    # A column that follows the logit: it tells how far off the model is, and nothing else.
    bands = pl.Series("d0", np.floor(2 * events.logits)).cast(pl.String)
    events.frame = events.frame.with_columns(bands)
    shadows = Shadows(["d0", "d1"], Watching())
    assert run(events, shadows) == []
    figures = shadows.figures()
    assert figures["shadow.d0"] < figures["shadow_tolerance"] / 2


def test_a_base_rate_that_moves_gives_nothing_to_gain() -> None:
    n = 200_000
    events = world(n, 4)
    draws = np.random.default_rng(44)
    wave = 0.8 * np.sin(np.arange(n) / 20_000)
    chance = 1 / (1 + np.exp(-events.logits - wave))
    events.label = (draws.random(n) < chance).astype(np.float32)
    shadows = Shadows(["d0", "d1"], Watching())
    assert run(events, shadows) == []
    figures = shadows.figures()
    assert max(figures["shadow.d0"], figures["shadow.d1"]) < figures["shadow_tolerance"] / 2


def test_a_gain_within_the_tolerance_is_no_alarm() -> None:
    events = world(200_000, 5, drift_at=0, strength=0.3)
    assert run(events, Shadows(["d0"], Watching(auc=0.002)))
    assert not run(events, Shadows(["d0"], Watching(auc=0.03)))


def test_false_alarms_keep_the_bound() -> None:
    # A CUSUM is at most Shiryaev-Roberts' statistic R, and R − t a martingale: so a column of noise
    # has raised an alarm by event t with a chance of t / run_length at most (Doob).
    n, columns, run_length = 4 * BLOCK, 300, 10 * BLOCK
    events = world(n, 6, columns=columns, values=40)
    shadows = Shadows(
        [f"d{i}" for i in range(columns)],
        Watching(run_length=run_length, auc=1e-6, window=100 * BLOCK),
    )
    alarms = run(events, shadows)
    bound = n / run_length
    assert len(alarms) <= columns * bound + 3 * np.sqrt(columns * bound * (1 - bound))


@given(st.floats(0.01, 0.99), st.floats(-20, 20), st.floats(0, 50), st.floats(-5, 5))
def test_the_ratio_has_a_mean_of_one(
    chance: float, residual: float, variance: float, shared: float
) -> None:
    # Of an event whose chance is known, whatever was learned before: so S can grow by luck alone.
    mean = 0.0
    for y in (0, 1):
        table, sums = np.zeros((BUCKETS, 2)), np.array([shared, 2.0, 0.0, 1.0, 0.0, 1.0])
        table[5] = residual, variance
        event = (
            np.array([y], np.float32),
            np.array([chance]),
            np.array([5 + 7 * BUCKETS], np.uint64),
        )
        foretell(*event, 0, 5.0, 1.0, table, sums)
        ratio = sums[3]
        mean += ratio * (chance if y else 1 - chance)
        assert table[5] == pytest.approx([residual + y - chance, variance + chance * (1 - chance)])
    assert mean == pytest.approx(1)


def test_columns_of_any_type_are_read() -> None:
    events = world(3 * BLOCK, 7)
    n = len(events)
    frame = pl.DataFrame(
        {
            "number": np.arange(n) % 7,
            "flag": np.arange(n) % 2 == 0,
            "list": pl.Series([["a", "b"], [], None] * (n // 3)),
            "nothing": pl.Series([None] * n, dtype=pl.String),
        }
    )
    shadows = Shadows(frame.columns, Watching())
    assert shadows.add(frame, events.label, events.logits) == []
    assert len(shadows.figures()) == 5


@pytest.mark.parametrize("strength", [0.2, 0.4])
def test_the_tolerance_is_worth_the_auc_that_it_says(strength: float) -> None:
    events = world(400_000, 8, drift_at=0, strength=strength, values=1000)
    draws = np.random.default_rng(88)
    extra = draws.normal(0, strength, 400_000)
    truth = events.logits.astype(np.float64) + extra
    label = draws.random(400_000) < 1 / (1 + np.exp(-truth))
    gained = auc(label, truth) - auc(label, events.logits)
    chance = 1 / (1 + np.exp(-events.logits.astype(np.float64)))

    def loss(logit: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(label, -logit, logit)).mean())

    spread, variance = float(events.logits.std()), float((chance * (1 - chance)).mean())
    nats = loss(events.logits.astype(np.float64)) - loss(truth)
    assert worth(gained, spread, variance) == pytest.approx(nats, rel=0.25)


def test_without_columns_there_is_nothing_to_do() -> None:
    shadows = Shadows([], Watching())
    events = world(BLOCK, 9)
    assert shadows.add(events.frame, events.label, events.logits) == []
    assert shadows.figures() == {}
