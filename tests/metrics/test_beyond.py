"""Diversity, popularity lift and names, against plain versions and on adversarial lists."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from recprune import metrics
from recprune.errors import ParameterError

#: Lists of up to four of six items, −1 anywhere: short, empty and whole ones, of no user too.
shown = st.lists(
    st.permutations(range(6)).flatmap(
        lambda items: st.lists(st.booleans(), min_size=4, max_size=4).map(
            lambda kept: [i if keep else -1 for i, keep in zip(items, kept, strict=False)]
        )
    ),
    max_size=5,
).map(lambda lists: np.array(lists, np.int64).reshape(len(lists), 4))
codes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=6, max_size=6)
number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-200, 1e200])
vectors = st.lists(st.tuples(number, number, number), min_size=6, max_size=6)


def of_pairs(lists: np.ndarray, distance: np.ndarray) -> list[float]:
    """Return each list's mean distance, pair by pair."""
    out = []
    for one in lists.tolist():
        pairs = list(itertools.combinations([i for i in one if i >= 0], 2))
        out.append(sum(distance[a, b] for a, b in pairs) / len(pairs) if pairs else math.nan)
    return out


@given(shown, codes)
def test_diversity_is_the_mean_over_all_pairs(
    lists: np.ndarray, attributes: list[tuple[int, int]]
) -> None:
    distance = np.zeros((6, 6))
    distance[np.triu_indices(6, 1)] = pdist(np.array(attributes, float), "hamming")
    values = metrics.diversity(lists, attributes)
    assert values.shape == (len(lists),)
    np.testing.assert_allclose(values, of_pairs(lists, distance + distance.T), atol=1e-12)
    # Names of the attributes' values say nothing, nor does the order of a list.
    renamed = np.array(["x", "yy", "z"])[np.array(attributes)]
    np.testing.assert_array_equal(metrics.diversity(lists[:, ::-1], renamed), values)


@given(shown, vectors)
def test_vector_diversity_is_the_mean_over_all_pairs(
    lists: np.ndarray, given_vectors: list[tuple[float, float, float]]
) -> None:
    table = np.array(given_vectors)
    scaled = [v / np.abs(v).max() if np.abs(v).max() else v for v in table]
    length = [math.hypot(*v) for v in scaled]
    distance = np.array(
        [
            [1 - (v @ w / (a * b) if a and b else 0) for w, b in zip(scaled, length, strict=True)]
            for v, a in zip(scaled, length, strict=True)
        ]
    )
    values = metrics.vector_diversity(lists, table)
    np.testing.assert_allclose(values, of_pairs(lists, distance), atol=1e-9)
    known = values[~np.isnan(values)]
    assert ((known >= 0) & (known <= 2 + 1e-9)).all()
    np.testing.assert_allclose(metrics.vector_diversity(lists, table * 8), values, atol=1e-12)


def test_vector_diversity_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lists, table = rng.integers(-1, 30, (50, 4)), rng.normal(size=(30, 5))
    whole = metrics.vector_diversity(lists, table)
    monkeypatch.setattr("recprune.metrics.beyond.BLOCK", 7 * 4 * 5)
    np.testing.assert_array_equal(metrics.vector_diversity(lists, table), whole)


@given(shown, st.lists(st.sampled_from([0.1, 0.4, 1.0]), min_size=6, max_size=6), st.data())
def test_popularity_lift_against_a_plain_version(
    lists: np.ndarray, popularity: list[float], data: st.DataObject
) -> None:
    profile = st.sampled_from([math.nan, 0.2, 0.9])
    profiles = data.draw(st.lists(profile, min_size=len(lists), max_size=len(lists)))
    both = [
        (np.mean([popularity[i] for i in one if i >= 0]), p)
        for one, p in zip(lists.tolist(), profiles, strict=True)
        if max(one) >= 0 and p == p
    ]
    if not both:
        with pytest.raises(ParameterError, match="'profiles'"):
            metrics.popularity_lift(lists, popularity, profiles)
        return
    shown_mean, took_mean = (np.mean(side) for side in zip(*both, strict=True))
    expected = (shown_mean - took_mean) / took_mean
    assert metrics.popularity_lift(lists, popularity, profiles) == pytest.approx(expected)


