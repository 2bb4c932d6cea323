"""One model's metrics, and latency side by side."""

from __future__ import annotations

import time
import warnings

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
