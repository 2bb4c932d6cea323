"""Verdicts by repeated folds: the folds, the corrected error, and planted procedures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation import Fold, cross_fitted_verdict, folds_of, resampled_t
from recprune.executor import Executor
from recprune.metrics import auc

USERS, EACH = 60, 6


def planted(seed: int, useful: float, n: int = USERS * EACH) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and three columns: one that tells much, one ``useful``, one noise."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(n, 3))
    logit = 1.2 * x[:, 0] + useful * x[:, 1] - 0.5
    return (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(float), x


class Linear:
    """Both models are a ridge fit of the label; the pruned one lacks a column."""

    def __init__(self, label: np.ndarray, x: np.ndarray, dropped: int) -> None:
        self.label, self.x, self.dropped = label, x, dropped

    def scores(self, fold: Fold, columns: list[int]) -> np.ndarray:
        x = np.column_stack([np.ones(len(self.x)), self.x[:, columns]])
        a = x[fold.train]
        weight = np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ self.label[fold.train])
        return x[fold.test] @ weight

    def __call__(self, fold: Fold, seed: int) -> tuple[np.ndarray, np.ndarray]:
        kept = [c for c in range(self.x.shape[1]) if c != self.dropped]
        return self.scores(fold, list(range(self.x.shape[1]))), self.scores(fold, kept)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=60, max_size=120),
    st.integers(2, 4),
    st.integers(1, 3),
)
def test_folds_partition_users_and_balance_rows(
    table: list[tuple[int, bool]], folds: int, repeats: int
) -> None:
    users, label = (np.array(c) for c in zip(*table, strict=True))
    if len(set(users)) < folds:
        return
    try:
        found = folds_of(label, users, folds, repeats, seed=3)
    except ParameterError as error:
        assert "lacks a class" in str(error)  # noqa: PT017 (whether it is raised hangs on the draw)
        return
    assert [fold.number for fold in found] == list(range(folds * repeats))
    for repeat in range(repeats):
        tests = [fold.test for fold in found[repeat * folds : (repeat + 1) * folds]]
        assert sorted(np.concatenate(tests)) == list(range(len(label)))
    for fold in found:
        assert not set(users[fold.train]) & set(users[fold.test])
        assert len(fold.train) + len(fold.test) == len(label)
    largest = np.bincount(users).max()
    sizes = [len(fold.test) for fold in found[:folds]]
    assert max(sizes) - min(sizes) <= 2 * largest


def test_rows_without_users_are_dealt_evenly_by_class() -> None:
    label = np.repeat([0, 1], [300, 60])
    found = folds_of(label, folds=6, repeats=2)
    assert {(len(f.test), int(label[f.test].sum())) for f in found} == {(60, 10)}
    first, second = found[0].test.tolist(), found[6].test.tolist()
    assert first != second
    again = folds_of(label, folds=6, repeats=2)
    assert all((a.test == b.test).all() for a, b in zip(found, again, strict=True))


def test_the_error_is_the_formula_of_the_paper() -> None:
    draws = np.random.default_rng(0)
    differences = draws.normal(0.01, 0.02, 100)
    found = resampled_t(differences, 1 / 9)
    error = np.sqrt((1 / 100 + 1 / 9) * differences.var(ddof=1))
    assert found.error == pytest.approx(error)
    reach = stats.t.ppf(0.95, 99) * error
    mean = differences.mean()
    assert found.bounds == pytest.approx((mean - reach, mean + reach), rel=1e-4)


def test_dropping_noise_passes_and_dropping_what_tells_fails() -> None:
    label, x = planted(0, useful=1.0)
    folds = folds_of(label, np.repeat(np.arange(USERS), EACH), 5, 4)
    noise = cross_fitted_verdict(Linear(label, x, 2), label, folds, tolerance=0.02)
    assert noise.outcome == "PASS"
    useful = cross_fitted_verdict(Linear(label, x, 0), label, folds, tolerance=0.02)
    assert useful.outcome == "FAIL"
    assert (noise.estimand, noise.method, noise.n_seeds) == (
        "procedure",
        "corrected resampled t",
        20,
    )
    assert "the procedure by 20 seeds" in str(noise)
    fit, fold = Linear(label, x, 2), folds[7]
    full, pruned = fit(fold, 0)
    expected = auc(label[fold.test], pruned) - auc(label[fold.test], full)
    assert noise.crosscheck["differences"][7] == pytest.approx(expected)


def test_the_verdict_does_not_depend_on_where_the_splits_run() -> None:
    label, x = planted(1, useful=0.5)
    folds = folds_of(label, None, 4, 2)
    fit = Linear(label, x, 1)
    here = cross_fitted_verdict(fit, label, folds, tolerance=0.02)
    assert cross_fitted_verdict(fit, label, folds, tolerance=0.02, executor=Executor(2)) == here
    assert here.outcome != "PASS"


def test_every_split_has_a_seed_of_its_own_that_stays() -> None:
    label, _ = planted(0, 1.0)
    folds = folds_of(label, None, 4, 1)
    seeds: dict[int, list[int]] = {}

    def fit(fold: Fold, seed: int) -> tuple[np.ndarray, np.ndarray]:
        seeds.setdefault(fold.number, []).append(seed)
        score = np.random.default_rng(seed).normal(size=len(fold.test))
        return score, score

    for each in (folds, folds[::-1]):
        cross_fitted_verdict(fit, label, each, tolerance=0.1)
    assert all(first == second for first, second in seeds.values())
    assert len({first for first, _ in seeds.values()}) == 4


@pytest.mark.slow
def test_a_procedure_whose_drop_is_the_tolerance_passes_one_time_in_twenty() -> None:
    # The true drop of the procedure, on training sets of four fifths, by many tables.
    n, runs = 300, 400
    truth = []
    for run in range(300):
        label, x = planted(1000 + run, 0.5, n * 4 // 5 + 4000)
        fold = Fold(np.arange(n * 4 // 5), np.arange(n * 4 // 5, len(label)), 0)
        full, pruned = Linear(label, x, 1)(fold, 0)
        truth.append(auc(label[fold.test], pruned) - auc(label[fold.test], full))
    tolerance = -float(np.mean(truth))
    outcomes = []
    for run in range(runs):
        label, x = planted(10_000 + run, 0.5, n)
        folds = folds_of(label, None, 5, 4, run)
        found = cross_fitted_verdict(Linear(label, x, 1), label, folds, tolerance=tolerance)
        outcomes.append(found.outcome)
    for wrong in ("PASS", "FAIL"):
        assert outcomes.count(wrong) / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5, wrong


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: folds_of(np.tile([0, 1], 20), folds=1), "'folds'"),
        (lambda: folds_of(np.tile([0, 1], 20), np.arange(40) % 3, folds=4), "'folds'"),
        (lambda: folds_of(np.tile([0, 1], 20), repeats=0), "'repeats'"),
        (lambda: folds_of(np.repeat([0, 1], [39, 1]), folds=3), "lacks a class"),
        (lambda: resampled_t(np.array([0.1]), 0.1), "'differences'"),
        (lambda: resampled_t(np.array([0.1, 0.2]), 0.0), "'test_over_train'"),
        (lambda: cross_fitted_verdict(Linear, np.ones(3), [], tolerance=2.0), "'tolerance'"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        call()
