"""One pass through all layers against products of whole matrices, and against itself by parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.runtime import Scorer, quick
from recprune.runtime.heads import FirstHead
from recprune.runtime.quick import QuickHead

from .drafts import MODELS
from .factory import random_shop


def drawn(sizes: list[int], rows: int, dims: int, seed: int) -> tuple[FirstHead, np.ndarray]:
    """Return a head with these layers, and sums of so many rows."""
    draws, layers, width = np.random.default_rng(seed), [], 5
    for size in [*sizes, 1] if sizes else []:
        matrix = draws.normal(size=(size, width)) / np.sqrt(width)
        layers.append((matrix.astype(np.float32), draws.normal(size=size).astype(np.float32)))
        width = size
    head = FirstHead(layers, 0.3, 1 + dims)
    return head, sums(head, rows, seed)


def sums(head: FirstHead, rows: int, seed: int) -> np.ndarray:
    """Return what fields add up to: nothing in the column of ones, if there is one."""
    found = np.random.default_rng(seed + 1).normal(size=(rows, head.inputs)).astype(np.float32)
    found[:, head.hidden : head.linear] = 0
    return found


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 19), max_size=3),
    rows=st.sampled_from([0, 1, 7, 128, 129, 300]),
    dims=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_equals_products_of_whole_matrices(
    sizes: list[int], rows: int, dims: int, seed: int
) -> None:
    head, side = drawn(sizes, rows, dims, seed)
    scorer, draws = QuickHead(head, side), np.random.default_rng(seed)
    shift = sums(head, 3, seed + 2)
    every = scorer.all(shift[0])
    assert every is not None
    np.testing.assert_allclose(every, head(side + shift[0]), rtol=2e-4, atol=2e-4)
    # Some rows, alone or each with its group's shift, get what they get among all: to the bit.
    some, group = draws.permutation(rows)[: rows // 2], draws.integers(0, 3, rows // 2)
    alone = np.zeros(len(some), np.intp)
    assert np.array_equal(scorer(some, shift[:1], alone), every[some])
    each = np.array([scorer.all(one) for one in shift])
    assert np.array_equal(scorer(some, shift, group), each[group, some])


def test_many_rows_or_neurons_are_left_to_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    head, side = drawn([60, 30], 40, 4, 0)
    wide = QuickHead(head, side)
    assert wide.nbytes == 0
    assert wide.all(side[0]) is None
    monkeypatch.setattr(quick, "FEW_PRODUCTS", 10_000)
    narrow = QuickHead(head, side)
    assert narrow.nbytes == side.nbytes
    every, none = np.arange(40), np.zeros(40, np.intp)
    got, want = narrow(every, side[:1], none), wide(every, side[:1], none)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(quick, "FEW_ROWS", 39)
    assert QuickHead(head, side).nbytes == 0


@pytest.mark.parametrize("name", ["mlp", "towers", "cross"])
def test_a_user_asked_again_gets_the_same_and_a_context_counts(name: str) -> None:
    shop = random_shop(MODELS[name], 3, n_items=80, n_users=6)
    users, kept, fresh = shop.users, Scorer(shop.artifact), Scorer(shop.artifact)
    kept.warm_up()
    fresh.warm_up()
    who = [*users.ids, "nobody"]
    for context in (None, {"hour": 3.0}, {}, None):
        for user in who:
            got = kept.recommend_user(users, user, 7, context=context)
            # One that keeps nothing: the columns come with the request.
            record = users.record(user) or {}
            if users.cross:
                want = fresh.recommend_user(users, user, 7, context={**record, **(context or {})})
            else:
                seen = users.seen.of_user(index) if (index := users.index(user)) is not None else []
                items = [users.seen.items[i] for i in seen]
                want = fresh.recommend({**record, **(context or {})}, 7, seen=items)
            assert got.items == want.items
            assert np.array_equal(got.scores, want.scores)
