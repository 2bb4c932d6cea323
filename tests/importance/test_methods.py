"""The protocol, the methods of hidden units, and what a ranking is."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError
from recprune.importance import METHODS, importance, rank_fields
from recprune.importance.options import check_options
from recprune.metrics import auc
from recprune.models import MF, DeepFM, Ranker, Training
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (16, 8), training=Training(epochs=6)).fit(data.train, data.tune)


def test_permutation_is_the_mean_drop_of_auc(model: Ranker, data: Dataset) -> None:
    """With one repeat, the score equals a plain shuffle of the codes with the same draw."""
    from recprune._support import stream
    from recprune.encoding import Rows

    ours = importance(model, data.tune, "fields", "permutation", 3, repeats=2).score
    rows, label = data.tune.rows, data.tune.label
    base = auc(label, model.logits(rows))
    for i, name in enumerate(model.encoder.schema.names):
        drops = []
        for repeat in range(2):
            order = stream(3, "permutation", name, repeat).permutation(len(rows))
            codes, shares = rows.codes.copy(), rows.shares.copy()
            codes[:, i] = codes[order, i]
            if i in model.encoder.numeric:
                n = model.encoder.numeric.index(i)
                shares[:, n] = shares[order, n]
            drops.append(base - auc(label, model.logits(Rows(codes, shares))))
        assert ours[i] == pytest.approx(np.mean(drops), abs=1e-5)


def test_activity_is_the_share_of_positive_activations(model: Ranker, data: Dataset) -> None:
    ours = importance(model, data.tune, "neurons.0", "activity").score
    state, rows = model.state, data.tune.rows
    net = model.net
    value = net.embed(rows).detach().numpy()
    value = value[:, np.argsort(net.order.numpy()), 1:].reshape(len(rows), -1)
    hidden = value @ state["mlp.0.weight"].T + state["mlp.0.bias"]
    np.testing.assert_allclose(ours, (hidden > 0).mean(axis=0), atol=2e-3)


def test_norms_are_over_all_coupled_tensors(model: Ranker, data: Dataset) -> None:
    state = model.state
    coupled = np.concatenate(
        [state["mlp.0.weight"], state["mlp.0.bias"][:, None], state["mlp.1.weight"].T], axis=1
    )
    l1 = importance(model, data.tune, "neurons.0", "l1").score
    l2 = importance(model, data.tune, "neurons.0", "l2").score
    np.testing.assert_allclose(l1, np.abs(coupled).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(l2, np.linalg.norm(coupled, axis=1), rtol=1e-5)


def test_dropout_rates_find_dead_units(model: Ranker, data: Dataset) -> None:
    state = {n: t.copy() for n, t in model.state.items()}
    state["mlp.1.weight"][:, [2, 5]] = 0  # two neurons nobody listens to
    state["mlp.0.weight"][[2, 5]] = 0
    state["mlp.0.bias"][[2, 5]] = 0
    dead = model.with_state(state)
    rates = importance(dead, data.train, "neurons.0", "dropout").score
    assert np.mean(rates[[2, 5]]) < np.quantile(rates, 0.3)


def test_a_method_refuses_units_it_cannot_score(model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match="'permutation' scores field units, not neuron"):
        importance(model, data.tune, "neurons.0", "permutation")
    with pytest.raises(ParameterError, match="Did you mean 'permutation'"):
        rank_fields(model, data.tune, "permutaton")
    with pytest.raises(PlanError, match=r"no axis 'neurons\.9'"):
        importance(model, data.tune, "neurons.9", "l1")


@pytest.mark.parametrize(
    "method, options, message",
    [
        (
            "shark",
            {"max_row": 5},
            "Method 'shark' has no option 'max_row'. Did you mean 'max_rows'?",
        ),
        ("random", {"seeds": 5}, "Method 'random' has no option 'seeds'. It has none."),
        ("drift", {"penalty": "1"}, "The 'penalty' parameter of drift must be a float. Got '1'"),
        ("drop_and_retrain", {"seeds": True}, "must be an int. Got True instead."),
        ("screened", {"keep_ratios": 0.5}, "must be a tuple. Got 0.5 instead."),
        ("gauss_newton", {"max_rows": 0}, "must be an int ≥ 1, or None. Got 0 instead."),
        ("sfs", {"batches": None}, "must be an int. Got None instead."),
        ("drift", {"penalty": float("inf")}, "must be a float ≥ 0. Got inf instead."),
    ],
)
def test_options_are_checked(
    method: str, options: dict[str, Any], message: str, model: Ranker, data: Dataset
) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        rank_fields(model, data.tune, method, **options)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_defaults_of_all_options_pass_the_check(method: str) -> None:
    known = inspect.signature(METHODS[method].score).parameters.values()
    defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}
    defaults.pop("executor", None)  # where it runs, no option
    check_options(method, METHODS[method].score, defaults)


def test_units_of_a_model_need_one(data: Dataset) -> None:
    assert len(importance(None, data, "fields", "random").score) == len(data.schema.names)
    with pytest.raises(ParameterError, match="'axis' parameter of importance must be 'fields'"):
        importance(None, data, "neurons.0", "random")


@pytest.mark.parametrize(
    "axis, method", [("rows.shape", "norm_count"), ("rows.shape", "activity"),
                     ("neurons.0", "activity"), ("dims.shape", "svd")],
)  # fmt: skip
def test_a_row_of_weight_two_counts_as_two(
    axis: str, method: str, model: Ranker, data: Dataset
) -> None:
    weight = np.random.default_rng(0).integers(1, 4, len(data.tune)).astype(np.float32)
    weighted = replace(data.tune, extras=replace(data.tune.extras, weight=weight))
    again = data.tune.take(np.repeat(np.arange(len(data.tune)), weight.astype(int)))
    ours = importance(model, weighted, axis, method).score
    # Weights are taken by their mean: a scale of the scores apart, more of a row is more rows.
    scale = {"norm_count": np.sqrt(len(again) / len(data.tune))}.get(method, 1)
    np.testing.assert_allclose(
        scale * ours, importance(model, again, axis, method).score, rtol=1e-6, atol=1e-12
    )


def test_rows_that_cannot_tell_are_told(model: Ranker, data: Dataset) -> None:
    none = data.tune.take(np.arange(0))
    weightless = replace(
        data.tune, extras=replace(data.tune.extras, weight=np.zeros(len(data.tune), np.float32))
    )
    for rows in (none, weightless):
        with pytest.raises(ParameterError, match="needs rows that count"):
            rank_fields(model, rows, "shark")
    with pytest.raises(
        ParameterError, match=r"'sfs' found scores .* no numbers\. Give it more rows"
    ):
        rank_fields(model, data.tune.take(np.arange(1)), "sfs")
    ones = data.tune.take(np.flatnonzero(data.tune.label))
    with pytest.raises(ParameterError, match="of l1_logistic must be rows of both classes"):
        rank_fields(None, ones, "l1_logistic")


def test_a_retriever_cannot_do_without_its_ids() -> None:
    draws = np.random.default_rng(0)
    n = 600
    frame = pl.DataFrame(
        {
            "user_id": [f"u{i % 60}" for i in range(n)],
            "item_id": [f"i{i}" for i in draws.integers(0, 20, n)],
            "y": draws.integers(0, 2, n),
        }
    )
    rows = Dataset.from_frame(frame, label="y", user="user_id", item="item_id").split()
    model = MF(2, training=Training(epochs=1)).fit(rows.train, rows.tune)
    with pytest.raises(
        ParameterError, match=r"MF has to be trained on .*_id alone here, and cannot"
    ):
        rank_fields(model, rows, "drop_and_retrain", seeds=1)


def test_keep_by_share_count_and_threshold(model: Ranker, data: Dataset) -> None:
    ranking = rank_fields(model, data.tune)
    assert ranking.keep(count=2) == ranking.fields[:2]
    assert ranking.keep(ratio=0.5) == ranking.fields[:2]
    assert ranking.keep(ratio=1.0) == ranking.fields
    assert ranking.keep(threshold=float(ranking.scores[1])) == ranking.fields[:1]
    last = ranking.fields[-1]
    assert ranking.keep(count=1, protect=(last,)) == (ranking.fields[0], last)
    for bad in ({}, {"count": 1, "ratio": 0.5}, {"ratio": 1.5}, {"count": 0}, {"threshold": 9.0}):
        with pytest.raises(ParameterError):
            ranking.keep(**bad)
    with pytest.raises(ParameterError, match="Did you mean 'colour'"):
        ranking.keep(count=1, protect=("color",))


def test_a_ranking_is_a_frame_and_a_picture(model: Ranker, data: Dataset, tmp_path) -> None:
    ranking = rank_fields(model, data.tune)
    frame = ranking.to_frame()
    assert frame.columns == ["field", "score", "std", "method"]
    assert frame["score"].is_sorted(descending=True)
    ranking.plot().savefig(tmp_path / "ranking.png")
    assert (tmp_path / "ranking.png").stat().st_size > 5_000


def test_the_page_of_methods_lists_each_once_with_its_units() -> None:
    page = (Path(__file__).parents[2] / "docs" / "importance.md").read_text("utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    table = [cells for cells in lines if len(cells) == 7]
    listed: dict[str, tuple[bool, str]] = {}
    for row in table:
        for name in row[0].removeprefix("| ").replace("`", "").split(", "):
            assert name not in listed
            listed[name] = (row[4] == "yes", row[6].removesuffix(" |"))
    assert set(listed) == set(METHODS)
    for name, (asks, units) in listed.items():
        method = METHODS[name]
        assert method.needs_model == asks, name
        every = {"field", "row", "dim", "neuron", "pair"}
        assert set(method.units) == (every if units == "all" else set(units.split(", "))), name
