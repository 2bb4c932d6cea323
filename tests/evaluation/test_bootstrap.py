"""The fast resamples against repeated rows; Student's quantiles against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import Clusters, PairedAuc, PairedMean, resampled_differences
from recprune.evaluation.intervals import effective_freedom, t_quantile
from recprune.metrics import auc

score = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0])
rows = st.lists(
    st.tuples(st.integers(0, 1), score, score, st.integers(0, 4), st.integers(0, 3)),
    min_size=2,
    max_size=30,
).filter(lambda rows: len({row[0] for row in rows}) == 2)


@given(rows, st.integers(0, 1000), st.sampled_from(["row", "user", "both"]))
def test_a_draw_is_the_auc_of_the_repeated_rows(table: list[tuple], seed: int, way: str) -> None:
    label, first, second, users, items = (np.array(c) for c in zip(*table, strict=True))
    ways = {"row": [None], "user": [users], "both": [users, items]}[way]
    clusters = Clusters(len(label), ways)
    counts = clusters.draw(seed, "test")
    copies = np.prod(
        [count[code] for count, code in zip(counts, clusters.codes, strict=True)], axis=0
    ).astype(int)
    assert [int(count.sum()) for count in counts] == clusters.sizes
    found = PairedAuc(label, first, second, clusters).difference(counts)
    repeated = [np.repeat(column, copies) for column in (label, first, second)]
    if len(set(repeated[0])) < 2:
        assert found is None
    else:
        expected = auc(repeated[0], repeated[2]) - auc(repeated[0], repeated[1])
        assert found == pytest.approx(expected, abs=1e-12)
    mean = PairedMean(second - first, clusters).difference(counts)
    if copies.sum():
        assert mean == pytest.approx(np.repeat(second - first, copies).mean(), abs=1e-12)
    else:
        assert mean is None


def test_the_draws_do_not_depend_on_how_many_there_are() -> None:
    rng = np.random.default_rng(0)
    label, users = rng.integers(0, 2, 200), rng.integers(0, 20, 200)
    first, second = rng.normal(size=(2, 200))
    clusters = Clusters(200, [users])
    pair = PairedAuc(label, first, second, clusters)
    few, many = (resampled_differences(pair, clusters, n, 5, "test") for n in (10, 30))
    assert few.tolist() == many[:10].tolist()
    other = resampled_differences(pair, clusters, 10, 6, "test")
    assert few.tolist() != other.tolist()


def test_the_resamples_spread_as_the_difference_does() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=4000)
    clusters = Clusters(4000, [None])
    spread = resampled_differences(PairedMean(value, clusters), clusters, 400, 0, "test").std()
    assert spread == pytest.approx(value.std() / np.sqrt(4000), rel=0.15)
    users = np.repeat(np.arange(400), 10)
    same = np.repeat(rng.normal(size=400), 10)  # ten rows that say the same are one
    clusters = Clusters(4000, [users])
    spread = resampled_differences(PairedMean(same, clusters), clusters, 400, 0, "test").std()
    assert spread == pytest.approx(same.std() / np.sqrt(400), rel=0.15)


def test_clusters_that_keep_missing_a_class_are_an_error() -> None:
    label, scores = np.array([1] + [0] * 9), np.arange(10.0)
    clusters = Clusters(10, [np.zeros(10, int)])

    class Never:
        def difference(self, counts: object) -> None:
            return None

    with pytest.raises(ParameterError, match="rows of more users"):
        resampled_differences(Never(), clusters, 1, 0, "test")
    # A lone positive among ten rows is missed in a third of the draws: those are drawn again.
    clusters = Clusters(10, [None])
    pair = PairedAuc(label, scores, -scores, clusters)
    assert np.isfinite(resampled_differences(pair, clusters, 50, 0, "test")).all()


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 3, 4.9, 7.3, 30, 400, 1e7, np.inf])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.995])
def test_t_quantile(probability: float, freedom: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=5e-5, abs=1e-12)


def test_between_one_and_two_the_quantile_is_on_the_safe_side() -> None:
    for freedom in np.linspace(1, 2, 11):
        assert t_quantile(0.95, freedom) >= stats.t.ppf(0.95, freedom) - 1e-9


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
