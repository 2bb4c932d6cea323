"""Lassos against scikit-learn's, and against the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.importance import importance
from recprune.importance.design import one_hot
from recprune.importance.lasso import Lasso
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(1500)


def problem(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return columns in groups of 1, 2, 3 and 4, labels that the first three follow, weights."""
    draws = np.random.default_rng(seed)
    matrix = draws.normal(0, 1, (n, 10)) * draws.uniform(0.5, 3, 10) + draws.normal(0, 1, 10)
    logit = matrix[:, 0] - 0.8 * matrix[:, 1] + 0.5 * matrix[:, 3] - 0.5
    label = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    return matrix, np.repeat(np.arange(4), [1, 2, 3, 4]), label, draws.uniform(0.2, 2, n)


def sparse(matrix: np.ndarray):
    from scipy.sparse import csr_matrix

    return csr_matrix(matrix)


def standardised(matrix: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = np.average(matrix, axis=0, weights=weight)
    spread = np.sqrt(np.average((matrix - mean) ** 2, axis=0, weights=weight))
    return (matrix - mean) / spread


@pytest.mark.parametrize("strength", [0.02, 0.3])
def test_groups_of_one_column_are_sklearns_l1(strength: float) -> None:
    matrix, _, label, weight = problem()
    x, share = standardised(matrix, weight), weight / weight.sum()
    most = np.abs(x.T @ (share * (label - share @ label))).max()
    theirs = LogisticRegression(
        l1_ratio=1.0,
        solver="saga",
        C=1 / (strength * most * weight.sum()),
        tol=1e-8,
        max_iter=20_000,
    ).fit(x, label, weight)
    ours = Lasso(sparse(matrix), np.arange(10), label, weight).solve(strength, 500)
    np.testing.assert_allclose(ours.beta, theirs.coef_[0], atol=2e-4)
    np.testing.assert_array_equal(ours.beta == 0, np.abs(theirs.coef_[0]) < 1e-6)


def test_groups_come_in_whole_and_meet_the_conditions() -> None:
    matrix, group, label, weight = problem()
    x, share = standardised(matrix, weight), weight / weight.sum()
    strength, root = 0.15, np.sqrt([1, 2, 3, 4])
    base = x.T @ (share * (label - share @ label))
    most = max(np.linalg.norm(base[group == g]) / root[g] for g in range(4))
    lasso = Lasso(sparse(matrix), group, label, weight)
    found = lasso.solve(strength, 500)
    assert (found.norms > 0).tolist() == [True, True, True, False]
    # At the optimum: slope_g = −λ√p_g β_g / ‖β_g‖ of groups that are in, shorter of the others.
    best = brentq(
        lambda b: share @ (1 / (1 + np.exp(-x @ found.beta - b)) - label), -5, 5, xtol=1e-10
    )
    slope = x.T @ (share * (1 / (1 + np.exp(-x @ found.beta - best)) - label))
    for g in range(3):
        own = group == g
        wanted = -strength * most * root[g] * found.beta[own] / found.norms[g]
        np.testing.assert_allclose(slope[own], wanted, atol=5e-4)
    assert np.linalg.norm(slope[group == 3]) < strength * most * root[3]
    expected = np.linalg.norm(slope[group == 3]) / (strength * most * root[3]) - 1
    assert found.excess[3] == pytest.approx(expected, abs=5e-3)
    terms = [x[:, group == g] @ found.beta[group == g] for g in range(4)]
    spread = [
        np.sqrt(np.average((t - np.average(t, weights=weight)) ** 2, weights=weight)) for t in terms
    ]
    np.testing.assert_allclose(lasso.term_spread(found.beta, group), spread, rtol=1e-6)


def test_at_full_strength_nothing_is_in_and_one_group_is_at_the_door() -> None:
    matrix, group, label, weight = problem()
    found = Lasso(sparse(matrix), group, label, weight).solve(1.0, 50)
    assert not found.beta.any()
    assert found.excess.max() == pytest.approx(0, abs=1e-9)


def test_a_constant_column_stays_out() -> None:
    matrix, group, label, weight = problem()
    matrix[:, 4] = 7.0
    found = Lasso(sparse(matrix), group, label, weight).solve(0.05, 100)
    assert found.beta[4] == 0
    assert np.isfinite(found.beta).all()


def test_scores_are_of_whole_fields(data: Dataset) -> None:
    matrix, owner = one_hot(data.encoder, data.train.rows)
    weight = np.ones(len(data.train))
    found = Lasso(matrix, np.arange(len(owner)), data.train.label, weight).solve(0.1, 100)
    ours = importance(None, data, "fields", "l1_logistic").score
    for i in range(4):
        size = np.abs(found.beta[owner == i]).sum()
        assert ours[i] == pytest.approx(size if size else found.excess[owner == i].max())
    grouped = importance(None, data, "fields", "group_lasso").score
    assert set(np.argsort(grouped)[-2:].tolist()) == {0, 2}
    assert (grouped > -1).all()


@pytest.mark.parametrize("method", ["l1_logistic", "group_lasso"])
def test_fewer_fields_are_left_as_the_penalty_grows(method: str, data: Dataset) -> None:
    left = [
        int((importance(None, data, "fields", method, strength=s).score > 0).sum())
        for s in (0.9, 0.3, 0.02)
    ]
    assert left[0] == 1
    assert left == sorted(left)
    assert left[-1] == 4
    for options in ({"strength": 0.0}, {"strength": 1.5}, {"steps": 0}):
        with pytest.raises(ParameterError, match=f"parameter of {method}"):
            importance(None, data, "fields", method, **options)
