"""Intervals in closed form: quantiles to many digits, rows needed, and what each interval is of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import Clusters, resampled_differences
from recprune.evaluation.delong import clustered_delong
from recprune.evaluation.estimates import Estimate, auc_interval, mean_interval
from recprune.evaluation.intervals import (
    Interval,
    effective_freedom,
    rows_needed,
    t_quantile,
    t_tail,
)
from recprune.evaluation.paired import Rows, cross_check, intervals
from recprune.metrics import auc


@pytest.mark.parametrize(
    ("freedom", "error"),
    [
        (3, 1e-5),
        (5, 5e-6),
        (6, 1e-7),
        (7.3, 6e-7),
        (10, 1e-8),
        (30, 2e-9),
        (60, 5e-11),
        (400, 2e-14),
    ],
)
def test_quantiles_are_as_exact_as_the_algorithm(freedom: float, error: float) -> None:
    for probability in (0.51, 0.6, 0.8, 0.9, 0.95, 0.975, 0.995, 0.9999):
        expected = stats.t.ppf(probability, freedom)
        assert t_quantile(probability, freedom) == pytest.approx(expected, rel=error)


def test_quantiles_meet_at_the_edges_of_their_ranges() -> None:
    for exact in (1, 2):
        for probability in (0.5, 0.6, 0.95, 0.999):
            expected = stats.t.ppf(probability, exact)
            assert t_quantile(probability, exact) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for first, last, low, high in (
        (1, 2, -3e-3, 0.25),
        (2, 2.5, -2e-3, 2e-3),
        (2.5, 3, -4e-5, 4e-5),
        (3, 30, -2e-5, 2e-5),
    ):
        for freedom in np.linspace(first, last, 60):
            for probability in (0.8, 0.9, 0.95, 0.975, 0.995):
                expected = stats.t.ppf(probability, freedom)
                assert low <= t_quantile(probability, freedom) / expected - 1 <= high
    for probability, freedom in ((0.49, 5), (1.0, 5), (0.9, 0.99), (0.9, math.nan), (math.nan, 5)):
        with pytest.raises(ParameterError, match=r"parameter of t_quantile must be"):
            t_quantile(probability, freedom)


def test_tails_are_wallaces() -> None:
    for freedom in (1.0, 3.0, 10.0, 50.0):
        for t in (-3.0, -0.5, 0.0, 0.7, 2.5):
            z = (8 * freedom + 1) / (8 * freedom + 3)
            z *= math.copysign(math.sqrt(freedom * math.log(1 + t * t / freedom)), t)
            assert t_tail(t, freedom) == pytest.approx(stats.norm.sf(z), rel=1e-9)
    assert t_tail(1.5, math.inf) == pytest.approx(stats.norm.sf(1.5), rel=1e-9)


def test_an_interval_adds_both_variances() -> None:
    found = Interval(-0.01, 0.0009, 0.0016, 12.0)
    assert found.error == pytest.approx(0.05)
    reach = 0.05 * stats.t.ppf(0.95, 12)
    assert found.bounds == pytest.approx((-0.01 - reach, -0.01 + reach))
    assert found.width == pytest.approx(2 * reach)


@pytest.mark.parametrize("freedom", [9.0, math.inf])
@pytest.mark.parametrize("seeds", [0.0, 1e-7])
def test_the_rows_asked_for_give_a_pass_four_times_in_five(freedom: float, seeds: float) -> None:
    tolerance, n = 0.004, 5000
    reach = stats.t.ppf(0.95, freedom) + stats.t.ppf(0.8, freedom)
    # These rows are too few for a model without any drop: it is taken for one.
    wide = Interval(-0.001, 0.002**2, seeds, freedom)
    rows = rows_needed(wide, tolerance, n)
    assert rows is not None
    assert rows > n
    error = math.sqrt(wide.rows * n / rows + seeds)
    assert error * reach == pytest.approx(tolerance, rel=1e-3)
    # They would have sufficed for it: then the drop that is seen is taken.
    narrow = Interval(-0.003, 0.0012**2, seeds, freedom)
    rows = rows_needed(narrow, tolerance, n)
    assert rows is not None
    error = math.sqrt(narrow.rows * n / rows + seeds)
    assert error * reach == pytest.approx(tolerance - 0.003, rel=1e-3)


def test_where_no_rows_would_do_none_are_asked_for() -> None:
    free = math.inf
    assert rows_needed(Interval(-0.002, 1e-6, 0.0, free), 0.002, 1000) is None
    assert rows_needed(Interval(-0.0019999, 1e-6, 0.0, free), 0.002, 1000) is not None
    assert rows_needed(Interval(0.0, math.inf, 0.0, 1.0), 0.002, 1000) is None
    # The seeds alone differ as much as fits: (1.645 + 0.842) standard errors in the tolerance.
    most = (0.002 / (stats.norm.ppf(0.95) + stats.norm.ppf(0.8))) ** 2
    assert rows_needed(Interval(0.0, 1e-6, 1.001 * most, free), 0.002, 1000) is None
    assert rows_needed(Interval(0.0, 1e-6, 0.99 * most, free), 0.002, 1000) is not None
    # Nothing to doubt: no row is needed, and none of many is asked for.
    assert rows_needed(Interval(0.0, 0.0, 0.0, free), 0.002, 1000) == 0


def test_freedom_is_satterthwaites() -> None:
    influence, code = np.array([3.0, -1.0, 2.0, 0.5, -4.0, 1.0]), np.array([0, 0, 1, 2, 3, 3])
    squares = np.array([2.0, 2.0, 0.5, -3.0]) ** 2
    expected = 3 * squares.sum() ** 2 / (squares**2).sum()
    assert expected > 3
    assert effective_freedom(influence, code, 4) == 3  # never more than clusters − 1
    influence[4] = -20
    squares[3] = 19.0**2
    expected = 3 * squares.sum() ** 2 / (squares**2).sum()
    assert effective_freedom(influence, code, 5) == pytest.approx(expected)
    assert effective_freedom(np.zeros(3), np.arange(3), 3) == 2
    assert effective_freedom(np.zeros(1), np.zeros(1, int), 1) == 1
    assert effective_freedom(np.ones(1), np.zeros(1, int), 1) == 1


# ---- of one model


def test_a_weighted_mean_is_the_linearised_ratio() -> None:
    draws = np.random.default_rng(0)
    values, weights, users = (
        draws.normal(2, 1, 60),
        draws.random(60) + 0.1,
        draws.integers(5, 17, 60),
    )
    low, high = mean_interval(values, weights, users) or (0, 0)
    mean = np.average(values, weights=weights)
    moves = weights * (values - mean) / weights.sum()
    names = np.unique(users)
    sums = np.array([moves[users == u].sum() for u in names])
    error = math.sqrt(len(names) / (len(names) - 1) * (sums**2).sum())
    freedom = min(3 * (sums**2).sum() ** 2 / (sums**4).sum(), len(names) - 1)
    assert (low + high) / 2 == pytest.approx(mean)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * error, rel=1e-4)


def test_an_auc_has_the_error_of_its_difference_to_a_constant() -> None:
    draws = np.random.default_rng(0)
    label, users = np.repeat([0, 1], [50, 30]), draws.integers(0, 25, 80)
    score = label + draws.normal(size=80)
    low, high = auc_interval(label, score, users) or (0, 0)
    assert (low + high) / 2 == pytest.approx(auc(label, score))
    difference, error = clustered_delong(label, np.zeros(80), score, users)
    assert difference == pytest.approx(auc(label, score) - 0.5)
    assert stats.t.ppf(0.975, 24) * error <= (high - low) / 2 <= stats.t.ppf(0.975, 8) * error
    rows = Rows.checked(label, np.zeros(80), score, users)
    freedom = effective_freedom(rows.pair.influence[0], rows.by_user.code, rows.by_user.size)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * error, rel=1e-5)
    # It is cut at 0 and 1.
    label = np.array([0, 0, 0, 1, 1, 1])
    close = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 6.0])
    low, high = auc_interval(label, close, np.arange(6)) or (0, 0)
    assert 0 < low < 8 / 9 < high == 1
    low, high = auc_interval(label, -close, np.arange(6)) or (0, 0)
    assert 0 == low < 1 / 9 < high < 1


def test_an_estimate_is_printed_with_what_it_is_of() -> None:
    one = Estimate(0.51234, (0.40001, 0.6), "users", 1234, 5678)
    assert str(one) == "  0.5123  0.4000 to 0.6000    1,234 users, 5,678 skipped"
    none = Estimate(math.nan, None, "rows", 3)
    assert str(none) == "    none                      3 rows"


# ---- of two models


def world(n: int = 300, pairs: int = 1, metric: str = "auc", items: bool = True) -> Rows:
    draws = np.random.default_rng(0)
    users, of = draws.integers(0, 40, n), draws.integers(0, 12, n)
    label = draws.integers(0, 2, n)
    full = label + draws.normal(size=(pairs, n))
    pruned = full + draws.normal(size=12)[of] + 0.3 * draws.normal(size=(pairs, n))
    if pairs == 1:
        full, pruned = full[0], pruned[0]
    return Rows.checked(label, full, pruned, users, of if items else None, metric)  # type: ignore[arg-type]


def shares(code: np.ndarray) -> float:
    return float(((np.bincount(code) / len(code)) ** 2).sum())


def of_clusters(influence: np.ndarray, code: np.ndarray) -> float:
    return float((np.bincount(code, influence) ** 2).sum())


@pytest.mark.parametrize("metric", ["auc", "logloss", "accuracy"])
def test_the_variance_is_that_of_the_resamples_and_what_items_add(metric: str) -> None:
    rows = world(metric=metric)
    users, items, pair = rows.by_user, rows.by_item, rows.pair
    found = intervals(rows, 150, 3)
    drawn = resampled_differences(pair, users, 150, 3)
    variance = drawn.var(ddof=1) / (1 - shares(users.code))
    one = found["user bootstrap"]
    assert (one.difference, one.seeds) == (pytest.approx(pair.observed[0]), 0)
    assert one.rows == pytest.approx(variance)
    influence = pair.influence[0]
    # Two estimates of one variance: of the users, and of the draws.
    freedoms = [effective_freedom(influence, users.code, users.size), 149.0]
    assert one.freedom == pytest.approx(1 / sum(1 / f for f in freedoms))
    by_item = of_clusters(influence, items.code) / (1 - shares(items.code))
    cells = np.unique(np.stack([users.code, items.code]), axis=1, return_inverse=True)[1].ravel()
    added = by_item - of_clusters(influence, cells)
    assert added > 0
    both = found["users and items"]
    assert both.rows == pytest.approx(variance + added)
    freedom = effective_freedom(influence, items.code, items.size)
    spread = sum(variance**2 / f for f in freedoms) + by_item**2 / freedom
    assert both.freedom == pytest.approx(max(1, (variance + added) ** 2 / spread))
    assert list(found) == ["user bootstrap", "users and items"]


def test_rows_stand_alone_where_nobody_owns_them() -> None:
    draws = np.random.default_rng(1)
    label, score = np.tile([0, 1], 60), draws.normal(size=120)
    items = np.arange(120) % 7
    rows = Rows.checked(label, score, score + 0.1 * draws.normal(size=120), None, items)
    assert list(intervals(rows, 100, 0)) == ["row bootstrap", "rows and items"]
    once = Rows.checked(label, score, score, None, np.arange(120))
    assert list(intervals(once, 100, 0)) == ["row bootstrap"]
    alone = Rows.checked(label, score, score[::-1], np.zeros(120), items)
    (told,) = intervals(alone, 100, 0).items()
    assert told[0] == "user bootstrap"
    assert (told[1].rows, told[1].seeds, told[1].freedom) == (math.inf, 0, 1)
    assert told[1].difference == pytest.approx(auc(label, score[::-1]) - auc(label, score))
    two = Rows.checked(label, score, score[::-1], np.arange(120) // 60)
    assert 0 < intervals(two, 100, 0)["user bootstrap"].rows < math.inf
    one_item = Rows.checked(label, score, score, np.arange(120), np.zeros(120))
    assert list(intervals(one_item, 100, 0)) == ["user bootstrap"]


def test_several_seeds_share_their_rows() -> None:
    rows = world(pairs=4, items=False)
    drawn = resampled_differences(rows.pair, rows.by_user, 120, 5)
    covariance = np.cov(drawn.T)
    shared = covariance[~np.eye(4, dtype=bool)].mean() / (1 - shares(rows.by_user.code))
    (found,) = intervals(rows, 120, 5).values()
    assert found.rows == pytest.approx(shared)
    assert found.seeds == pytest.approx(rows.pair.observed.var(ddof=1) / 4)
    assert found.difference == pytest.approx(rows.pair.observed.mean())
    mean = rows.pair.influence.mean(axis=0)
    freedoms = [effective_freedom(mean, rows.by_user.code, rows.by_user.size), 119.0]
    spread = sum(found.rows**2 / f for f in freedoms) + found.seeds**2 / 3
    assert found.freedom == pytest.approx((found.rows + found.seeds) ** 2 / spread)


def test_the_cross_check_of_a_mean_is_clustered() -> None:
    rows = world(metric="logloss", items=False)
    told = cross_check(rows)
    gain = -np.logaddexp(0, np.where(rows.label, -1, 1) * np.stack([rows.full, rows.pruned])[:, 0])
    gain = gain[1] - gain[0]
    assert told["clustered_difference"] == pytest.approx(gain.mean())
    code = rows.by_user.code
    sums = np.bincount(code, gain - gain.mean()) / len(gain)
    size = rows.by_user.size
    assert told["clustered_se"] == pytest.approx(math.sqrt(size / (size - 1) * (sums**2).sum()))
    assert set(told) == {"clustered_difference", "clustered_se"}
    several = cross_check(world(pairs=3))
    observed = world(pairs=3).pair.observed
    assert several["differences"] == pytest.approx(observed.tolist())
    assert several["seed_sd"] == pytest.approx(observed.std(ddof=1))


def test_called_right_is_a_logit_on_the_labels_side() -> None:
    label = np.array([0, 0, 1, 1])
    full, pruned = np.array([-1.0, 2.0, -3.0, 0.0]), np.array([0.0, -2.0, 3.0, -0.1])
    rows = Rows.checked(label, full, pruned, metric="accuracy")
    assert rows.pair.observed[0] == pytest.approx((-1 + 1 + 1 - 1) / 4)
    better = Rows.checked(label, full, np.array([-1.0, -2.0, 3.0, 1.0]), metric="accuracy")
    assert better.pair.observed[0] == pytest.approx(0.5)
    assert rows.rarer == 2
    assert Rows.checked(np.array([0, 1, 1, 1]), full, pruned).rarer == 1
    assert Rows.checked(np.array([0, 0, 0, 1]), full, pruned).rarer == 1


def test_clusters_are_numbered_in_order_whatever_they_are_called() -> None:
    for owner in ([3, 1, 3, 900], [-1, -5, -1, 7], ["b", "a", "b", "c"], [2.5, 0.5, 2.5, 9.0]):
        clusters = Clusters(4, np.array(owner))
        assert (clusters.code.tolist(), clusters.size) == ([1, 0, 1, 2], 3)
    alone = Clusters(3, None)
    assert (alone.code.tolist(), alone.size) == ([0, 1, 2], 3)
    assert Clusters(0, np.array([], np.int64)).size == 0
    dense = Clusters(2, np.array([7, 0]))
    assert (dense.code.tolist(), dense.size) == ([1, 0], 2)
