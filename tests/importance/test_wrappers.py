"""Retraining, elimination and Boruta against plain loops and planted truths."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from recprune._support import stream
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance import Evidence, importance, rank_fields, wrappers
from recprune.importance.wrappers import boruta_decisions
from recprune.metrics import auc
from recprune.models import DeepFM, Ranker, Training

TRAINING = Training(epochs=2, learning_rate=1e-2)
EFFECTS = {"first": 2.0, "second": 1.2, "third": 0.7, "n0": 0.0, "n1": 0.0, "n2": 0.0}


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Three fields of falling effect, three without."""
    draws, n = np.random.default_rng(0), 3000
    columns = {name: draws.choice(list("abcd"), n) for name in EFFECTS}
    logit = sum(e * (np.isin(columns[name], ["a", "b"]) - 0.5) for name, e in EFFECTS.items())
    label = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    return Dataset.from_frame(pl.DataFrame({**columns, "y": label}), label="y").split(by="random")


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(4, (8,), training=TRAINING).fit(data.train, data.tune)


def test_drop_and_retrain_is_a_plain_loop(data: Dataset, model: Ranker) -> None:
    small = data.only(["first", "n0"])
    asked = DeepFM(4, (8,), training=TRAINING).fit(small.train, small.tune)
    scores = importance(asked, small, "fields", "drop_and_retrain", 1, seeds=2)
    found = {}
    for names in (("first", "n0"), ("n0",), ("first",)):
        part = data.only(names)
        found[names] = [
            auc(part.tune.label, again.logits(part.tune.rows))
            for s in range(2)
            for again in [
                DeepFM(
                    4,
                    (8,),
                    training=TRAINING,
                    seed=int(stream(1, "retraining", s).integers(2**31)),
                ).fit(part.train, part.tune)
            ]
        ]
    for i, left in enumerate([("n0",), ("first",)]):
        drops = np.subtract(found["first", "n0"], found[left])
        assert scores.score[i] == pytest.approx(drops.mean(), abs=1e-6)
        assert scores.std[i] == pytest.approx(drops.std(ddof=1) / np.sqrt(2), abs=1e-6)
    assert scores.score[0] > 0.1


def test_without_its_only_field_a_ranker_guesses(data: Dataset) -> None:
    one = data.only(["first"])
    model = DeepFM(2, (), training=TRAINING).fit(one.train, one.tune)
    (drop,) = importance(model, one, "fields", "drop_and_retrain", seeds=1).score
    assert drop == pytest.approx(auc(one.tune.label, model.logits(one.tune.rows)) - 0.5, abs=0.02)


@pytest.mark.slow
def test_processes_change_nothing(data: Dataset, model: Ranker) -> None:
    one, two = (
        importance(model, data, "fields", "drop_and_retrain", 0, Executor(w), seeds=1).score
        for w in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_elimination_drops_a_share_each_round_the_worst_first(data: Dataset) -> None:
    """By a method that asks no model, nothing is trained: the order is that method's own."""
    model = DeepFM(2, ()).begin(data.train)
    ranking = rank_fields(model, data, "recursive_elimination", by="chi_square", share=0.5)
    assert ranking.fields == rank_fields(None, data, "chi_square").fields
    assert Counter(np.floor(ranking.scores).astype(int).tolist()) == {0: 3, 1: 1, 2: 1, 3: 1}
    np.testing.assert_allclose(sorted(ranking.scores)[:3], [0, 1 / 3, 2 / 3])


def test_every_round_but_the_first_trains_on_what_is_left(
    data: Dataset, model: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, ...]] = []
    fit = DeepFM.fit

    def watched(self: DeepFM, rows, valid=None, **options):
        trained.append(rows.encoder.schema.names)
        return fit(self, rows, valid, **options)

    monkeypatch.setattr(DeepFM, "fit", watched)
    ranking = rank_fields(model, data, "recursive_elimination", share=0.34)
    assert [len(names) for names in trained] == [4, 3, 2]
    assert all(set(names) == set(ranking.fields[: len(names)]) for names in trained)
    assert ranking.fields[:3] == ("first", "second", "third")


