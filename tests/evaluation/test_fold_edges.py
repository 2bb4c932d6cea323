"""How users are dealt to folds, and what a verdict of folds is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recprune.errors import ParameterError
from recprune.evaluation import (
    Fold,
    cross_fitted_verdict,
    folds_of,
    resampled_t,
)
from recprune.evaluation.cross_fitting import _dealt
from recprune.executor import Executor


def test_users_go_to_the_fold_that_lacks_most() -> None:
    draws = np.random.default_rng(0)
    sizes = draws.integers(0, 9, (30, 2)) * np.array([5, 1])
    part = _dealt(sizes, 4, np.random.default_rng(1))
    totals = np.stack([sizes[part == f].sum(axis=0) for f in range(4)])
    assert totals.min() > 0
    # The share of either class that the folds have is as even as the largest user allows.
    assert np.ptp(totals / totals.sum(axis=0), axis=0).max() < (sizes / sizes.sum(axis=0)).max()
    # The largest are dealt first, one to each fold.
    large = np.ones((8, 2), int)
    large[4:] = 50
    assert sorted(_dealt(large, 4, np.random.default_rng(0))[4:]) == [0, 1, 2, 3]
    # A rare class counts by its share: its rows are spread though others are many.
    rare = np.stack([np.full(12, 100), np.repeat([4, 0], [4, 8])], axis=1)
    assert sorted(_dealt(rare, 4, np.random.default_rng(0))[:4]) == [0, 1, 2, 3]


def test_folds_have_limits_and_defaults() -> None:
    label = np.tile([0, 1], 30)
    assert len(folds_of(label)) == 100
    assert [f.number for f in folds_of(label, folds=3, repeats=2)] == list(range(6))
    one = folds_of(label, folds=2, repeats=1)
    assert {(len(f.train), len(f.test)) for f in one} == {(30, 30)}
    users = np.repeat(np.arange(3), 20)
    assert len(folds_of(label, users, folds=3, repeats=1)) == 3
    named = folds_of(label, np.array(["a", "b", "c"])[users], folds=3, repeats=1)
    assert [f.test.tolist() for f in named] == [
        f.test.tolist() for f in folds_of(label, users, folds=3, repeats=1)
    ]
    for options in ({"folds": 4}, {"folds": True}, {"folds": 2.0}, {"folds": 1}):
        with pytest.raises(ParameterError, match="'folds' parameter of folds_of must be an int fr"):
            folds_of(label, users, **options)  # type: ignore[arg-type]
    for repeats in (0, 1001, True, 1.5):
        with pytest.raises(ParameterError, match="'repeats' parameter of folds_of must be an int "):
            folds_of(label, repeats=repeats)  # type: ignore[arg-type]
    seeds = [folds_of(label, seed=s)[0].test.tolist() for s in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert folds_of(label, seed=0)[10].test.tolist() != folds_of(label, seed=0)[0].test.tolist()


class Spy(Executor):
    """An executor that notes what it is asked to run."""

    def map(self, work: Any, parts: Any, **options: Any) -> list[Any]:
        asked.append((len(parts), options.get("text")))
        return super().map(work, parts, **options)


asked: list[tuple[int, str | None]] = []


def noisy(fold: Fold, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    signal = np.tile([0.0, 1.0], 200)[fold.test]
    full = signal + draws.normal(size=len(signal))
    return full, full + 0.3 * draws.normal(size=len(signal))


def test_a_verdict_of_folds_has_the_corrected_interval() -> None:
    label = np.tile([0.0, 1.0], 200)
    folds = folds_of(label, folds=4, repeats=3)
    asked.clear()
    found = cross_fitted_verdict(noisy, label, folds, executor=Spy())
    assert asked == [(12, "splits")]
    assert found == cross_fitted_verdict(noisy, label, folds, tolerance=0.002, metric="auc", seed=0)
    assert found != cross_fitted_verdict(noisy, label, folds, seed=1)
    expected = resampled_t(np.array(found.crosscheck["differences"]), 1 / 3)
    assert found.difference == expected.difference
    assert found.ci == expected.bounds
    assert (found.metric, found.tolerance, found.n_rows, found.n_seeds) == ("auc", 0.002, 400, 12)
    assert found.outcome == "INCONCLUSIVE"
    loose = cross_fitted_verdict(noisy, label, folds, tolerance=0.3)
    assert (loose.outcome, loose.rows_needed, loose.reasons) == ("PASS", None, ())
    by_loss = cross_fitted_verdict(noisy, label, folds, metric="logloss")
    assert by_loss.metric == "logloss"
    assert by_loss.difference != found.difference


def test_few_rows_carry_no_verdict_of_folds() -> None:
    label = np.tile([0.0, 1.0], 29)
    folds = folds_of(label, folds=2, repeats=2)

    def same(fold: Fold, _: int) -> tuple[np.ndarray, np.ndarray]:
        score = label[fold.test] + fold.test / 100
        return score, score

    found = cross_fitted_verdict(same, label, folds)
    assert found.outcome == "INCONCLUSIVE"
    assert found.reasons == ("too few rows: 29 of the rarer class, 30 are needed",)
    for tolerance in (0.0, 1.0):
        with pytest.raises(ParameterError, match="'tolerance' parameter of cross_fitted_verdict"):
            cross_fitted_verdict(same, label, folds, tolerance=tolerance)
