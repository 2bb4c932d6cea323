"""Every part of a model against the papers' formulae, whole and cut, row by row and ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.artifact import Artifact, read_artifact
from recprune.axes import Layout
from recprune.errors import ArtifactError, InputError, ParameterError
from recprune.runtime import Scorer

from .drafts import MODELS, random_model
from .factory import MIXED, plain_schema, random_encoder, random_rows, random_shop
from .oracle import Oracle

CUTS = (
    (),
    ("dim",),
    ("neuron", "row"),
    ("pair",),
    ("field", "dim"),
    ("field", "row", "dim", "neuron", "pair"),
)
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def _agree(artifact: Artifact, n: int, seed: int) -> None:
    rows, scorer, oracle = (
        random_rows(artifact.encoder, n, seed),
        Scorer(artifact),
        Oracle(artifact),
    )
    for number, label in enumerate(artifact.model["labels"]):
        expected = oracle.logits(rows, number)
        got = scorer.logits(rows, label=label)
        assert got.dtype == np.float32
        close = {"atol": 2e-5 * max(1, np.abs(expected).max()), "rtol": 1e-4}
        np.testing.assert_allclose(got, expected, **close)
        one = np.concatenate([scorer.logits(rows[i : i + 1], label=label) for i in range(n)])
        np.testing.assert_allclose(one, expected, **close)


@every_model
@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_agrees_with_the_formulae(model: Mapping[str, Any], cut: tuple[str, ...]) -> None:
    for seed in range(3):
        _agree(random_model(random_encoder(MIXED, seed), model, seed, cut=cut), 12, seed)


@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(2, 7),
    st.integers(0, 7),
    st.integers(1, 6),
    st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=3),
    st.sampled_from(CUTS),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_any_shape(
    model: str,
    fields: int,
    numeric: int,
    dim: int,
    hidden: list[int],
    cut: tuple[str, ...],
    seed: int,
) -> None:
    encoder = random_encoder(plain_schema(fields, min(numeric, fields)), seed)
    _agree(random_model(encoder, MODELS[model], seed, dim=dim, hidden=hidden, cut=cut), 5, seed)


def test_an_artefact_of_protocol_1_is_scored() -> None:
    stored = read_artifact(Path(__file__).parents[1] / "core" / "protocol1")
    _agree(replace(stored, catalogue={}), 30, 0)


@every_model
def test_long_batches_go_in_blocks(model: Mapping[str, Any]) -> None:
    artifact = random_model(random_encoder(MIXED, 1), model, 1)
    scorer, rows = Scorer(artifact), random_rows(artifact.encoder, 2500, 1)
    together = scorer.logits(rows)
    for part in (slice(0, 1), slice(1020, 1030), slice(2499, 2500)):
        np.testing.assert_allclose(scorer.logits(rows[part]), together[part], atol=1e-4)
    assert scorer.logits(rows[:0]).shape == (0,)


@every_model
@pytest.mark.parametrize("cut", [(), ("dim", "row", "neuron", "pair"), ("field",)], ids=str)
def test_ranking_equals_scoring_every_row(model: Mapping[str, Any], cut: tuple[str, ...]) -> None:
    for seed in range(2):
        shop = random_shop(model, seed, cut=cut)
        scorer, encoder = Scorer(shop.artifact), shop.artifact.encoder
        for user in range(3):
            rows = encoder.encode(shop.rows_of(user))
            for label in scorer.labels:
                expected = scorer.logits(rows, label=label)
                got = scorer.catalogue_logits(shop.users, user, label=label)
                np.testing.assert_allclose(got, expected, atol=1e-4)
                places = {item: i for i, item in enumerate(shop.items["item_id"])}
                answer = scorer.recommend_user(
                    shop.users, str(user), 3, exclude_seen=False, label=label
                )
                # Scored in other blocks, whose products may round otherwise: near ties may swap.
                found = got[[places[item] for item in answer.items]]
                np.testing.assert_allclose(found, np.sort(got)[::-1][:3], atol=1e-4)
        some = scorer.recommend({"user_id": "1"}, 3, candidates=["7", "3", "11"])
        every = scorer.recommend({"user_id": "1"}, 40)
        scores = dict(zip(every.items, every.scores, strict=True))
        assert {*some.items} == {"7", "3", "11"}
        np.testing.assert_allclose(some.scores, [scores[i] for i in some.items], atol=1e-4)


def test_two_towers_keep_an_items_vector_alone() -> None:
    shop = random_shop(MODELS["towers"], 0)
    scorer = Scorer(shop.artifact)
    before = scorer.bytes_in_memory
    scorer.recommend({})
    assert before < scorer.bytes_in_memory <= before + 40 * 3 * 4


def test_labels_are_chosen_by_name() -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["shared"], 0)
    scorer, rows = Scorer(artifact), random_rows(artifact.encoder, 9, 0)
    assert scorer.labels == ("click", "purchase", "return")
    np.testing.assert_array_equal(scorer.logits(rows), scorer.logits(rows, label="click"))
    assert not np.allclose(scorer.logits(rows), scorer.logits(rows, label="purchase"))
    columns = {"user": ["1", "2"], "age": [3, None]}
    np.testing.assert_array_equal(scorer.score(columns), scorer.score(columns, label="click"))
    with pytest.raises(ParameterError, match=r"'label' parameter of score .* mean 'purchase'\?"):
        scorer.score(columns, label="purchased")
    single = Scorer(random_model(random_encoder(MIXED, 0), MODELS["mlp"], 0))
    assert single.labels == ("click",)
    with pytest.raises(ParameterError, match="'label' parameter of logits"):
        single.logits(rows, label="purchase")


def test_one_rate_of_negatives_calibrates_the_first_label_alone() -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["shared"], 0)
    scorer = Scorer(replace(artifact, meta={"labels": {"negative_rate": 0.5}}))
    columns = {"user": ["1", "2"]}
    odds = [s / (1 - s) for s in (scorer.score(columns), scorer.score(columns, calibrated=True))]
    np.testing.assert_allclose(odds[1], 0.5 * odds[0], rtol=1e-4)
    with pytest.raises(InputError, match="'purchase'"):
        scorer.score(columns, label="purchase", calibrated=True)


@every_model
@pytest.mark.parametrize("cut", [(), ("field", "dim", "neuron", "pair")], ids=["whole", "cut"])
def test_tensors_that_do_not_fit_are_refused(
    model: Mapping[str, Any], cut: tuple[str, ...]
) -> None:
    artifact = random_model(random_encoder(MIXED, 2), model, 2, cut=cut)
    for name, array in artifact.state.items():
        wrong = [
            array[None],
            array[..., None],
            array.reshape(-1) if array.ndim > 1 else array.reshape(1, -1),
            np.concatenate([array, array[:1]]),
            np.concatenate([array, array[..., :1]], axis=-1),
            array[:-1],
            array[..., :-1],
            np.full_like(array, np.nan),
            array * np.float32(np.inf),
        ]
        for other in wrong:
            with pytest.raises(ArtifactError):
                Scorer(replace(artifact, state={**artifact.state, name: other}))
        lacking = {n: a for n, a in artifact.state.items() if n != name}
        with pytest.raises(ArtifactError):
            Scorer(replace(artifact, state=lacking))
        with pytest.raises(ArtifactError):
            Scorer(replace(artifact, state={**artifact.state, f"{name}.more": array}))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"parts": ["mpl"]}, "There is no part 'mpl' of a model. Did you mean 'mlp'"),
        ({"parts": ["mlp", "mlp"]}, "'parts' must be different names"),
        ({"parts": "mlp"}, "'parts' must be different names"),
        ({"parts": [1]}, "'parts' must be different names"),
        ({"parts": None}, "'parts' must be different names"),
        ({"wide": 1}, "'wide' must be true or false"),
        ({"wide": True}, r"'table.user' must have shape"),
        ({"parts": ["fm", "stack"]}, "no tensor 'stack.mlp.out.weight'"),
        ({"parts": []}, "no use for these tensors: 'mlp.0.bias'"),
        ({"parts": ["mlp", "fm", "cross"]}, "no tensor 'cross.out.weight'"),
        ({"labels": ["a", "b"]}, "must have the part 'shared'"),
        ({"labels": "ab"}, "'labels' must be different names"),
        ({"labels": []}, "'labels' must be different names"),
    ],
)
def test_contradicting_configs_are_refused(change: dict[str, Any], message: str) -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["mlp"], 0)
    with pytest.raises(ArtifactError, match=message):
        Scorer(replace(artifact, model={**artifact.model, **change}))


def test_hidden_layers_that_are_declared_must_be_there() -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["fm_narrow"], 0)
    with pytest.raises(ArtifactError, match="no hidden layer"):
        Scorer(replace(artifact, model={**artifact.model, "parts": ["fm", "mlp"]}))


def test_labels_and_layers_must_be_as_many() -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS["shared"], 0)
    two = {**artifact.model, "labels": ["click", "purchase"]}
    bias = {**artifact.state, "bias": artifact.state["bias"][:2]}
    with pytest.raises(ArtifactError, match="2 labels, and layers of 3"):
        Scorer(replace(artifact, model=two, state=bias))
    with pytest.raises(ArtifactError, match=r"described by names"):
        Scorer(replace(artifact, model=["mlp"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["pairs", "dot"])
def test_pairs_of_no_fields_are_refused(model: str) -> None:
    artifact = random_model(random_encoder(MIXED, 0), MODELS[model], 0)
    axes = artifact.layout.axes
    (_, left), (_, right) = axes["pairs"].members
    last = len(left) - 1
    for members in (
        (("fields", np.where(np.arange(last + 1) == 3, 99, left)), ("fields", right)),
        (("fields", left), ("fields", np.where(np.arange(last + 1) == last, -2, right))),
        (("fields", left), ("fields", left)),
        (("fields", left), ("fields", right[:-1])),
        (("rows.user", left), ("fields", right)),
        (("fields", left),),
        (("fields", left[0]), ("fields", right)),
        (),
        (("fields", np.full(last + 1, -1)), ("fields", right)),
    ):
        if model == "dot" and len(members) == 2 and np.all(members[0][1] == -1):
            continue  # all of them with the numbers' vector is no contradiction
        changed = {**axes, "pairs": replace(axes["pairs"], members=members)}  # type: ignore[arg-type]
        layout = Layout(changed, artifact.layout.shapes)
        with pytest.raises(ArtifactError):
            Scorer(replace(artifact, layout=layout))


def test_two_towers_refuse_cross_fields() -> None:
    shop = random_shop(MODELS["mlp"], 0)
    with pytest.raises(ArtifactError, match="cannot have cross fields"):
        Scorer(random_model(shop.artifact.encoder, MODELS["towers"], 0))
