"""The fast resamples against repeated rows; Student's quantiles against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import Clusters, PairedAuc, PairedMean, resampled_differences
from recprune.evaluation.intervals import effective_freedom, t_quantile, t_tail
from recprune.evaluation.ranked import LANES
from recprune.executor import Executor
from recprune.metrics import auc

score = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0])
rows = st.lists(
    st.tuples(st.integers(0, 1), score, score, st.integers(0, 4), st.integers(0, 3)),
    min_size=2,
    max_size=30,
).filter(lambda rows: len({row[0] for row in rows}) == 2)


@given(rows, st.integers(0, 1000), st.booleans())
def test_a_draw_is_the_auc_of_the_repeated_rows(table: list[tuple], seed: int, rows: bool) -> None:
    label, first, second, users, _ = (np.array(c) for c in zip(*table, strict=True))
    clusters = Clusters(len(label), None if rows else users)
    counts = clusters.draw(seed, "test")
    assert (counts.sum(axis=0) == clusters.size).all()
    # Two pairs of models: the second one is the first turned round.
    both = np.stack([first, second]), np.stack([second, first])
    found = PairedAuc(label, *both, clusters).differences(counts)
    gain = np.stack([second - first, first - second])
    means = PairedMean(gain, clusters).differences(counts)
    for lane in range(LANES):
        copies = counts[clusters.code, lane]
        repeated = [np.repeat(column, copies) for column in (label, first, second)]
        if len(set(repeated[0])) < 2:
            assert np.isnan(found[lane]).all()
        else:
            expected = auc(repeated[0], repeated[2]) - auc(repeated[0], repeated[1])
            assert found[lane] == pytest.approx([expected, -expected], abs=1e-12)
        mean = np.repeat(gain, copies, axis=1).mean(axis=1)
        assert means[lane] == pytest.approx(mean, abs=1e-12)


@given(rows)
def test_influences_are_the_derivative_by_a_rows_weight(table: list[tuple]) -> None:
    label, first, second, *_ = (np.array(c) for c in zip(*table, strict=True))
    pair = PairedAuc(label, first[None], second[None], Clusters(len(label), None))
    one, zero = label == 1, label == 0

    def difference(weight: np.ndarray) -> float:
        total = 0.0
        for score, sign in ((second, 1), (first, -1)):
            order = np.sign(score[one][:, None] - score[zero][None]) / 2 + 0.5
            mass = weight[one][:, None] * weight[zero][None]
            total += sign * (order * mass).sum() / mass.sum()
        return total

    even = np.ones(len(label))
    assert pair.observed[0] == pytest.approx(difference(even), abs=1e-12)
    assert pair.influence.sum() == pytest.approx(0, abs=1e-12)
    for i in range(len(label)):
        step = np.where(np.arange(len(label)) == i, 1e-6, 0)
        slope = (difference(even + step) - difference(even - step)) / 2e-6
        assert pair.influence[0, i] == pytest.approx(slope, abs=1e-6)


def example(n: int = 200, users: int = 20) -> tuple[PairedAuc, Clusters]:
    rng = np.random.default_rng(0)
    clusters = Clusters(n, rng.integers(0, users, n))
    label, scores = rng.integers(0, 2, n), rng.normal(size=(2, 3, n))
    return PairedAuc(label, *scores, clusters), clusters


def test_the_draws_do_not_depend_on_how_many_there_are() -> None:
    pair, clusters = example()
    few, many = (resampled_differences(pair, clusters, n, 5) for n in (10, 30))
    assert few.tolist() == many[:10].tolist()
    other = resampled_differences(pair, clusters, 10, 6)
    assert few.tolist() != other.tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_draws_do_not_depend_on_where_they_run(workers: int) -> None:
    pair, clusters = example()
    here = resampled_differences(pair, clusters, 100, 5)
    there = resampled_differences(pair, clusters, 100, 5, Executor(workers))
    assert here.tobytes() == there.tobytes()


def test_of_very_many_clusters_few_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recprune.evaluation.bootstrap.MOST_DRAWN", 700)
    counts = Clusters(100, None).draw(0, "test")  # seven lanes at once, and two in the end
    assert counts.shape == (100, LANES)
    assert (counts.sum(axis=0) == 100).all()
    assert len({lane.tobytes() for lane in counts.T}) == LANES


def test_the_resamples_spread_as_the_difference_does() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=(1, 4000))
    clusters = Clusters(4000, None)
    spread = resampled_differences(PairedMean(value, clusters), clusters, 400, 0).std()
    assert spread == pytest.approx(value.std() / np.sqrt(4000), rel=0.15)
    clusters = Clusters(4000, np.repeat(np.arange(400), 10))
    same = np.repeat(rng.normal(size=(1, 400)), 10, axis=1)  # ten rows that say the same are one
    spread = resampled_differences(PairedMean(same, clusters), clusters, 400, 0).std()
    assert spread == pytest.approx(same.std() / np.sqrt(400), rel=0.15)


def test_clusters_that_keep_missing_a_class_are_an_error() -> None:
    label, scores = np.array([1] + [0] * 9), np.arange(10.0)[None]
    clusters = Clusters(10, None)

    class Never:
        observed = influence = np.zeros(1)

        def differences(self, counts: np.ndarray) -> np.ndarray:
            return np.full((LANES, 1), np.nan)

    with pytest.raises(ParameterError, match="rows of more users"):
        resampled_differences(Never(), clusters, 1, 0)
    # A lone positive among ten rows is missed in a third of the draws: those are drawn again.
    pair = PairedAuc(label, scores, -scores, clusters)
    assert np.isfinite(resampled_differences(pair, clusters, 50, 0)).all()


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 3, 4.9, 7.3, 30, 400, 1e7, np.inf])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.995])
def test_t_quantile(probability: float, freedom: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=5e-5, abs=1e-12)


def test_between_one_and_two_the_quantile_is_on_the_safe_side() -> None:
    for freedom in np.linspace(1, 2, 11):
        assert t_quantile(0.95, freedom) >= stats.t.ppf(0.95, freedom) - 1e-9


@pytest.mark.parametrize("freedom", [8, 20, 300, np.inf])
def test_t_tail(freedom: float) -> None:
    for p in (0.8, 0.5, 0.05, 0.01, 0.001):
        assert t_tail(stats.t.ppf(1 - p, freedom), freedom) == pytest.approx(p, rel=0.03)


def test_of_few_users_the_tail_is_on_the_safe_side() -> None:
    for freedom in np.linspace(1, 8, 15):
        for p in (0.05, 0.01, 0.001, 1e-5):
            assert t_tail(stats.t.ppf(1 - p, freedom), freedom) >= 0.999 * p


def test_freedom_is_that_of_the_clusters_that_weigh() -> None:
    rng = np.random.default_rng(0)
    influence, code = rng.normal(size=3000), np.repeat(np.arange(300), 10)
    assert 200 < effective_freedom(influence, code, 300) <= 299
    influence[:50] *= 100
    assert effective_freedom(influence, code, 300) < 16
    assert effective_freedom(np.zeros(3000), code, 300) == 299
    for bad in (lambda: t_quantile(0.4, 3), lambda: t_quantile(0.9, 0.5)):
        with pytest.raises(ParameterError):
            bad()
