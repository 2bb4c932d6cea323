"""Learned gates: each law against a plain version, and what all of them find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.importance import Evidence, importance
from recprune.importance.dropout import DropoutLaw
from recprune.importance.gates import Course, learn_gates
from recprune.importance.gates.autofield import AutoFieldLaw
from recprune.importance.gates.hard_concrete import HardConcreteLaw
from recprune.importance.gates.learning import Pupil
from recprune.importance.gates.lpfs import SmoothedLaw, shrunk
from recprune.importance.gates.places import places_of
from recprune.importance.gates.shuffle_gate import ShuffleLaw
from recprune.metrics import log_loss_of_logits
from recprune.models import DeepFM, FwFM, Ranker, SharedBottom, Training
from tests.planted import small_data

GATES = ["shuffle_gate", "hard_concrete", "autofield", "lpfs", "lpfs++", "dropout"]
FEW = {"steps": 100}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (16, 8), training=Training(epochs=6)).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def dead(model: Ranker) -> Ranker:
    """The model with two neurons that nobody listens to."""
    state = {n: t.copy() for n, t in model.state.items()}
    state["mlp.1.weight"][:, [2, 5]] = 0
    return model.with_state(state)


@pytest.mark.parametrize("gate", GATES)
def test_dead_neurons_are_found(gate: str, dead: Ranker, data: Dataset) -> None:
    score = importance(dead, data, "neurons.0", gate, **FEW).score
    others = np.delete(score, [2, 5])
    assert score[[2, 5]].max() <= np.quantile(others, 0.3), score


@pytest.mark.parametrize("gate", GATES)
def test_weights_may_train_along(gate: str, model: Ranker, data: Dataset) -> None:
    before = {n: t.copy() for n, t in model.state.items()}
    score = importance(model, data, "fields", gate, train_weights=True, **FEW).score
    names = np.array(model.encoder.schema.names)[np.argsort(-score)]
    assert set(names[:2]) == {"colour", "size"}
    assert all(np.array_equal(before[n], t) for n, t in model.state.items())


@pytest.mark.parametrize("gate", GATES)
def test_the_stronger_the_penalty_the_fewer_gates_stay_open(
    gate: str, model: Ranker, data: Dataset
) -> None:
    def left(strength: float) -> int:
        course = {"strength": strength, "anneal": 1.0, **FEW}
        return int((importance(model, data, "neurons.0", gate, **course).score > 0.5).sum())

    counts = [left(strength) for strength in (0.01, 1.0, 10.0, 1e4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 8
    assert counts[-1] == 0


@pytest.mark.parametrize("gate", GATES)
def test_rows_that_weigh_nothing_say_nothing(gate: str, model: Ranker, data: Dataset) -> None:
    """Half of the rows claim the opposite of the truth, at no weight."""
    held = data.train.take(np.arange(2000))
    lies = np.arange(2000) % 2 == 1
    label = np.where(lies, 1 - held.label, held.label).astype(np.float32)

    def scored(weight: np.ndarray | None) -> np.ndarray:
        split = replace(held, label=label, extras=replace(held.extras, weight=weight))
        return importance(model, split, "fields", gate, **FEW).score

    weighed = scored(np.where(lies, 0, 2).astype(np.float32))
    plain = scored(None)
    useful = [model.encoder.schema.names.index(n) for n in ("colour", "size")]
    assert weighed[useful].min() > np.delete(weighed, useful).max()
    assert weighed[useful].mean() > plain[useful].mean()  # nothing can be learnt from a coin


@pytest.mark.parametrize("gate", GATES)
def test_one_field_and_few_rows(gate: str) -> None:
    draws = np.random.default_rng(0)
    values = draws.integers(0, 3, 400)
    label = (draws.random(400) < 0.2 + 0.3 * values).astype(int)
    frame = pl.DataFrame({"only": [f"v{v}" for v in values], "y": label})
    data = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    model = DeepFM(2, (4,), training=Training(epochs=2)).fit(data.train)
    for split in (data, data.tune.take(np.arange(2)), data.tune.take(np.arange(1))):
        score = importance(model, split, "fields", gate, steps=5).score
        assert score.shape == (1,)
        assert np.isfinite(score).all()


@pytest.mark.parametrize("gate", GATES)
def test_options_out_of_range_are_refused(gate: str, model: Ranker, data: Dataset) -> None:
    bad = {"strength": -1.0, "anneal": 0.5, "steps": 0, "train_weights": 1}
    for name, value in bad.items():
        with pytest.raises(ParameterError, match=f"'{name}' parameter"):
            importance(model, data, "fields", gate, **{name: value})


def test_a_model_of_two_labels_has_gates_too() -> None:
    two = small_data(second_label=True)
    model = SharedBottom(4, (8,), training=Training(epochs=3)).fit(two.train, two.tune)
    score = importance(model, two, "fields", "shuffle_gate").score
    names = np.array(model.encoder.schema.names)[np.argsort(-score)]
    assert set(names[:2]) == {"colour", "size"}


def test_pairs_and_dims_have_gates_too(data: Dataset) -> None:
    """What was set to zero is the same for all rows: its gate closes before the others."""
    model = FwFM(4, training=Training(epochs=4)).fit(data.train, data.tune)
    state = {n: t.copy() for n, t in model.state.items()}
    state["pairs.weight"][[1, 4]] = 0
    state["table.size"][:, [2]] = 0  # the second dim, after the first-order weight
    cut = model.with_state(state)
    for axis, nothing in (("pairs", [1, 4]), ("dims.size", [1])):
        score = importance(cut, data, axis, "shuffle_gate").score
        assert set(np.argsort(score)[: len(nothing)]) == set(nothing), (axis, score)


def test_rows_whose_values_are_the_unknown_one_are_found(model: Ranker, data: Dataset) -> None:
    state = {n: t.copy() for n, t in model.state.items()}
    state["table.colour"][[2, 4]] = state["table.colour"][1]
    score = importance(model.with_state(state), data, "rows.colour", "shuffle_gate").score
    assert set(np.argsort(score[2:])[:2] + 2) == {2, 4}, score


def test_the_axes_learnt_together_are_told_apart(dead: Ranker, data: Dataset) -> None:
    axes = [dead.layout.axis(n) for n in ("fields", "neurons.0", "dims.size", "dims.noise")]
    rows = Evidence.of(data, dead)
    scores = learn_gates(dead, rows, axes, ShuffleLaw(), Course(), 0)
    assert [len(scores[a.name].score) for a in axes] == [a.size for a in axes]
    names = np.array(dead.encoder.schema.names)
    assert set(names[np.argsort(-scores["fields"].score)[:2]]) == {"colour", "size"}
    assert scores["dims.size"].score.mean() > scores["dims.noise"].score.mean()


@pytest.mark.parametrize("gate", GATES)
def test_options_of_one_law_are_refused_too(gate: str, model: Ranker, data: Dataset) -> None:
    own = {"lpfs": "epsilon", "lpfs++": "slope"}.get(gate, "temperature")
    with pytest.raises(ParameterError, match=f"'{own}' parameter"):
        importance(model, data, "fields", gate, **{own: -0.5})


def test_without_a_penalty_gates_stay_open(model: Ranker, data: Dataset) -> None:
    for gate in GATES:
        score = importance(model, data, "neurons.1", gate, strength=0.0, **FEW).score
        assert np.median(score) > 0.7, (gate, score)


def test_gates_that_lpfs_closes_are_exactly_zero(model: Ranker, data: Dataset) -> None:
    score = importance(model, data, "fields", "lpfs", strength=1.0, anneal=1.0).score
    names = np.array(model.encoder.schema.names)
    assert set(names[score == 0]) == {"noise", "shape"}
    assert score[score > 0].min() > 0.5


def test_closed_gates_open_again_in_lpfs_plus_alone() -> None:
    """A closed gate, and a loss that falls as it opens."""
    for a, opens in ((0.0, False), (1.0, True)):
        law, theta = SmoothedLaw(slope=a), torch.zeros(1, requires_grad=True)
        step = law.learner(theta, 100)
        for _ in range(50):
            (slope,) = torch.autograd.grad(-law.gate(theta, 0.5, torch.Generator()).sum(), theta)
            step(slope, 0.001, 0.5)
        assert bool(law.open(theta.detach(), 0.5) > 0.5) is opens


def test_the_gate_of_lpfs_is_the_formula_as_a_share_of_its_start() -> None:
    x, none = torch.tensor([-0.5, 0.0, 0.01, 0.3, 1.0]), torch.Generator()
    epsilon = 0.1 * 0.1**0.5  # half-way from 0.1 to 0.01
    plain = [v**2 / (v**2 + epsilon) * (1 + epsilon) for v in x.tolist()]
    np.testing.assert_allclose(SmoothedLaw(0.01).gate(x, 0.5, none), plain, rtol=1e-5)

    def plus(v: float) -> float:
        return float(np.sign(v)) * v**2 / (v**2 + epsilon) + 3 * epsilon**0.5 * np.arctan(v)

    plain = [plus(v) / plus(1.0) for v in x.tolist()]
    np.testing.assert_allclose(SmoothedLaw(0.01, 3.0).gate(x, 0.5, none), plain, rtol=1e-5)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1), st.floats(0, 2, width=32))
def test_the_proximal_step_minimises_its_objective(value: list[float], threshold: float) -> None:
    """argmin over x of ½(x − v)² + t·|x|, by a fine grid."""
    ours = shrunk(torch.tensor(value), threshold).double().numpy()
    grid = np.linspace(-3, 3, 2401)
    for v, x in zip(value, ours, strict=True):
        goal = lambda at, v=v: 0.5 * (at - v) ** 2 + threshold * np.abs(at)  # noqa: E731
        assert goal(x) <= goal(grid).min() + 1e-5


def test_the_expected_count_of_hard_concrete_gates_is_what_draws_come_to() -> None:
    law, draws = HardConcreteLaw(0.5), torch.Generator().manual_seed(0)
    logit = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    drawn = law.gate(logit.expand(100_000, -1), 0.0, draws)
    assert float(drawn.min()) == 0
    assert float(drawn.max()) == 1  # clipped: exact zeros and ones
    np.testing.assert_allclose(law.open(logit, 0.0), (drawn > 0).float().mean(dim=0), atol=0.005)


def test_one_logistic_draw_is_the_gumbel_softmax_of_two_logits() -> None:
    """AutoField as published: two logits with a Gumbel draw each."""
    law, draws = AutoFieldLaw(0.2), torch.Generator().manual_seed(0)
    ours = law.gate(torch.full((200_000,), 0.7), 0.5, draws).numpy()
    gumbel = np.random.default_rng(0).gumbel(size=(200_000, 2)) + np.array([1.0, 0.3])
    plain = 1 / (1 + np.exp((gumbel[:, 1] - gumbel[:, 0]) / 0.6))  # half-way from 1 to 0.2
    at = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(np.quantile(ours, at), np.quantile(plain, at), atol=0.01)


def test_a_unit_is_dropped_at_its_rate() -> None:
    law, draws = DropoutLaw(0.1), torch.Generator().manual_seed(0)
    logit = torch.tensor([-1.5, 0.0, 2.0])
    drawn = law.gate(logit.expand(50_000, -1), 0.0, draws)
    np.testing.assert_allclose((drawn > 0.5).float().mean(dim=0), torch.sigmoid(logit), atol=0.01)


def test_the_gradient_of_a_shuffled_gate_is_the_formula(model: Ranker, data: Dataset) -> None:
    """∂loss/∂θ = τ·g·(1 − g) · Σ over rows of ⟨∂loss/∂x', x − x̃⟩, field by field."""
    net, split = model.net, data.tune.take(np.arange(64))
    axis = model.layout.axis("fields")
    (place,) = places_of(model, net, [axis])
    law, theta = ShuffleLaw(3.0), torch.tensor([0.1, -0.4, 0.3, 0.8], requires_grad=True)
    draws = torch.Generator().manual_seed(5)
    value = net.embed(split.rows).detach()
    gate = law.gate(place.spread(theta, value, None), 0.0, draws)
    closed = place.closed(value, True, draws)
    for f in range(4):  # each field is shuffled, and apart from the others
        whole = lambda rows: sorted(map(tuple, rows.tolist()))  # noqa: E731
        assert whole(closed[:, f]) == whole(value[:, f])
    mixed = closed + gate * (value - closed)
    label = torch.from_numpy(split.label)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(net.head(mixed), label)
    by_value, by_theta = torch.autograd.grad(loss, [mixed, theta])
    g = 1 / (1 + np.exp(-3.0 * theta.detach().numpy()))
    plain = 3.0 * g * (1 - g) * (by_value * (value - closed)).sum(dim=(0, 2)).numpy()
    np.testing.assert_allclose(by_theta.numpy(), plain, rtol=1e-4, atol=1e-7)


