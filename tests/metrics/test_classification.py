"""Classification metrics against scikit-learn, on ordinary and adversarial rows."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve as oracle_curve

from recprune import metrics
from recprune.errors import ParameterError

# Few distinct scores, so that ties within and across the classes are the rule.
rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0]),
        st.integers(0, 3),
    ),
    min_size=2,
    max_size=40,
).filter(lambda rows: len({label for label, _, _ in rows}) == 2)


def columns(table: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, prob, weight = (np.array(c) for c in zip(*table, strict=True))
    return label, prob, weight


@given(rows)
def test_auc(table: list[tuple[int, float, int]]) -> None:
    label, score, weight = columns(table)
    expected = oracle.roc_auc_score(label, score)
    assert metrics.auc(label, score) == pytest.approx(expected, abs=1e-12)
    assert metrics.auc(label == 1, score.astype(np.float32)) == pytest.approx(expected, abs=1e-12)
    assert metrics.auc(label, -score) == pytest.approx(1 - expected, abs=1e-12)
    if all(weight[label == c].sum() for c in (0, 1)):
        # A row of weight 2 is the row twice.
        repeated = metrics.auc(np.repeat(label, weight), np.repeat(score, weight))
        assert metrics.auc(label, score, weight) == pytest.approx(repeated, abs=1e-12)


@given(rows)
def test_others_against_scikit_learn(table: list[tuple[int, float, int]]) -> None:
    label, prob, _ = columns(table)
    called = prob >= 0.5
    for ours, theirs in (
        (metrics.accuracy(label, prob, 0.5), oracle.accuracy_score(label, called)),
        (
            metrics.precision(label, prob, 0.5),
            oracle.precision_score(label, called, zero_division=0),
        ),
        (metrics.recall(label, prob, 0.5), oracle.recall_score(label, called)),
        (metrics.f1(label, prob, 0.5), oracle.f1_score(label, called, zero_division=0)),
        (metrics.log_loss(label, prob), oracle.log_loss(label, prob)),
        (metrics.brier(label, prob), oracle.brier_score_loss(label, prob)),
        (metrics.average_precision(label, prob), oracle.average_precision_score(label, prob)),
    ):
        assert ours == pytest.approx(theirs, abs=1e-12)


@given(rows)
def test_the_best_threshold_is_the_best_of_all(table: list[tuple[int, float, int]]) -> None:
    label, prob, _ = columns(table)
    tried = [*prob, np.nextafter(prob.max(), 2)]
    for name, function in (("f1", metrics.f1), ("accuracy", metrics.accuracy)):
        chosen = metrics.best_threshold(label, prob, name)  # type: ignore[arg-type]
        scores = {t: function(label, prob, t) for t in tried}
        best = max(scores.values())
        assert scores[chosen] == best
        assert chosen == max(t for t, value in scores.items() if value == best)


@given(rows)
def test_group_auc_is_the_auc_of_each_group(table: list[tuple[int, float, int]]) -> None:
    label, score, users = columns(table)
    names, values, counts = metrics.group_auc(label, score, users)
    for name, value, count in zip(names, values, counts, strict=True):
        here = users == name
        assert count == here.sum()
        if len(set(label[here])) == 2:
            assert value == pytest.approx(metrics.auc(label[here], score[here]), abs=1e-12)
        else:
            assert np.isnan(value)
    known = ~np.isnan(values)
    if known.any():
        expected = np.average(values[known], weights=counts[known])
        assert metrics.gauc(label, score, users) == pytest.approx(expected)


def test_calibration_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    prob = rng.random(2000)
    label = rng.random(2000) < prob**2
    mean, rate, count = metrics.calibration_curve(label, prob, bins=7)
    expected_rate, expected_mean = oracle_curve(label, prob, n_bins=7)
    np.testing.assert_allclose(rate, expected_rate)
    np.testing.assert_allclose(mean, expected_mean)
    assert count.sum() == 2000
    error = metrics.calibration_error(label, prob, bins=7)
    assert error == pytest.approx((np.abs(mean - rate) * count).sum() / 2000)


def test_logits_and_probabilities_agree_and_saturated_ones_stay_finite() -> None:
    rng = np.random.default_rng(1)
    logit, label = rng.normal(size=500) * 3, rng.integers(0, 2, 500)
    prob = 1 / (1 + np.exp(-logit))
    assert metrics.log_loss_of_logits(label, logit) == pytest.approx(metrics.log_loss(label, prob))
    assert np.isfinite(metrics.log_loss([1, 0], np.array([0.0, 1.0], np.float32)))
    assert metrics.log_loss_of_logits([0], [1000.0]) == 1000


def test_many_pairs_do_not_overflow() -> None:
    # 2 × 150,000² pairs do not fit 32 bits.
    label = np.tile([0, 1], 150_000)
    assert metrics.auc(label.astype(np.float32), label.astype(np.float32)) == 1
    assert metrics.auc(label, np.zeros(300_000)) == 0.5


def test_infinite_scores_have_their_place() -> None:
    assert metrics.auc([0, 0, 1, 1], [-np.inf, 0, 1, np.inf]) == 1
    assert metrics.auc([1, 0], [np.inf, np.inf]) == 0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.auc([0, 1], [0.1, np.nan]), "without NaN. Got 'NaN at row 1'"),
        (lambda: metrics.auc([0, 1], [0.1]), "as long as the labels"),
        (lambda: metrics.auc([0, 2], [0.1, 0.2]), "array of 0 and 1. Got 2"),
        (lambda: metrics.auc([0, np.nan], [0.1, 0.2]), "array of 0 and 1"),
        (lambda: metrics.auc(["no", "yes"], [0.1, 0.2]), "one-axis array of 0 and 1"),
        (lambda: metrics.auc([[0, 1]], [0.1, 0.2]), "one-axis array"),
        (
            lambda: metrics.auc([1, 1], [0.1, 0.2]),
            "must hold both classes. Got 2 rows that are all 1",
        ),
        (lambda: metrics.auc([], []), "at least one row"),
        (lambda: metrics.auc([0, 1], [0.1, 0.2], [1, -1]), "finite numbers ≥ 0"),
        (lambda: metrics.auc([0, 1], [0.1, 0.2], [1, 0]), "some row of each class"),
        (lambda: metrics.log_loss([0, 1], [0.1, 1.2]), "in [0, 1]. Got 1.2"),
        (lambda: metrics.brier([0, 1], [0.1, -0.2]), "in [0, 1]. Got -0.2"),
        (lambda: metrics.best_threshold([0, 1], [0.1, 0.2], "auc"), "'f1' or 'accuracy'"),  # type: ignore[arg-type]
        (lambda: metrics.best_threshold([0, 0], [0.1, 0.2]), "both classes"),
        (lambda: metrics.accuracy([0, 1], [0.1, 0.2], float("nan")), "'threshold'"),
        (lambda: metrics.average_precision([0, 0], [0.1, 0.2]), "a positive row"),
        (lambda: metrics.gauc([0, 1], [0.1, 0.2], [7, 8]), "both classes for some user"),
        (lambda: metrics.calibration_curve([0, 1], [0.1, 0.2], bins=0), "'bins'"),
    ],
)
def test_bad_input_is_named(call: object, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        call()  # type: ignore[operator]
    assert words in str(error.value)