def test_elimination_by_nothing_that_ranks_is_refused(data: Dataset, model: Ranker) -> None:
    for by in ("recursive_elimination", "l2", "what"):
        with pytest.raises(ParameterError, match="'by' parameter of recursive_elimination"):
            importance(model, data, "fields", "recursive_elimination", by=by)
    with pytest.raises(ParameterError, match="'share' parameter"):
        importance(model, data, "fields", "recursive_elimination", share=1.0)
    with pytest.raises(ParameterError, match="'seeds' parameter of drop_and_retrain"):
        importance(model, data, "fields", "drop_and_retrain", seeds=0)
    with pytest.raises(ParameterError, match="'rounds' parameter of boruta"):
        importance(None, data, "fields", "boruta", rounds=0)


def test_boruta_confirms_what_matters_and_rejects_noise(data: Dataset) -> None:
    ranking = rank_fields(None, data, "boruta", rounds=16, trees=20)
    said = dict(zip(ranking.fields, boruta_decisions(ranking.scores, 16), strict=True))
    assert {f for f, word in said.items() if word == "confirmed"} == {"first", "second", "third"}
    assert "rejected" in said.values()
    assert ranking.fields[:3] == ("first", "second", "third")  # ties of hits, by gain


def test_of_noise_alone_boruta_confirms_nothing(data: Dataset) -> None:
    train = data.only(["n0", "n1", "n2"]).train
    for seed in range(3):
        scores = importance(None, train, "fields", "boruta", seed, rounds=16, trees=10)
        assert "confirmed" not in boruta_decisions(scores.score, 16)


def test_a_hit_is_a_gain_above_every_shadow(data: Dataset, monkeypatch) -> None:
    """With gains of our own making, counted by hand; a shadow holds its field's values."""
    train = data.train
    gains = np.random.default_rng(0).random((5, 12))
    rounds = iter(range(5))
    seen = []

    class Grown:
        def feature_importance(self, kind: str) -> np.ndarray:
            assert kind == "gain"
            return gains[next(rounds)]

    def boosted(rows, seed, trees):
        seen.append(rows)
        return Grown()

    monkeypatch.setattr(wrappers, "boosted", boosted)
    scores = importance(None, Evidence(train, train), "fields", "boruta", rounds=5)
    hits = (gains[:, :6] > gains[:, 6:].max(axis=1, keepdims=True)).sum(axis=0)
    np.testing.assert_array_equal(np.floor(scores.score), hits)
    share = gains[:, :6].sum(axis=0) / gains[:, :6].sum()
    np.testing.assert_allclose(scores.score - hits, share)
    np.testing.assert_allclose(scores.std, np.sqrt(hits * (1 - hits / 5)))
    for rows in seen:
        np.testing.assert_array_equal(
            np.sort(rows.columns[:, :6], 0), np.sort(rows.columns[:, 6:], 0)
        )
        assert (rows.columns[:, :6] != rows.columns[:, 6:]).mean() > 0.5
    assert (seen[0].columns[:, 6:] != seen[1].columns[:, 6:]).any()


def test_decisions_are_binomial_tests_corrected_by_holm() -> None:
    rounds, level = 20, 0.05
    hits = [20, 17, 16, 15, 10, 4, 3, 0]
    words = []
    for tail in ("greater", "less"):
        p = [binomtest(h, rounds, 0.5, tail).pvalue for h in hits]
        falls: set[int] = set()
        for step, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] > level / (len(p) - step):
                break
            falls.add(int(i))
        words.append(falls)
    ours = boruta_decisions([h + 0.3 for h in hits], rounds, level)
    for i, word in enumerate(ours):
        assert word == (
            "confirmed" if i in words[0] else "rejected" if i in words[1] else "tentative"
        )
    assert set(ours) == {"confirmed", "tentative", "rejected"}
