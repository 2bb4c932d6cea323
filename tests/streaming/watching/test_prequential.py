"""Figures against scikit-learn and the house's metrics on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from recprune import metrics
from recprune.streaming.watching.alarms import BLOCK
from recprune.streaming.watching.prequential import SHARE, Prequential

from .world import world


def test_all_events_against_scikit_learn() -> None:
    events = world(30_000, 0)
    watch = Prequential(20_000)
    for start in range(0, 30_000, 7_000):
        part = events[start : start + 7_000]
        watch.add(part.label, part.logits)
    figures = watch.figures()
    chance = 1 / (1 + np.exp(-events.logits.astype(np.float64)))
    assert figures["events"] == 30_000
    assert figures["log_loss"] == pytest.approx(log_loss(events.label, chance), rel=1e-9)
    assert figures["auc"] == pytest.approx(roc_auc_score(events.label, events.logits), abs=2e-4)
    assert figures["observed"] == pytest.approx(events.label.mean())
    assert figures["predicted"] == pytest.approx(chance.mean())


@given(st.lists(st.tuples(st.booleans(), st.integers(-3000, 3000)), min_size=1, max_size=60))
def test_auc_is_exact_where_logits_lie_apart(rows: list[tuple[bool, int]]) -> None:
    label = np.array([y for y, _ in rows], np.float32)
    # An eighth of a logit apart at least, beyond ±16 all alike.
    logits = np.array([z / 8 for _, z in rows], np.float32)
    watch = Prequential(BLOCK)
    watch.add(label, logits)
    figures = watch.figures()
    assert figures["log_loss"] == pytest.approx(metrics.log_loss_of_logits(label, logits))
    if 0 < label.sum() < len(label):
        assert figures["auc"] == pytest.approx(metrics.auc(label, np.clip(logits, -16, 15.9)))
    else:
        assert "auc" not in figures


def test_the_largest_logits_lie_at_the_ends() -> None:
    watch = Prequential(BLOCK)
    watch.add(np.array([0, 1, 0, 1], np.float32), np.array([-1e30, 1e30, 0, 20], np.float32))
    assert watch.figures()["auc"] == 1
    assert watch.figures()["log_loss"] == pytest.approx(math.log(2) / 4)


def test_of_late_is_a_mean_whose_weights_fade_block_by_block() -> None:
    n, memory = 5 * BLOCK, 2 * BLOCK
    events = world(n, 1)
    watch = Prequential(memory)
    watch.add(events.label, events.logits)
    weight = np.exp(-BLOCK / memory) ** (5 - np.arange(n) // BLOCK)
    figures = watch.figures()
    expected = metrics.log_loss_of_logits(events.label, events.logits, weight)
    assert figures["log_loss_of_late"] == pytest.approx(expected)
    assert figures["auc_of_late"] == pytest.approx(
        metrics.auc(events.label, events.logits, weight), abs=1e-3
    )
    assert figures["observed_of_late"] == pytest.approx(np.average(events.label, weights=weight))


def test_ndcg_is_that_of_each_users_events_by_logit() -> None:
    events = world(8_000, 2)
    users = np.random.default_rng(2).integers(0, 400, 8_000).astype(np.uint64)
    watch = Prequential(20_000)
    watch.add(events.label, events.logits, users)
    mixed = users * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    values = []
    for user in np.unique(users[mixed % np.uint64(SHARE) == 0]):
        mine = users == user
        hit = events.label[mine][np.argsort(-events.logits[mine], kind="stable")]
        if 0 < hit.sum() < len(hit):
            top = hit[:10] / np.log2(np.arange(2, 2 + len(hit[:10])))
            best = 1 / np.log2(np.arange(2, 2 + min(10, int(hit.sum()))))
            values.append(top.sum() / best.sum())
    assert len(values) > 20
    assert watch.figures()["ndcg@10"] == pytest.approx(np.mean(values))


def test_nothing_is_told_of_nothing() -> None:
    assert Prequential(BLOCK).figures() == {"events": 0}
    watch = Prequential(BLOCK)
    watch.add(np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.uint64))
    assert "auc" not in watch.figures()
    assert "ndcg@10" not in watch.figures()
    assert watch.figures()["log_loss"] == pytest.approx(math.log(2))
