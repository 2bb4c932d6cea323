"""The clustered DeLong against versions that look at every pair of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.evaluation import clustered_delong


def pairs(label: NDArray, score: NDArray) -> NDArray:
    """Return, for each (positive, negative), 1, ½ or 0."""
    high, low = score[label == 1][:, None], score[label == 0][None]
    return (high > low) + 0.5 * (high == low)


def plain_delong(label: NDArray, first: NDArray, second: NDArray) -> tuple[float, float]:
    """DeLong et al. 1988: covariances of the components of both areas, then the contrast."""
    both = [pairs(label, score) for score in (first, second)]
    tens = np.cov([p.mean(axis=1) for p in both])
    ones = np.cov([p.mean(axis=0) for p in both])
    covariance = tens / both[0].shape[0] + ones / both[0].shape[1]
    contrast = np.array([-1.0, 1.0])
    return float(both[1].mean() - both[0].mean()), float(contrast @ covariance @ contrast) ** 0.5


def plain_obuchowski(
    label: NDArray, first: NDArray, second: NDArray, clusters: NDArray
) -> tuple[float, float]:
    """Obuchowski 1997, cluster by cluster."""
    table = pairs(label, second) - pairs(label, first)
    d = table.mean()
    ten, one = table.mean(axis=1), table.mean(axis=0)
    of_high, of_low = clusters[label == 1], clusters[label == 0]
    m, n = len(of_high), len(of_low)
    both = [
        ((ten[of_high == c] - d).sum(), (one[of_low == c] - d).sum()) for c in np.unique(clusters)
    ]
    i10, i01, i = len(set(of_high)), len(set(of_low)), len(both)
    s10 = i10 / ((i10 - 1) * m) * sum(x * x for x, _ in both)
    s01 = i01 / ((i01 - 1) * n) * sum(y * y for _, y in both)
    s11 = i / (i - 1) * sum(x * y for x, y in both)
    return float(d), max(0.0, s10 / m + s01 / n + 2 * s11 / (m * n)) ** 0.5


score = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0])
rows = st.lists(
    st.tuples(st.integers(0, 1), score, score, st.integers(0, 5)), min_size=4, max_size=25
)


@given(rows)
def test_against_plain_versions(table: list[tuple]) -> None:
    label, first, second, users = (np.array(c) for c in zip(*table, strict=True))
    if min(label.sum(), (1 - label).sum()) < 2:
        return
    plain = plain_delong(label, first, second)
    for alone in (None, np.arange(len(label)), -np.arange(len(label))):
        found = clustered_delong(label, first, second, alone)
        assert found == pytest.approx(plain, abs=1e-7)
    if min(len(set(users[label == c])) for c in (0, 1)) < 2:
        assert np.isnan(clustered_delong(label, first, second, users)[1])
    else:
        expected = plain_obuchowski(label, first, second, users)
        assert clustered_delong(label, first, second, users) == pytest.approx(expected, abs=1e-7)


@given(rows, st.integers(0, 9))
def test_a_row_of_weight_w_is_w_rows_of_one_cluster(table: list[tuple], seed: int) -> None:
    label, first, second, users = (np.array(c) for c in zip(*table, strict=True))
    if min(label.sum(), (1 - label).sum()) < 1:
        return
    weight = np.random.default_rng(seed).integers(1, 4, len(label))
    again = np.repeat(np.arange(len(label)), weight)
    for clusters in (users, np.arange(len(label))):
        found = clustered_delong(label, first, second, clusters, weight / weight.mean())
        expected = clustered_delong(label[again], first[again], second[again], clusters[again])
        assert found == pytest.approx(expected, abs=1e-7, nan_ok=True)


def test_one_class_is_an_error() -> None:
    with pytest.raises(ParameterError, match="both classes"):
        clustered_delong(np.ones(4), np.arange(4.0), np.arange(4.0))
