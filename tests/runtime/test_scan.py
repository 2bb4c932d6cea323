"""The best items by bounds and blocks against scoring every item."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.runtime import Scorer, items, quick, scan
from recprune.runtime.scan import Scan

from .drafts import MODELS
from .factory import KINDS, Shop, random_shop

MODEL_NAMES = ("towers", "towers_wide", "cross", "shared", "mlp")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let catalogues of some hundred items be large ones: batches of 64 rows."""
    monkeypatch.setattr(scan, "BATCH_BYTES", 1)
    monkeypatch.setattr(quick, "BATCH_BYTES", 1)


def expected(logits: np.ndarray, k: int, only: set[int] | None, without: set[int]) -> list[int]:
    """Return the best positions by a full sort, ties by position."""
    order = np.argsort(-logits, kind="stable").tolist()
    return [i for i in order if i not in without and (only is None or i in only)][:k]


def check(
    shop: Shop, scorer: Scorer, user: int, k: int, draws: np.random.Generator, rounds: bool = False
) -> None:
    """Compare the recommended items with those of a full sort, with and without a choice."""
    n, users, ids = len(shop.items["item_id"]), shop.users, shop.items["item_id"]
    assert users.seen is not None
    index = {item: i for i, item in enumerate(ids)}
    seen = {index[t] for i in users.seen.of_user(user) if (t := users.seen.items[i]) in index}
    logits = scorer.catalogue_logits(users, user)
    for only in (None, draws.permutation(n)[: n // 2], draws.permutation(n)[:7]):
        chosen = None if only is None else set(only.tolist())
        for exclude in (True, False):
            got = scorer.recommend_user(
                users,
                users.ids[user],
                k,
                exclude_seen=exclude,
                candidates=None if only is None else [ids[i] for i in only],
            )
            want = expected(logits, k, chosen, seen if exclude else set())
            found = [index[t] for t in got.items]
            if found != want:  # near ties may swap where blocks' products round otherwise
                assert rounds
                np.testing.assert_allclose(logits[found], logits[want], rtol=1e-5, atol=1e-5)
            p = 1 / (1 + np.exp(-logits[want].astype(np.float64)))
            np.testing.assert_allclose(got.scores, p, atol=1e-6)


def flattened(shop: Shop, draws: np.random.Generator) -> Shop:
    """Return the shop with many alike items: few values, and numbers in steps."""
    tensors = dict(shop.artifact.catalogue)
    for name in ("codes.item_id", "codes.category", "codes.price"):
        codes = tensors[name]
        tensors[name] = np.where(draws.random(len(codes)) < 0.9, codes.min(), codes)
    tensors["shares.price"] = np.zeros_like(tensors["shares.price"])
    return Shop(replace(shop.artifact, catalogue=tensors), shop.users, shop.items)


@pytest.mark.parametrize("kind", [*KINDS, *MODEL_NAMES], ids=str)
@pytest.mark.parametrize("ties", [False, True])
def test_equals_a_full_sort(kind: Any, ties: bool) -> None:
    draws = np.random.default_rng(0)
    model = MODELS[kind] if isinstance(kind, str) else kind
    shop = random_shop(model, 3, n_items=900)
    if ties:
        shop = flattened(shop, draws)
    scorer = Scorer(shop.artifact)
    for user in range(len(shop.users)):
        for k in (1, 10, 200):
            check(shop, scorer, user, k, draws, rounds=kind == "cross")
    plain = [scorer.catalogue_logits(shop.users, user) for user in range(len(shop.users))]
    assert scorer.warm_up()
    for user in range(len(shop.users)):
        check(shop, scorer, user, 10, draws, rounds=kind == "cross")
        logits = scorer.catalogue_logits(shop.users, user)
        np.testing.assert_allclose(logits, plain[user], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10_000),
    n=st.integers(1, 700),
    k=st.integers(1, 40),
    ties=st.booleans(),
    compiled=st.booleans(),
)
def test_equals_a_full_sort_on_any_shop(
    kind: Any, seed: int, n: int, k: int, ties: bool, compiled: bool
) -> None:
    draws = np.random.default_rng(seed)
    shop = random_shop(kind, seed, n_items=n, cut=True)
    if ties:
        shop = flattened(shop, draws)
    scorer = Scorer(shop.artifact)
    if compiled:
        scorer.warm_up()
    for user in range(3):
        check(shop, scorer, user, k, draws)


@pytest.mark.parametrize("name", ["LR", "FM", "DeepFM", "towers"])
def test_bounds_hold_and_skip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items in tight clusters: every score is below its block's bound, and most blocks are left."""
    model = MODELS["towers"] if name == "towers" else next(k for k in KINDS if k.name == name)
    monkeypatch.setattr(items, "MOST", (32, 8))
    shop = random_shop(model, 1, n_items=2000)
    clusters = np.sort(np.random.default_rng(0).integers(0, 20, 2000))
    tensors = dict(shop.artifact.catalogue)
    for field in ("codes.item_id", "codes.category", "codes.price", "shares.price"):
        tensors[field] = tensors[field][clusters]
    # A little apart within a cluster, so that its items are rows of their own.
    share = tensors["shares.price"] + np.random.default_rng(1).uniform(0, 0.01, 2000)
    tensors["shares.price"] = np.minimum(share, 1).astype(np.float32)
    scorer = Scorer(replace(shop.artifact, catalogue=tensors))
    scans: list[Scan] = []
    rows = Scan._rows

    def spy(self: Scan, asked: Any, *rest: Any) -> Any:
        logits = self._score(asked, slice(0, len(self.items)))
        for blocks, bound in zip(self.items.blocks, self.bounds, strict=True):
            highest = np.maximum.reduceat(logits, blocks.starts[:-1])
            most = bound(asked.shift, asked.reach) + np.float32(asked.add)
            assert (highest <= most).all()
            some = np.arange(0, len(most), 3)
            again = bound(asked.shift, asked.reach, some) + np.float32(asked.add)
            np.testing.assert_allclose(again, most[some], rtol=1e-5, atol=1e-5)
            by_kernels = bound(asked.shift, asked.reach, some, compiled=True)
            np.testing.assert_allclose(by_kernels, again - asked.add, rtol=1e-5, atol=1e-5)
            assert (highest[some] <= by_kernels + np.float32(asked.add)).all()
        assert np.median(most - highest) < 1
        scans.append(self)
        return rows(self, asked, *rest)

    monkeypatch.setattr(Scan, "_rows", spy)
    for user in shop.users.ids:
        scorer.recommend_user(shop.users, user, 3)
    assert scans
    assert scans[-1].tried == len(shop.users)
    assert scans[-1].scored < 0.5 * scans[-1].tried * len(scans[-1].items)


def test_bounds_that_skip_nothing_are_given_up() -> None:
    shop = random_shop(KINDS[3], 2, n_items=900)
    scorer = Scorer(shop.artifact)
    draws = np.random.default_rng(0)
    for _ in range(3):
        for user in range(len(shop.users)):
            check(shop, scorer, user, 700, draws)
    assert scorer._ranking is not None
    made = scorer._ranking._scan(0)
    assert made.tried == scan.TRIALS
    assert made.scored > scan.MOST_SCORED * made.tried * len(made.items)


def test_parts_without_bounds_have_none() -> None:
    shop = random_shop(MODELS["cross"], 0)
    scorer = Scorer(shop.artifact)
    assert scorer._ranking is not None
    made = scorer._ranking._scan(0)
    assert made.bounds == []


def test_alike_items_are_one_row_and_tie() -> None:
    shop = flattened(random_shop(KINDS[3], 4, n_items=800), np.random.default_rng(3))
    scorer = Scorer(shop.artifact)
    logits = scorer.catalogue_logits(shop.users, None)
    assert scorer._ranking is not None
    rows = scorer._ranking._scan(0).items
    assert len(rows) < 300
    assert rows.counts.sum() == 800
    for row in range(len(rows)):
        members, _ = rows.members(np.array([row]))
        assert len(set(logits[members].tolist())) == 1
    # Columns that differ make rows that differ.
    codes = [shop.artifact.catalogue[f"codes.{n}"] for n in ("item_id", "category", "price")]
    keys = shop.artifact.catalogue["keys.category"]
    assert len(rows) == len(np.unique(np.stack([*codes, keys]), axis=1).T)
