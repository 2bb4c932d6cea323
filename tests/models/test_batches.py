"""Rows on disk train the same model as rows in memory, in the same order, a pool at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune._support import stream
from recprune.data import Dataset, Split
from recprune.encoding import Rows
from recprune.importance import rank_fields
from recprune.models import DeepFM, batches
from recprune.models.training import Training
from recprune.pruning import plan, repair
from recprune.scratch import copied, gather, on_disk
from tests.planted import planted_frame

QUICK = Training(epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(planted_frame(1500), label="y").split(by="random", seed=0)


def moved(split: Split) -> Split:
    """Return the split with its rows on disk."""
    rows = Rows(copied(split.rows.codes), copied(split.rows.shares))
    assert on_disk(rows.codes)
    return replace(split, rows=rows)


@pytest.fixture(autouse=True, params=["one pool", "many pools"])
def pools(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many pools":
        monkeypatch.setattr(batches, "POOL", 256)
        monkeypatch.setattr(batches, "PIECE", 16)


def test_the_model_is_the_same(data: Dataset) -> None:
    ours = DeepFM(4, (8,), training=QUICK).fit(moved(data.train), moved(data.tune))
    theirs = DeepFM(4, (8,), training=QUICK).fit(data.train, data.tune)
    assert [e.score for e in ours.history] == [e.score for e in theirs.history]
    for name, tensor in theirs.state.items():
        np.testing.assert_array_equal(ours.state[name], tensor)


def test_ranking_cutting_and_tuning_are_the_same(data: Dataset) -> None:
    model = DeepFM(4, (8,), training=QUICK).fit(data.train)
    states = []
    for train, tune in ((data.train, data.tune), (moved(data.train), moved(data.tune))):
        ranking = rank_fields(model, tune, "shark")
        made = plan(model, tune, {"rows": 0.5, "neurons": 0.5})
        small = model.apply(made, repair(model, train, made))
        small.train_on(train, valid=tune)
        states.append((ranking.scores, small.state))
    (scores, state), (on_disk_scores, on_disk_state) = states
    np.testing.assert_array_equal(scores, on_disk_scores)
    assert all(np.array_equal(state[n], on_disk_state[n]) for n in state)


@given(st.integers(1, 3000), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_every_row_comes_once(n: int, seed: int) -> None:
    order = np.concatenate([*batches.shuffled(n, stream(seed, "order"))])
    assert np.array_equal(np.sort(order), np.arange(n))
    again = np.concatenate([*batches.shuffled(n, stream(seed, "order"))])
    assert np.array_equal(order, again)


@given(st.integers(1, 600), st.integers(1, 90), st.integers(0, 9), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_batches_are_runs_of_the_order(n: int, size: int, done: int, seed: int) -> None:
    codes = np.arange(n, dtype=np.int32)[:, None]
    order = np.concatenate([*batches.shuffled(n, stream(seed, "order"))])[done * size :]
    for rows in (Rows(codes, np.empty((n, 0), np.float32)), Rows(copied(codes), np.empty((n, 0)))):
        pools = batches.shuffled(n, stream(seed, "order"))
        seen = [*batches.batches_of(rows, pools, size, done)]
        assert [len(chosen) for chosen, _ in seen[:-1]] == [size] * (len(seen) - 1)
        chosen = np.concatenate([np.empty(0, int), *(c.numpy() for c, _ in seen)])
        np.testing.assert_array_equal(chosen, order)
        assert all(np.array_equal(r.codes[:, 0], c.numpy()) for c, r in seen)


@pytest.mark.parametrize("index", [slice(2, 5), np.array([4, 0, 4]), np.arange(6) % 2 == 0])
def test_gathering_from_disk_equals_memory(index: object) -> None:
    array = np.arange(18, dtype=np.int32).reshape(6, 3)
    there = copied(array)
    np.testing.assert_array_equal(gather(there, index), array[index])
    np.testing.assert_array_equal(copied(array, np.array([5, 1]), np.array([2])), [[17], [5]])
    assert len(copied(array[:0])) == 0
