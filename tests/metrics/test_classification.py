"""Classification metrics against scikit-learn, on ordinary and adversarial rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
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


@settings(max_examples=30)  # scikit-learn's checks are slow
@given(rows, st.sampled_from([1.0, 1e-3, 1e-200, 1e300]))
def test_weights_count_by_their_ratios(table: list[tuple[int, float, int]], scale: float) -> None:
    label, prob, weight = columns(table)
    if all(weight[label == c].sum() for c in (0, 1)):
        expected = oracle.roc_auc_score(label, prob, sample_weight=weight)
        assert metrics.auc(label, prob, weight * scale) == pytest.approx(expected, abs=1e-12)
        expected = oracle.log_loss(label, prob, sample_weight=weight)
        assert metrics.log_loss(label, prob, weight * scale) == pytest.approx(expected, abs=1e-12)


def test_classes_may_have_weights_of_very_different_size() -> None:
    label, score = [0, 0, 1, 1], [0.1, 0.6, 0.3, 0.6]
    assert metrics.auc(label, score, [1e-300, 1e-300, 1e300, 1e300]) == 0.625
    # A row of weight 0 is no row, whatever its loss.
    assert metrics.log_loss_of_logits([1, 0], [-np.inf, 0], [0, 1]) == pytest.approx(np.log(2))


# Signed zeros, subnormal, neighbouring, huge and infinite scores: what breaks ranks by arithmetic.
harsh = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([0.0, -0.0, 5e-324, 1.0, 1 + 2**-52, -1e308, 1e308, np.inf, -np.inf]),
    ),
    min_size=2,
    max_size=25,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@given(harsh)
def test_harsh_scores_against_every_pair(table: list[tuple[int, float]]) -> None:
    pairs = [(a, b) for one, a in table for other, b in table if one > other]
    expected = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    label, score = (np.array(c) for c in zip(*table, strict=True))
    assert metrics.auc(label, score) == pytest.approx(expected, abs=1e-12)
    assert metrics.auc(label, score, np.ones(len(label))) == pytest.approx(expected, abs=1e-12)
    assert metrics.gauc(label, score, np.zeros(len(label))) == pytest.approx(expected, abs=1e-12)
    # No number is above infinity: then "no row is positive" is no threshold.
    tried = [*score, *([np.nextafter(score.max(), np.inf)] if score.max() < np.inf else [])]
    for name, function in (("f1", metrics.f1), ("accuracy", metrics.accuracy)):
        chosen = metrics.best_threshold(label, score, name)  # type: ignore[arg-type]
        values = {t: function(label, score, t) for t in tried}
        best = max(values.values())
        assert chosen == max(t for t, value in values.items() if value == best)


@given(st.one_of(rows, harsh), st.sampled_from([np.float64, np.float32, np.int64, np.int8]))
def test_the_walk_of_many_rows_counts_the_same(table: list[tuple[float, ...]], kind: type) -> None:
    label, score = (np.array(c) for c in list(zip(*table, strict=True))[:2])
    with np.errstate(over="ignore", invalid="ignore"):
        score = np.nan_to_num(score * 4, posinf=9, neginf=-9).clip(-99, 99).astype(kind)
    few = metrics.auc(label, score)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("recprune.metrics.areas.MANY", 0)
        assert metrics.auc(label, score) == few


def test_heavy_ties_in_many_rows() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 20_000)
    score = np.round(rng.random(20_000) * 0.9 + label * 0.1, 1)
    weight = rng.random(20_000)
    assert metrics.auc(label, score) == pytest.approx(oracle.roc_auc_score(label, score))
    expected = oracle.roc_auc_score(label, score, sample_weight=weight)
    assert metrics.auc(label, score, weight) == pytest.approx(expected)
    expected = oracle.average_precision_score(label, score)
    assert metrics.average_precision(label, score) == pytest.approx(expected)


def test_one_class_is_enough_where_no_pairs_are_compared() -> None:
    prob = [0.2, 0.7]
    assert metrics.average_precision([1, 1], prob) == 1
    assert metrics.recall([0, 0], prob) == metrics.precision([0, 0], prob) == 0
    assert metrics.f1([0, 0], prob) == 0
    assert metrics.accuracy([0, 0], prob) == 0.5
    expected = oracle.log_loss([1, 1], prob, labels=[0, 1])
    assert metrics.log_loss([1, 1], prob) == pytest.approx(expected)
    assert metrics.brier([0, 0], prob) == pytest.approx((0.04 + 0.49) / 2)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.30000001, 0.5, 1.0, 1.5])
def test_thresholds_against_scikit_learn(threshold: float) -> None:
    rng = np.random.default_rng(3)
    label, prob = rng.integers(0, 2, 300), np.round(rng.random(300), 1)
    called = prob >= threshold
    for ours, theirs in (
        (metrics.accuracy, oracle.accuracy_score(label, called)),
        (metrics.precision, oracle.precision_score(label, called, zero_division=0)),
        (metrics.recall, oracle.recall_score(label, called)),
        (metrics.f1, oracle.f1_score(label, called, zero_division=0)),
    ):
        assert ours(label, prob, threshold) == pytest.approx(theirs, abs=1e-12)
    true_negative, false_positive, missed, true = oracle.confusion_matrix(label, called).ravel()
    assert metrics.confusion(label, prob, threshold) == (
        true,
        false_positive,
        missed,
        true_negative,
    )


@settings(max_examples=30)  # scikit-learn's checks are slow
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


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_undoing_a_sampling_is_bayes_rule(base: float, rate: float, other: float) -> None:
    sampled = base / (base + (1 - base) * rate)  # the rate of positives once negatives are dropped
    back = metrics.undo_sampling([sampled], rate)
    assert back == pytest.approx([base], rel=1e-6)
    twice = metrics.undo_sampling(metrics.undo_sampling([base], rate), other)
    assert twice == pytest.approx(metrics.undo_sampling([base], rate * other), rel=1e-9)


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
    label = np.tile([0, 1], 600_000)
    assert metrics.auc(label, label.astype(np.float64)) == 1
    assert metrics.auc(label, np.zeros(1_200_000, np.float16)) == 0.5


def test_infinite_scores_have_their_place() -> None:
    assert metrics.auc([0, 0, 1, 1], [-np.inf, 0, 1, np.inf]) == 1
    assert metrics.auc([1, 0], [np.inf, np.inf]) == 0.5


ALL = (
    metrics.accuracy,
    metrics.auc,
    metrics.average_precision,
    metrics.best_threshold,
    metrics.brier,
    metrics.calibration_curve,
    metrics.calibration_error,
    metrics.confusion,
    metrics.f1,
    metrics.log_loss,
    metrics.log_loss_of_logits,
    metrics.precision,
    metrics.recall,
    lambda label, score: metrics.group_auc(label, score, [0] * len(label)),
)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([0, 1], [0.5]),
        ([0, 1], [0.5, np.nan]),
        ([0, 1], [[0.5, 0.5]]),
        ([0, 1], ["a", "b"]),
        ([0, 2], [0.5, 0.5]),
        ([0, 0.5], [0.5, 0.5]),
        ([-1, 1], [0.5, 0.5]),
        ([0, np.nan], [0.5, 0.5]),
        ([0, None], [0.5, 0.5]),
        ([], []),
    ],
)
def test_every_metric_refuses_what_it_cannot_judge(
    function: Callable[..., object], label: object, score: object
) -> None:
    with pytest.raises(ParameterError):
        function(label, score)


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
        (lambda: metrics.accuracy([0, 1], [0.1, 0.2], "half"), "'threshold'"),  # type: ignore[arg-type]
        (lambda: metrics.log_loss([0, 1], [0.1, 0.2], [0, 0]), "above 0 for some row"),
        (lambda: metrics.log_loss([0, 1], [0.1, 0.2], [1, np.inf]), "finite numbers ≥ 0"),
        (lambda: metrics.group_auc([0, 1], [0.1, 0.2], [[1], [2]]), "one-axis array"),
        (lambda: metrics.group_auc([0, 1], [0.1, 0.2], [None, "a"]), "none missing"),
        (lambda: metrics.group_auc([0, 1], [0.1, 0.2], [1]), "as long as the labels"),
        (lambda: metrics.average_precision([0, 0], [0.1, 0.2]), "a positive row"),
        (lambda: metrics.gauc([0, 1], [0.1, 0.2], [7, 8]), "both classes for some user"),
        (lambda: metrics.calibration_curve([0, 1], [0.1, 0.2], bins=0), "'bins'"),
        (lambda: metrics.undo_sampling([0.1], 0.0), "a number in (0, 1]. Got 0.0"),
        (lambda: metrics.undo_sampling([0.1], 1.1), "Got 1.1"),
        (lambda: metrics.undo_sampling([0.1], True), "Got True"),
        (lambda: metrics.undo_sampling([1.5], 0.5), "'prob'"),
    ],
)
def test_bad_input_is_named(call: object, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        call()  # type: ignore[operator]
    assert words in str(error.value)
