"""Cutting while a model learns, lottery tickets, dead neurons, and single weights at zero."""

from __future__ import annotations

import numpy as np
import pytest

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError, RecpruneWarning
from recprune.metrics import auc
from recprune.models import DeepFM, Ranker, Training
from recprune.pruning import alive, cut, encode, gradual, plan, repair, rewind
from recprune.pruning import weights as weights_of
from recprune.pruning.rounds import stage
from recprune.pruning.weights import break_even, sparsify, sparsity_at, sparsity_of, zeroed
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(4_000)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (24, 12), Training(epochs=5, device="cpu")).fit(data.train, data.tune)


def score(model: Ranker, data: Dataset) -> float:
    return auc(data.test.label, model.logits(model.aligned(data.test).rows))


# ---- tickets


def test_a_ticket_starts_from_the_first_weights(model: Ranker, data: Dataset) -> None:
    made = plan(model, data, {"neurons": 0.25, "rows": 0.5})
    untrained = model.like(training=Training(epochs=0)).fit(data.train)
    small = untrained.apply(made)
    expected = small.train_on(data.train, valid=data.tune, training=model.training)
    ticket = rewind(model, data, made)
    assert [e.score for e in ticket.history] == [e.score for e in expected]
    for name, array in small.state.items():
        np.testing.assert_array_equal(ticket.state[name], array)
    assert ticket.plan.keep.keys() == made.keep.keys()
    assert score(ticket, data) > score(model, data) - 0.03


def test_a_later_ticket_starts_from_later_weights(model: Ranker, data: Dataset) -> None:
    small = cut(model, data.train, {"neurons": 0.25})
    early, late = (rewind(small, data, epochs=e).history[0].score for e in (0, 2))
    assert early is not None
    assert late is not None
    assert late > early + 0.05
    other = DeepFM(8, (20,), Training(epochs=0)).fit(data.train)
    with pytest.raises(PlanError, match="made for layout"):
        rewind(other, data, small.plan)


# ---- gradual


def test_cuts_on_the_way_end_where_they_should(model: Ranker, data: Dataset) -> None:
    keep = {"neurons": 0.25, "rows": 0.5, "dims": 4}
    small = gradual(model, data, keep, rounds=3)
    assert small.neurons == (6, 3)
    assert {a.size for a in small.layout.axes.values() if a.unit == "dim"} == {4}
    assert score(small, data) > score(model, data) - 0.03
    model.apply(small.plan)  # of the same layout


def test_the_cubic_way_cuts_most_early(model: Ranker) -> None:
    counts = [stage(model, "neurons", 0.25, t / 4, cubic=True)[0] for t in range(5)]
    assert counts == [24, 14, 8, 6, 6]


@pytest.mark.parametrize("option", [{"warm_up": 0}, {"rounds": 0}])
def test_bad_ways_are_refused(option: dict, model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match=next(iter(option))):
        gradual(model, data, {"neurons": 0.5}, **option)
    with pytest.raises(ParameterError, match="epochs"):
        rewind(model, data, epochs=-1)


# ---- dead neurons


def test_dead_neurons_go_without_a_trace(model: Ranker, data: Dataset) -> None:
    state = {n: a.copy() for n, a in model.state.items()}
    state["mlp.0.bias"][[2, 5]] = -100  # never open
    state["mlp.0.weight"][7], state["mlp.0.bias"][7] = 0, 1.5  # always the same
    ill = model.with_state(state)
    made = alive(ill, data.train)
    gone = set(range(24)) - set(made.keep["neurons.0"].tolist())
    assert {2, 5, 7} <= gone
    small = ill.apply(made, repair(ill, data.train, made))
    np.testing.assert_allclose(
        small.logits(data.train.rows), ill.logits(data.train.rows), atol=1e-5
    )
    assert not alive(small, data.train).keep


def test_a_layer_that_is_dead_altogether_keeps_one(model: Ranker, data: Dataset) -> None:
    state = {n: a.copy() for n, a in model.state.items()}
    state["mlp.1.bias"][:] = -100
    ill = model.with_state(state)
    small = ill.apply(alive(ill, data.train))
    assert small.neurons[1] == 1