def test_strength_is_in_units_of_what_the_model_explains(model: Ranker, data: Dataset) -> None:
    split = model.aligned(data.tune)
    places = places_of(model, model.net, [model.layout.axis("fields")])
    pupil = Pupil(model, split, places, ShuffleLaw(), Course(), 0)
    mean = model.predict(split.rows).mean(dtype=np.float64)
    constant = np.full(len(split), np.log(mean / (1 - mean)))
    guess = log_loss_of_logits(split.label, constant)
    own = log_loss_of_logits(split.label, model.logits(split.rows))
    assert pupil.explained == pytest.approx(guess - own, rel=1e-4)


def test_gates_see_the_weights_as_they_will_score(model: Ranker, data: Dataset) -> None:
    """Before the first update, training's own parts of the rows come to the fitted model."""
    twin, rows = model.with_state(model.state), data.tune.rows
    seen = []

    def look(outputs):
        if not seen:
            seen.append(outputs(rows, {}).detach().numpy())

    twin.train_on(data.train, training=Training(epochs=1), extra=look)
    np.testing.assert_allclose(seen[0], model.logits(rows), atol=1e-4)


def test_looking_does_not_change_training(model: Ranker, data: Dataset) -> None:
    once, twice = (model.with_state(model.state) for _ in range(2))
    training = Training(epochs=1)

    def look(outputs):
        outputs(data.tune.rows, {}).sum().item()

    once.train_on(data.train, training=training)
    twice.train_on(data.train, training=training, extra=look)
    assert all(np.array_equal(twice.state[n], t) for n, t in once.state.items())
