"""Pairs of fields are units: ranked, cut, and folded into what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.artifact import read_artifact
from recprune.data import Dataset
from recprune.importance import importance
from recprune.layout import Plan
from recprune.metrics import auc
from recprune.models import DLRM, FwFM, Ranker, Training, ranker_of
from recprune.pruning import cut, plan, prune, repair

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Five fields; the label follows whether the second and the fourth are alike."""
    draws = np.random.default_rng(0)
    values = draws.integers(0, 3, (6_000, len(NAMES)))
    alike = values[:, 1] == values[:, 3]
    label = (draws.random(len(values)) < np.where(alike, 0.9, 0.2)).astype(int)
    columns = {n: [f"v{v}" for v in values[:, i]] for i, n in enumerate(NAMES)}
    frame = pl.DataFrame({**columns, "y": label})
    return Dataset.from_frame(frame, label="y").split(by="random", seed=0)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    training = Training(epochs=20, learning_rate=5e-3, unknown_rate=1)
    return FwFM(4, training).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def products(data: Dataset) -> Ranker:
    """Pairs that the first layer of a tower reads."""
    training = Training(epochs=20, learning_rate=5e-3, unknown_rate=1)
    return DLRM(4, (8,), (4,), training).fit(data.train, data.tune)


def best_pair(model: Ranker, score: np.ndarray) -> tuple[str, str]:
    (_, left), (_, right) = model.layout.axes["pairs"].members
    at = int(np.argmax(score))
    return NAMES[left[at]], NAMES[right[at]]


#: AutoFIS has gates of its own kind on pairs; these are those that we have.
GATES = ["shuffle_gate", "hard_concrete", "autofield", "lpfs", "lpfs++", "dropout"]


@pytest.mark.parametrize("method", ["shark", "gauss_newton", "group_lasso_path", *GATES])
@pytest.mark.parametrize("kind", ["weights", "products"])
def test_the_pair_that_matters_comes_first(
    kind: str, method: str, model: Ranker, products: Ranker, data: Dataset
) -> None:
    asked = model if kind == "weights" else products
    scores = importance(asked, data, "pairs", method)
    assert best_pair(asked, scores.score) == ("b", "d")


@pytest.mark.parametrize("kind", ["weights", "products"])
def test_all_but_the_best_pair_can_go(
    kind: str, model: Ranker, products: Ranker, data: Dataset
) -> None:
    asked = model if kind == "weights" else products
    full = auc(data.test.label, asked.logits(data.test.rows))
    assert full > 0.8

    def left(methods: dict[str, str]) -> float:
        small = cut(asked, data.train, {"pairs": 1}, methods, scored_on=data.tune)
        assert small.layout.axes["pairs"].size == 1
        return auc(data.test.label, small.logits(small.aligned(data.test).rows))

    assert left({}) > full - 0.01
    assert left({"pairs": "l2"}) < full - 0.2  # why it is no default


def test_a_cut_pair_counts_with_its_mean(model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {"pairs": 5}, {"pairs": "random"})
    rows, full = data.train.rows, model.logits(data.train.rows)
    mended = model.apply(made, repair(model, data.train, made)).logits(rows)
    assert abs(float(np.mean(mended - full))) < 1e-4
    assert abs(float(np.mean(model.apply(made).logits(rows) - full))) > 1e-3


def test_fields_take_their_pairs_along(model: Ranker, data: Dataset) -> None:
    small = model.apply(plan(model, data.tune, {"fields": ("b", "c", "d")}))
    members = [m.tolist() for _, m in small.layout.axes["pairs"].members]
    assert members == [[1, 1, 2], [2, 3, 3]]
    alone = small.apply(plan(small, data.tune, {"fields": ("b",)}))
    assert "pairs" not in alone.parts
    assert np.isfinite(alone.logits(alone.aligned(data.test).rows)).all()


def test_that_no_pair_is_left_is_remembered(model: Ranker, data: Dataset, tmp_path: Path) -> None:
    none = Plan(model.layout.hash, {"pairs": np.empty(0, np.int32)})
    small = model.apply(none)
    small.save(tmp_path / "small")
    back = ranker_of(read_artifact(tmp_path / "small"))
    for plan_of_it in (small.plan, back.plan, small.apply(small.plan).plan, (small.plan | none)):
        assert "pairs" not in model.apply(plan_of_it).parts
        assert plan_of_it.predicted_bytes(model.layout) == sum(
            a.nbytes for a in back.state.values()
        )


def test_pairs_are_pruned_in_rounds_with_the_rest(data: Dataset) -> None:
    model = DLRM(4, (8,), training=Training(epochs=3)).fit(data.train, data.tune)
    keep = {"pairs": 0.5, "neurons": 0.5}
    small = prune(model, data, keep, {"pairs": "shark"}, rounds=2, epochs=1)
    assert small.layout.axes["pairs"].size == 5
    assert small.neurons == (4,)
    back = model.apply(small.plan)
    assert {n: a.shape for n, a in back.state.items()} == {
        n: a.shape for n, a in small.state.items()
    }