@pytest.mark.parametrize("mean", [0.01, 1.0, 300.0])
def test_dead_is_what_varies_no_more_than_rounding(mean: float, data: Dataset) -> None:
    model = DeepFM(4, (40, 4), Training(epochs=0)).fit(data.train)
    state = {n: a.copy() for n, a in model.state.items()}
    weight, bias = state["mlp.0.weight"], state["mlp.0.bias"]
    for neuron, spread in ((3, 1e-6), (7, 1e-3)):  # as a share of the mean
        weight[neuron] *= mean * spread / np.abs(weight[neuron]).sum()
        weight[neuron] *= (
            1
            / np.abs(
                np.concatenate([state[f"table.{n}"] for n in model.encoder.schema.names])
            ).max()
        )
        bias[neuron] = mean
    made = alive(model.with_state(state), data.train)
    gone = set(range(40)) - set(made.keep["neurons.0"].tolist())
    assert gone == {3}
    assert made.layout_hash == model.layout.hash
    bias[:] = -1e6  # of neurons that are all dead alike, the first stays
    assert alive(model.with_state(state), data.train).keep["neurons.0"].tolist() == [0]


# ---- weights


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_smallest_weights_become_zero(scope: str, model: Ranker) -> None:
    small = zeroed(model, 0.7, scope)
    assert sparsity_of(small) == pytest.approx(0.7, abs=0.01)
    for name, before in model.state.items():
        after = small.state[name]
        if before.ndim == 1:
            np.testing.assert_array_equal(after, before)
            continue
        kept = after != 0
        np.testing.assert_array_equal(after[kept], before[kept])
        if kept.any() and not kept.all():
            assert np.abs(before[~kept]).max() <= np.abs(before[kept]).min()
        if scope == "layer":
            assert abs((~kept).sum() - 0.7 * kept.size) <= 1


def test_a_tensor_does_not_go_in_silence(model: Ranker) -> None:
    with pytest.warns(RecpruneWarning, match=r"No weight is left of .*table\.noise.*scope='layer'"):
        zeroed(model, 0.97)
    left = zeroed(model, 0.9, "layer").state
    assert all(a.any() for a in left.values())


@pytest.mark.parametrize("course", ["once", "cubic", "deeplight", "l1"])
def test_every_course_ends_in_the_sparsity_asked_for(
    course: str, model: Ranker, data: Dataset
) -> None:
    small = sparsify(model, data, 0.6, course=course, rounds=2)
    assert sparsity_of(small) >= 0.6 - 1e-3
    assert sparsity_of(small) < 0.95
    assert score(small, data) > score(model, data) - 0.05
    assert stored_size(small.artifact()) >= stored_size(model.artifact())  # zeros save nothing


def test_most_goes_early(model: Ranker) -> None:
    for course in ("cubic", "deeplight"):
        way = [sparsity_at(t / 10, 0.9, course) for t in range(11)]
        steps = np.diff(way)
        assert way[0] == 0
        assert way[-1] == pytest.approx(0.9, abs=0.05)
        assert (np.diff(steps) < 0).all()


def test_break_even_is_where_the_sparse_form_gets_smaller(model: Ranker) -> None:
    for encoded in (False, True):
        least = break_even(model, encoded)
        for sparsity, smaller in ((least + 0.02, True), (least - 0.02, False)):
            small = zeroed(model, sparsity)
            stored = encode(small) if encoded else small
            saved = stored_size(stored.artifact()) - stored_size(stored.artifact(), zeros=False)
            assert (saved > 0) is smaller, (encoded, least)
    assert break_even(model, True) > break_even(model, False) > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sparsity": 1.0}, r"float in \[0, 1\)"),
        ({"sparsity": 0.5, "scope": "table"}, "'global' or 'layer'"),
        ({"sparsity": 0.5, "course": "slow"}, "'once', 'cubic'"),
        ({"sparsity": 0.5, "rounds": 0}, "int ≥ 1"),
    ],
)
def test_bad_sparsities_are_refused(
    options: dict, message: str, model: Ranker, data: Dataset
) -> None:
    with pytest.raises(ParameterError, match=message):
        weights_of.sparsify(model, data, **options)
