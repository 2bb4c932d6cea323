"""The best items in one pass against a full sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.runtime.scan_kernels import largest


def found(
    logits: np.ndarray, row_of: np.ndarray, without: np.ndarray, k: int
) -> tuple[list[int], list[float]] | None:
    places, scores = np.empty(k, np.intp), np.empty(k, np.float32)
    count = largest(logits, row_of, without, places, scores)
    return None if count < 0 else (places[:count].tolist(), scores[:count].tolist())


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 60), k=st.integers(1, 80))
def test_equals_a_full_sort_with_ties(seed: int, n: int, k: int) -> None:
    draws = np.random.default_rng(seed)
    # Few values and rows of several items: ties of both kinds; and the infinities.
    logits = draws.choice(np.array([-np.inf, -1, 0, 0.5, 2, np.inf], np.float32), 9)
    row_of, without = draws.integers(0, 9, n), draws.permutation(n)[: n // 3]
    order = np.argsort(-logits[row_of], kind="stable")
    order = order[~np.isin(order, without)][:k]
    assert found(logits, row_of, without, k) == (order.tolist(), logits[row_of][order].tolist())


def test_no_number_is_left_to_what_can_order_it() -> None:
    logits, row_of = np.array([1, np.nan], np.float32), np.array([0, 1, 0])
    assert found(logits, row_of, np.empty(0, np.int64), 2) is None
    assert found(logits, row_of, np.array([1]), 2) == ([0, 2], [1.0, 1.0])
