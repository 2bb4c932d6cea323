"""Chances that stop to mean what they meant, and the bound on false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from recprune.streaming.watching import Alarm, CalibrationDrift, Watching
from recprune.streaming.watching.alarms import BLOCK
from recprune.streaming.watching.calibration import BASE, HARMLESS, SIZES

from .world import Events, world


def run(events: Events, test: CalibrationDrift) -> list[Alarm]:
    found = []
    for start in range(0, len(events), 15_000):
        part = events[start : start + 15_000]
        found += test.add(part.label, part.logits)
    return found


@pytest.mark.parametrize("shift", [-0.6, -0.3, 0.3, 0.6])
def test_one_alarm_where_the_base_rate_jumps(shift: float) -> None:
    events = world(180_000, 1, drift_at=100_000, strength=0, shift=shift)
    (alarm,) = run(events, CalibrationDrift(Watching()))
    assert (alarm.kind, alarm.field) == ("calibration", None)
    assert 100_000 < alarm.event < 100_000 + 6_000 / shift**2
    assert np.mean(list(alarm.detail.values())) * shift > 0


def test_getting_better_is_no_drift() -> None:
    events = world(300_000, 5)
    off = np.linspace(1, 0, 250_000, dtype=np.float32)
    events.logits[:250_000] += 0.5 * off + events.logits[:250_000] * 0.6 * off
    test = CalibrationDrift(Watching())
    assert run(events, test) == []
    assert all(abs(off) < HARMLESS for off in test.figures().values())


def test_being_too_sure_all_of_a_sudden_is_a_drift() -> None:
    events = world(200_000, 2)
    events.logits[100_000:] *= 1.6
    assert [alarm.kind for alarm in run(events, CalibrationDrift(Watching()))] == ["calibration"]


def test_being_off_from_the_start_is_none() -> None:
    events = world(300_000, 3)
    events.logits = 1.5 * events.logits + np.float32(0.5)
    test = CalibrationDrift(Watching())
    assert run(events, test) == []
    figures = np.array(list(test.figures().values()))
    assert figures == pytest.approx(test._offsets, abs=HARMLESS)
    assert np.abs(figures).max() > 2 * HARMLESS


def test_it_is_armed_again_when_all_is_well() -> None:
    events = world(500_000, 4)
    for start in (100_000, 350_000):
        events.logits[start : start + 80_000] -= np.float32(0.5)
    found = run(events, CalibrationDrift(Watching()))
    assert [alarm.event // 50_000 for alarm in found] == [2, 7]


def test_false_alarms_keep_the_bound() -> None:
    # At the border of what is harmless, and calibrated to the letter but for it: the ratios' means
    # are then 1 (or less), and a test has raised an alarm by event t with a chance of t / run_length.
    n, runs, window = 2 * BLOCK, 100, BLOCK
    options = Watching(run_length=4.0 * n, window=window)
    alarms = 0
    for seed in range(runs):
        events = world(window + n, seed, drift_at=0, strength=0, shift=HARMLESS)
        test = CalibrationDrift(options)
        test.events = window
        test._edges = np.array([-2.2, -1.5, -0.8])
        alarms += len(run(events[window:], test)) > 0
    assert alarms <= runs / 4 + 3 * np.sqrt(runs * 3 / 16)


def test_the_ratio_has_a_mean_of_one_at_the_border() -> None:
    z = np.linspace(-8, 8, 33)[:, None]
    for sign, way in enumerate((1, -1)):
        odds = np.exp(z)
        ratio = (1 + BASE[sign] * odds) / (1 + SIZES[sign] * odds)
        for shift, most in ((HARMLESS * way, 1 + 1e-12), (0, 1), (-way, 1)):
            chance = 1 / (1 + np.exp(-z - shift))
            mean = ratio * (chance * SIZES[sign] / BASE[sign] + 1 - chance)
            assert (mean <= most).all()


def test_one_class_only_in_the_first_window_is_no_offset() -> None:
    test = CalibrationDrift(Watching(window=BLOCK))
    test.add(np.zeros(2 * BLOCK, np.float32), np.zeros(2 * BLOCK, np.float32))
    assert np.isfinite(list(test.figures().values())).all()