def test_showing_what_was_taken_lifts_nothing() -> None:
    lists, popularity = np.array([[0, 1], [2, 3]]), np.array([0.9, 0.1, 0.3, 0.2])
    profiles = metrics.mean_of_lists(lists, popularity)
    assert metrics.popularity_lift(lists, popularity, profiles) == pytest.approx(0)
    assert metrics.popularity_lift([[0], [0]], popularity, profiles) > 0


@given(shown, st.lists(st.floats(-9, 9), min_size=6, max_size=6))
def test_means_of_lists(lists: np.ndarray, values: list[float]) -> None:
    expected = [
        np.mean([values[i] for i in one if i >= 0]) if max(one) >= 0 else math.nan
        for one in lists.tolist()
    ]
    np.testing.assert_allclose(metrics.mean_of_lists(lists, values), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("PR-AUC", "average_precision"),
        ("pr_auc", "average_precision"),
        ("ROC-AUC", "auc"),
        ("Log loss", "logloss"),
        ("ECE", "calibration_error"),
        ("NDCG@10", "ndcg@10"),
        ("hr@3", "hit_rate@3"),
        ("ILD@5", "diversity@5"),
        ("catalog-coverage@2", "coverage@2"),
        ("personalization@2", "personalisation@2"),
        ("user_coverage@4", "user_coverage@4"),
    ],
)
def test_a_metric_has_the_names_that_people_type(typed: str, name: str) -> None:
    assert metrics.metric(typed) == metrics.metric(name)
    assert metrics.metric(typed).name == name


def test_what_a_metric_takes_is_what_it_is_called_with() -> None:
    given_arrays = {
        "label": [0, 1, 1, 0],
        "score": [0.1, 0.4, 0.3, 0.2],
        "prob": [0.1, 0.4, 0.3, 0.2],
        "users": [0, 0, 1, 1],
        "hits": [[True, False], [False, False]],
        "n_relevant": [2, 1],
        "lists": [[0, 1], [2, -1]],
        "n_items": 3,
        "popularity": [0.5, 0.5, 0.1],
        "profiles": [0.5, 0.5],
        "attributes": [[0], [1], [0]],
    }
    for name in metrics.names():
        found = metrics.metric(name.replace("@k", "@2"))
        value = found(*(given_arrays[a] for a in found.takes))
        assert np.shape(value) in ((), (2,)), name


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.metric("pr_auk"), "Did you mean 'pr_auc'?"),
        (lambda: metrics.metric("hit@0"), "There is no metric 'hit@0'"),
        (lambda: metrics.diversity([[0, 1]], [1, 2]), "(n_items, n_attributes)"),
        (lambda: metrics.diversity([[0, 1]], np.empty((2, 0))), "(n_items, n_attributes)"),
        (lambda: metrics.diversity([[0, 2]], [[1], [2]]), "below 2, or −1. Got 2"),
        (lambda: metrics.vector_diversity([[0, 1]], [1.0, 2.0]), "(n_items, n_dims)"),
        (lambda: metrics.vector_diversity([[0]], [[np.nan]]), "finite numbers"),
        (lambda: metrics.mean_of_lists([[0]], [[1.0]]), "'values'"),
        (lambda: metrics.mean_of_lists([[-2]], [1.0]), "or −1. Got -2"),
        (lambda: metrics.popularity_lift([[0]], [0.5], [0.5, 0.5]), "of shape (1,)"),
        (lambda: metrics.popularity_lift([[0]], [1.5], [0.5]), "shares in [0, 1]. Got 1.5"),
        (lambda: metrics.popularity_lift([[0]], [0.5], [-0.5]), "shares in [0, 1]. Got -0.5"),
        (lambda: metrics.popularity_lift([[0]], [0.5], [0.0]), "above 0 for a user"),
    ],
)
def test_bad_input_is_named(call: object, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        call()  # type: ignore[operator]
    assert words in str(error.value)
