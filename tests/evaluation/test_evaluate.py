"""One model's metrics, and latency side by side."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as oracle

from recprune.errors import ParameterError
from recprune.evaluation import paired_latency_us, row_facts


def test_row_facts_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(1000) < 0.3).astype(np.float32)
    logits = (label + rng.normal(size=1000) - 1).astype(np.float32)
    prob = 1 / (1 + np.exp(-logits.astype(float)))
    found = row_facts(logits, label, 0.4)
    called = prob >= 0.4
    assert found == pytest.approx(
        {
            "auc": oracle.roc_auc_score(label, logits),
            "logloss": oracle.log_loss(label, prob),
            "accuracy": oracle.accuracy_score(label, called),
            "precision": oracle.precision_score(label, called),
            "recall": oracle.recall_score(label, called),
            "majority_accuracy": 1 - label.mean(dtype=float),
            "threshold": 0.4,
        }
    )
    assert all(type(value) is float for value in found.values())


def test_extreme_logits_are_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = row_facts(np.array([-1e5, 1e5], np.float32), np.array([0, 1]), 0.5)
    assert (found["accuracy"], found["logloss"]) == (1, 0)


def test_one_class_is_an_error() -> None:
    with pytest.raises(ParameterError, match="both classes"):
        row_facts(np.array([0.1, 0.2]), np.array([0, 0]), 0.5)


def test_latency_is_per_call_and_in_turns() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("slow")
        time.sleep(0.004)

    quick, long = paired_latency_us([lambda: calls.append("quick"), slow])
    assert quick < 1000 < 4000 <= long
    timed = calls[10:]
    assert timed == ["quick", "slow"] * (len(timed) // 2)


class Clock:
    """A clock that calls move on; and what they did, in their order."""

    def __init__(self) -> None:
        self.now, self.calls = 100.0, list[float]()

    def takes(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds
            self.calls.append(seconds)

        return call


@pytest.mark.parametrize(
    ("quick", "slow", "turns"),
    [(0.001, 0.003, 250), (0.0625, 0.1875, 30), (0.0, 0.5, 30), (0.0078125, 0.0234375, 32)],
)
def test_turns_take_half_a_second_a_call_and_are_thirty_at_least(
    quick: float, slow: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("recprune.evaluation.latency.time.perf_counter", lambda: clock.now)
    found = paired_latency_us([clock.takes(quick), clock.takes(slow)])
    assert found == pytest.approx([1e6 * quick, 1e6 * slow])
    assert clock.calls[:10] == [quick] * 5 + [slow] * 5
    assert clock.calls[10:] == pytest.approx([quick, slow] * turns)


def test_the_time_of_a_call_is_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seconds = Clock(), iter([9.0] * 5 + [0.02, 0.04, 5.0] * 100)

    def call() -> None:
        clock.now += next(seconds)

    monkeypatch.setattr("recprune.evaluation.latency.time.perf_counter", lambda: clock.now)
    assert paired_latency_us([call]) == pytest.approx([0.04e6])
