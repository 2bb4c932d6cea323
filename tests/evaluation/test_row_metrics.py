"""Metrics of rows with their intervals, against scikit-learn, SciPy and simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as oracle
from scipy import stats

from recprune.errors import DataError, ParameterError
from recprune.evaluation.estimates import auc_interval, mean_interval
from recprune.evaluation.row_metrics import ScoredRows, probability
from recprune.metrics import gauc, metric

NAMES = ("auc", "gauc", "average_precision", "logloss", "brier", "calibration_error")
CALLS = ("accuracy", "precision", "recall", "f1")


def rows(seed: int = 0, n: int = 900, users: int = 40, threshold: float = 0.4) -> ScoredRows:
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, users, n) * 7
    label = (rng.random(n) < 0.3).astype(np.float32)
    logits = (label + 0.4 * rng.normal(size=users)[owner // 7] + rng.normal(size=n) - 1).astype(
        np.float32
    )
    return ScoredRows(label, logits, owner, threshold)


def plain(name: str, label: np.ndarray, logits: np.ndarray, threshold: float) -> float:
    prob = 1 / (1 + np.exp(-logits.astype(float)))
    called = prob >= threshold
    functions: dict[str, Callable[[], float]] = {
        "auc": lambda: oracle.roc_auc_score(label, logits),
        "average_precision": lambda: oracle.average_precision_score(label, logits),
        "logloss": lambda: oracle.log_loss(label, prob, labels=[0, 1]),
        "brier": lambda: oracle.brier_score_loss(label, prob),
        "accuracy": lambda: oracle.accuracy_score(label, called),
        "precision": lambda: oracle.precision_score(label, called, zero_division=0),
        "recall": lambda: oracle.recall_score(label, called),
        "f1": lambda: oracle.f1_score(label, called, zero_division=0),
    }
    return functions[name]()


@pytest.mark.parametrize("name", [n for n in (*NAMES, *CALLS) if n[-3:] != "ror" and n != "gauc"])
def test_values_are_scikit_learns(name: str) -> None:
    scored = rows()
    found = scored.estimate(metric(name))
    expected = plain(name, scored.label, scored.logits, scored.threshold)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert (found.of, found.count, found.skipped) == ("rows", 900, 0)
    if name == "average_precision":
        assert found.interval is None
    else:
        assert found.interval is not None
        low, high = found.interval
        assert low < found.value < high


@pytest.mark.parametrize("name", ["auc", "logloss", "brier", *CALLS])
def test_users_one_by_one(name: str) -> None:
    scored = rows(n=300, users=50)
    values = scored.by_user(metric(name))
    assert values is not None
    for user, value in zip(np.unique(scored.users), values, strict=True):
        here = scored.users == user
        label, logits = scored.label[here], scored.logits[here]
        called = probability(logits) >= scored.threshold
        nothing = {"auc": len(set(label)) < 2, "precision": not called.any()}
        nothing |= {"recall": not label.any(), "f1": not (label.any() or called.any())}
        if nothing.get(name):
            assert np.isnan(value)
        else:
            assert value == pytest.approx(plain(name, label, logits, scored.threshold), rel=1e-6)


@pytest.mark.parametrize("name", ["auc", "brier", "recall", "gauc"])
def test_intervals_are_of_rows_clustered_by_user(name: str) -> None:
    scored = rows(n=400, users=30)
    label, users = scored.label, scored.users
    found = scored.estimate(metric(name)).interval
    if name == "auc":
        assert found == auc_interval(label, scored.logits, users)
    elif name == "gauc":
        _, code, count = np.unique(users, return_inverse=True, return_counts=True)
        values = scored.by_user(metric("gauc"))
        known = np.flatnonzero(~np.isnan(values))
        assert found == mean_interval(values[known], count[known], known)
        assert len(count) == code.max() + 1 == 30
    elif name == "brier":
        squares = (probability(scored.logits) - label) ** 2
        assert found == mean_interval(squares, np.ones(400), users)
    else:
        called = probability(scored.logits) >= scored.threshold
        assert found == mean_interval(called, label, users)


def test_gauc_counts_the_users_with_one_class() -> None:
    scored = rows(n=120, users=40)
    found = scored.estimate(metric("gauc"))
    assert found.value == pytest.approx(gauc(scored.label, scored.logits, scored.users))
    users = np.unique(scored.users)
    both = sum(len(set(scored.label[scored.users == u])) == 2 for u in users)
    assert (found.of, found.count, found.skipped) == ("users", both, len(users) - both)
    assert found.skipped


def test_without_users_rows_stand_alone() -> None:
    scored = rows()
    alone = ScoredRows(scored.label, scored.logits, None, 0.4)
    found = alone.estimate(metric("brier"))
    values = (probability(scored.logits) - scored.label) ** 2
    expected = stats.t.interval(0.95, 899, values.mean(), stats.sem(values))
    assert found.interval == pytest.approx(expected, rel=1e-3)
    assert alone.by_user(metric("brier")) is None
    with pytest.raises(DataError, match="'gauc' is a mean over users"):
        alone.estimate(metric("gauc"))


def test_the_interval_of_equal_weights_is_the_usual_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 200)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    found = mean_interval(values, np.ones(200), np.arange(200))
    assert found == pytest.approx(expected, rel=2e-3)  # the freedom is estimated
    # What has no weight is not there, whatever stands there.
    more = np.append(values, [np.nan, np.inf])
    again = mean_interval(more, np.append(np.ones(200), [0, 0]), np.arange(202))
    assert again == found


def test_too_little_has_no_interval() -> None:
    assert mean_interval(np.array([1.0, 2.0]), np.ones(2), np.array([5, 5])) is None
    assert mean_interval(np.array([1.0]), np.zeros(1), np.zeros(1)) is None
    assert mean_interval(np.array([1.0, np.inf]), np.ones(2), np.arange(2)) is None
    label = np.array([1, 1, 0, 0])
    assert auc_interval(label, np.arange(4.0), np.array([0, 0, 1, 2])) is None
    assert auc_interval(label, np.full(4, np.inf), np.arange(4)) is not None


def test_intervals_cover_the_truth_where_rows_of_a_user_belong_together() -> None:
    runs, users, covered = 300, 60, {"mean": 0, "rows": 0, "auc": 0}
    rng = np.random.default_rng(1)
    for _ in range(runs):
        size = rng.integers(1, 12, users)
        owner = np.repeat(np.arange(users), size)
        own = rng.normal(size=users)[owner]
        values = own + rng.normal(size=len(owner))
        for name, clusters in (("mean", owner), ("rows", np.arange(len(owner)))):
            low, high = mean_interval(values, np.ones(len(owner)), clusters) or (np.nan, np.nan)
            covered[name] += low <= 0 <= high
        label = rng.random(len(owner)) < 0.5
        score = own + rng.normal(size=len(owner))  # says nothing of the label: AUC ½
        low, high = auc_interval(label, score, owner) or (np.nan, np.nan)
        covered["auc"] += low <= 0.5 <= high
    assert 0.91 <= covered["mean"] / runs <= 0.98
    assert 0.91 <= covered["auc"] / runs <= 0.98
    assert covered["rows"] / runs < 0.85  # rows that were taken for independent promise too much


def test_nothing_called_positive_is_precision_zero_without_an_interval() -> None:
    scored = ScoredRows(np.array([0, 1, 1]), np.array([-3.0, -2.0, -1.0]), np.arange(3), 0.9)
    found = scored.estimate(metric("precision"))
    assert (found.value, found.interval) == (0, None)


def test_an_infinite_loss_has_no_interval() -> None:
    scored = ScoredRows(np.array([0, 1, 1]), np.array([-3.0, -np.inf, 1.0]), np.arange(3), 0.5)
    found = scored.estimate(metric("logloss"))
    assert (found.value, found.interval) == (np.inf, None)


def test_one_class_is_an_error() -> None:
    scored = ScoredRows(np.zeros(3), np.arange(3.0), None, 0.5)
    with pytest.raises(ParameterError, match="both classes"):
        scored.estimate(metric("auc"))
