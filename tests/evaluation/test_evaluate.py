"""One model's metrics, the count of test uses, and latency side by side."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as oracle

from recprune.errors import ParameterError, RecpruneWarning
from recprune.evaluation import TestUses, paired_latency_us, row_facts


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


def test_a_second_model_on_one_test_set_warns(tmp_path: Path) -> None:
    label, scores = np.tile([0.0, 1.0], 50), np.arange(100.0)
    uses = TestUses(tmp_path / "deep" / "uses.json")
    assert uses.count(label, scores, b"first") == 1
    assert uses.count(label, scores, b"first") == 1  # the same comparison again is no new use
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        assert TestUses(uses.path).count(label, -scores, b"second") == 2
    assert uses.count(1 - label, scores, b"second") == 1  # other rows
    assert [f.name for f in uses.path.parent.iterdir()] == ["uses.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"a": 3})])
def test_a_damaged_ledger_starts_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "uses.json"
    path.write_text(content)
    assert TestUses(path).count(np.array([0, 1]), np.array([0.1, 0.2]), b"model") == 1


def test_an_unwritable_ledger_is_no_failure(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert TestUses(blocker / "uses.json").count(np.array([0, 1]), np.zeros(2), b"model") == 1


def test_latency_is_per_call_and_in_turns() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("slow")
        time.sleep(0.004)

    quick, long = paired_latency_us([lambda: calls.append("quick"), slow])
    assert quick < 1000 < 4000 <= long
    timed = calls[10:]
    assert timed == ["quick", "slow"] * (len(timed) // 2)
