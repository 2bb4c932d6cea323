"""Trees against LightGBM's and scikit-learn's own numbers."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from recprune._support import stream
from recprune.data import Dataset
from recprune.data.extras import Extras
from recprune.errors import ParameterError
from recprune.importance import importance, trees
from recprune.importance.design import tree_columns
from recprune.metrics import auc
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Weighted rows of four fields, one column each."""
    data = small_data(2000)
    parts = {}
    for name, part in data.fitted.parts.items():
        weight = np.random.default_rng(len(part)).uniform(0.5, 1.5, len(part)).astype(np.float32)
        parts[name] = replace(part, extras=Extras(weight / weight.mean()))
    return replace(data, fitted=replace(data.fitted, parts=parts))


def test_gain_is_lightgbms(data: Dataset) -> None:
    """Every kind has one column here, so that the columns' gains are the fields'."""
    settings = {
        "objective": "binary",
        "learning_rate": 0.1,
        "min_data_in_leaf": 20,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    rows = trees.TreeRows.of(data.train, 10**6, 0)
    known = lightgbm.Dataset(rows.columns, rows.label, weight=rows.weight)
    whole = lightgbm.train(settings, known, 10).feature_importance("gain")
    np.testing.assert_allclose(trees.boosted(rows, 0, 10).feature_importance("gain"), whole)
    ours = importance(None, data, "fields", "lightgbm_gain", trees=10).score
    assert ours.sum() == pytest.approx(1)
    assert set(np.argsort(ours)[-2:].tolist()) == {0, 2}


def test_permutation_in_trees_is_a_plain_loop(data: Dataset) -> None:
    scores = importance(None, data, "fields", "lightgbm_permutation", 0, trees=30, repeats=3)
    learnt, held = (trees.TreeRows.of(p, 10**6, 0) for p in (data.train, data.tune))
    grown = trees.boosted(learnt, 0, 30, held)
    base = auc(held.label, grown.predict(held.columns), held.weight)
    for i, name in enumerate(data.encoder.schema.names):
        drops = []
        for repeat in range(3):
            shuffled = held.columns.copy()
            order = stream(0, "tree permutation", name, repeat).permutation(len(shuffled))
            shuffled[:, i] = held.columns[order, i]
            drops.append(base - auc(held.label, grown.predict(shuffled), held.weight))
        assert scores.score[i] == pytest.approx(np.mean(drops), abs=1e-12)
        assert scores.std[i] == pytest.approx(np.std(drops, ddof=1) / np.sqrt(3), abs=1e-12)


def test_a_field_that_no_tree_asks_scores_zero(data: Dataset, monkeypatch) -> None:
    monkeypatch.setattr(trees, "LEAVES", 2)
    one = importance(None, data, "fields", "lightgbm_permutation", trees=2, repeats=2)
    used = importance(None, data, "fields", "lightgbm_gain", trees=2).score > 0
    assert not used.all()
    assert (one.score[~used] == 0).all()
    assert (one.score[used] != 0).any()


def test_held_out_rows_stop_the_trees(data: Dataset) -> None:
    learnt, held = (trees.TreeRows.of(p, 10**6, 0) for p in (data.train, data.tune))
    grown = trees.boosted(learnt, 0, 200, held)
    assert 0 < grown.best_iteration < 200
    scores = [
        auc(held.label, grown.predict(held.columns, num_iteration=i + 1), held.weight)
        for i in range(grown.current_iteration())
    ]
    assert grown.best_iteration == int(np.argmax(scores)) + 1


def test_the_forest_is_sklearns(data: Dataset) -> None:
    scores = importance(None, data, "fields", "random_forest", 3, trees=20)
    columns, owner = tree_columns(data.encoder, data.train.rows)
    forest = RandomForestClassifier(
        20,
        max_features=4,
        min_samples_leaf=20,
        random_state=int(stream(3, "forest").integers(2**31)),
    ).fit(columns, data.train.label, data.train.extras.weight)
    np.testing.assert_allclose(
        scores.score, np.bincount(owner, forest.feature_importances_), rtol=1e-4, atol=1e-6
    )
    assert scores.score.sum() == pytest.approx(1)
    assert (scores.std > 0).all()


@pytest.mark.parametrize("method", ["lightgbm_gain", "lightgbm_permutation", "random_forest"])
def test_options_are_checked(method: str, data: Dataset) -> None:
    with pytest.raises(ParameterError, match=f"'trees' parameter of {method}"):
        importance(None, data, "fields", method, trees=0)
    if method == "lightgbm_permutation":
        with pytest.raises(ParameterError, match="'repeats' parameter of"):
            importance(None, data, "fields", method, repeats=1)
