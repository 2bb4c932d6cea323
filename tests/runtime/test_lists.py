"""Inner products by lists against all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.runtime import lists
from recprune.runtime.lists import Lists
from recprune.topk import top_k


def clustered(n: int, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed)
    centres = draws.normal(0, 1, (20, 8))
    return (centres[draws.integers(0, 20, n)] + draws.normal(0, 0.3, (n, 8))).astype(np.float32)


@given(st.integers(1, 300), st.integers(0, 9), st.integers(1, 40), st.floats(0, 1), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_query(n: int, seed: int, k: int, share: float, exact: bool) -> None:
    """As many as can be, all of them allowed, in order; exactly the best where all are looked at."""
    draws, vectors = np.random.default_rng(seed), clustered(n, seed)
    made, query = Lists(vectors), draws.normal(0, 1, 8).astype(np.float32)
    assert sorted(made.order.tolist()) == list(range(n))
    assert np.array_equal(made.vectors, vectors[made.order])
    allowed = draws.random(n) < share
    best = made.best(query, k, allowed, exact=exact)
    assert len({*best.tolist()}) == len(best) == min(k, np.count_nonzero(allowed))
    assert allowed[best].all()
    scores = made.vectors @ query
    np.testing.assert_allclose(scores[best], np.sort(scores[best])[::-1], rtol=1e-5, atol=1e-5)
    if exact or n <= lists.WIDER * k:
        scores[~allowed] = -np.inf
        wanted = np.sort(scores)[::-1][: len(best)]
        np.testing.assert_allclose(scores[best], wanted, rtol=1e-5, atol=1e-5)


def test_most_of_the_best_are_found() -> None:
    vectors = clustered(20_000, 0)
    made, again = Lists(vectors), Lists(vectors)
    shares = []
    for seed in range(20):
        query = np.random.default_rng(seed).normal(0, 1, 8).astype(np.float32)
        found = made.best(query, 50, None)
        assert np.array_equal(found, again.best(query, 50, None))
        wanted = top_k(vectors @ query, 50)
        shares.append(np.isin(wanted, made.order[found]).mean())
    assert np.mean(shares) > 0.9


def test_a_query_goes_on_where_its_lists_hold_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest half is closed: what is allowed lies in the lists that come last."""
    monkeypatch.setattr(lists, "WIDER", 1)
    vectors = clustered(5000, 1)
    made, query = Lists(vectors), np.ones(8, np.float32)
    scores = made.vectors @ query
    allowed = scores < np.median(scores)
    best = made.best(query, 200, allowed)
    assert len(best) == 200
    assert allowed[best].all()


def test_alike_vectors_and_a_single_one() -> None:
    made = Lists(np.ones((500, 3), np.float32))
    assert made.best(np.ones(3, np.float32), 7, None).tolist() == list(range(7))
    assert Lists(np.ones((1, 3), np.float32)).best(np.zeros(3, np.float32), 5, None).tolist() == [0]


def test_a_query_that_is_no_number_is_answered() -> None:
    made = Lists(clustered(400, 2))
    for k in (50, 400):
        assert len({*made.best(np.full(8, np.nan, np.float32), k, None).tolist()}) == k
