"""Quality and its paired error, against other ways to compute them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from recprune.evaluation import clustered_delong
from recprune.importance import FieldRanking
from recprune.selector.columns import Part, Proving, smallest
from recprune.selector.judging import Judge, Target


def pair(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    y = draws.integers(0, 2, n).astype(float)
    first = y + draws.normal(size=n)
    return y, first, np.round(first + draws.normal(size=n) * 0.5, 1)  # with ties


@pytest.mark.parametrize("clusters", [None, 60])
def test_the_difference_is_delongs(clusters: int | None) -> None:
    y, first, second = pair()
    groups = None if clusters is None else np.random.default_rng(1).integers(0, clusters, len(y))
    d, error = Judge(y, "binary", groups=groups).difference(first, second)
    want, want_error = clustered_delong(y, first, second, groups)
    assert d == pytest.approx(want, abs=1e-12)
    assert error == pytest.approx(want_error, rel=0.02)


@pytest.mark.parametrize("target", ["binary", "classes", "number"])
def test_a_row_of_weight_two_is_two_rows(target: Target) -> None:
    y, first, second = pair()
    if target == "classes":
        first, second = (first > 0.5).astype(float), (second > 0.3).astype(float)
    weight = np.random.default_rng(2).integers(1, 4, len(y))
    again = np.repeat(np.arange(len(y)), weight)
    weighted = Judge(y, target, weight.astype(float))
    repeated = Judge(y[again], target, groups=again)  # one row's copies hang together
    assert weighted.quality(first) == pytest.approx(repeated.quality(first[again]))
    np.testing.assert_allclose(
        weighted.difference(first, second), repeated.difference(first[again], second[again])
    )


def test_the_qualities_are_scikit_learns() -> None:
    y, first, _ = pair()
    weight = np.random.default_rng(2).random(len(y))
    ours = [Judge(y, target, weight) for target in ("binary", "number", "classes")]
    called = (first > 0.5).astype(float)
    want = [
        roc_auc_score(y, first, sample_weight=weight),
        r2_score(y, first, sample_weight=weight),
        accuracy_score(y, called, sample_weight=weight),
    ]
    got = [ours[0].quality(first), ours[1].quality(first), ours[2].quality(called)]
    np.testing.assert_allclose(got, want)


def test_the_error_is_that_of_repeated_samples() -> None:
    """Oracle: the spread of the difference over fresh samples, with weights and several classes."""
    draws = np.random.default_rng(0)
    found = []
    for _ in range(300):
        y = draws.integers(0, 2, 300).astype(float)
        first = y + draws.normal(size=300)
        second = first + draws.normal(size=300)
        found.append(Judge(y, "binary", draws.random(300)).difference(first, second))
    d, error = np.array(found).T
    assert d.std() == pytest.approx(np.sqrt((error**2).mean()), rel=0.12)


def test_one_class_decides_nothing() -> None:
    d, error = Judge(np.ones(5), "binary").difference(np.arange(5), np.arange(5))
    assert d == 0
    assert np.isnan(error)


class Told(Proving):
    """Knows the truth wherever it has both columns that tell it."""

    def fitted(self, columns: Sequence[int]) -> frozenset[int]:
        tried.append(frozenset(columns))
        return tried[-1]

    def answers(self, fitted: frozenset[int], part: Part, columns: Sequence[int]) -> np.ndarray:
        return part.y if {0, 1} <= fitted else np.zeros(len(part.y))


tried: list[frozenset[int]] = []


def test_no_set_of_columns_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many columns the last few to go are fewer than a step: half of *them* is the next step."""
    monkeypatch.setattr("recprune.selector.columns.STEPS", 3)
    tried.clear()
    names = tuple(f"x{i}" for i in range(15))
    y = np.random.default_rng(0).normal(size=60)
    part = Part(np.zeros((60, 15)), y, Judge(y, "number"))
    ranking = FieldRanking(names, np.arange(15.0, 0, -1), np.zeros(15), "told")
    kept = smallest(Told(None, names, part, part, {}), ranking, part, 0.01, protect=("x2",))
    assert kept == ("x0", "x1", "x2")
    assert len(tried) == len(set(tried))
