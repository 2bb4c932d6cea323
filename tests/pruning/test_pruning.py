"""Plans, repairs, rotations, rounds and encodings on real models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError
from recprune.layout import Plan
from recprune.lookups import UNKNOWN
from recprune.metrics import auc
from recprune.models import FM, LR, DeepFM, FwFM, Ranker, Training
from recprune.pruning import cut, encode, gradual, plan, prune, repair, rotate
from recprune.pruning.rounds import stage
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (24, 12), training=Training(epochs=6)).fit(data.train, data.tune)


def logits(model: Ranker, data: Dataset) -> np.ndarray:
    return model.logits(model.aligned(data.test).rows)


def score(model: Ranker, data: Dataset) -> float:
    return auc(data.test.label, logits(model, data))


@pytest.mark.parametrize("kind", ["fields", "rows", "dims", "neurons"])
def test_a_share_of_one_is_the_identity(kind: str, model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {kind: 1.0})
    same = model.apply(made, repair(model, data.train, made))
    np.testing.assert_array_equal(logits(same, data), logits(model, data))


@pytest.mark.parametrize("kind", ["fields", "rows", "dims", "neurons"])
def test_asked_for_a_share_got_that_share(kind: str, model: Ranker, data: Dataset) -> None:
    small = cut(model, data.train, {kind: 0.5}, scored_on=data.tune)
    axes = small.layout.axes
    if kind == "fields":
        assert axes["fields"].size == 2
    elif kind == "dims":
        assert {a.size for a in axes.values() if a.unit == "dim"} == {4}
    elif kind == "neurons":
        assert small.neurons == (12, 6)
    else:
        categorical = [a for a in axes.values() if a.unit == "row" and a.min_keep < a.size + 1]
        rows = sum(a.size - 2 for a in categorical if a.name in ("rows.colour", "rows.shape"))
        before = sum(model.layout.axes[f"rows.{f}"].size - 2 for f in ("colour", "shape"))
        assert rows == round(before / 2)


@pytest.mark.parametrize("kind", ["rows", "neurons", "dims"])
def test_smaller_shares_keep_subsets(kind: str, model: Ranker, data: Dataset) -> None:
    plans = [plan(model, data.tune, {kind: share}) for share in (0.75, 0.5, 0.25)]
    for larger, smaller in itertools.pairwise(plans):
        for axis, units in smaller.keep.items():
            assert set(units) <= set(larger.keep[axis])


def test_predicted_bytes_are_the_bytes(model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {"fields": 0.5, "rows": 0.4, "dims": 3, "neurons": (7, 5)})
    small = model.apply(made)
    assert made.predicted_bytes(model.layout) == sum(t.nbytes for t in small.state.values())
    assert stored_size(small.artifact()) < stored_size(model.artifact())


def test_a_dropped_field_is_replaced_by_its_mean_exactly(model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {"fields": ["colour", "noise"]})
    small = model.apply(made, repair(model, data.train, made))
    net, train, test = model.net, data.train.rows, data.test.rows

    def values(rows):
        return net.embed(rows).detach()

    mean, value = values(train).mean(dim=0), values(test)
    for place, i in enumerate(net.order.tolist()):
        if model.encoder.schema.names[i] in ("shape", "size"):
            value[:, place] = mean[place]
    with torch.no_grad():
        expected = net.head(value).numpy()
    np.testing.assert_allclose(logits(small, data), expected, atol=1e-4)


def test_a_cut_row_reads_as_the_unknown_row(model: Ranker, data: Dataset) -> None:
    small = cut(model, data.train, {"rows": 6})
    values = small.encoder.parts["shape"].values
    gone = [v for v in model.encoder.parts["shape"].values if v not in values]
    assert gone
    rows = small.encoder.encode({"shape": [gone[0], "never seen"], "colour": ["red", "red"]})
    at = small.encoder.schema.names.index("shape")
    assert rows.codes[:, at].tolist() == [UNKNOWN, UNKNOWN]
    first, second = small.logits(rows)
    assert first == second


def test_aligned_rows_are_the_encoded_raw_rows(model: Ranker, data: Dataset) -> None:
    small = cut(model, data.train, {"rows": 0.3, "fields": 0.75}, scored_on=data.tune)
    ours = small.aligned(data.test).rows
    raw = {n: data.test.columns[n].to_list() for n in small.encoder.schema.names}
    plain = small.encoder.encode(raw)
    np.testing.assert_array_equal(ours.codes, plain.codes)
    np.testing.assert_allclose(ours.shares, plain.shares)


def test_repair_helps(model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {"neurons": 0.25})
    raw, mended = model.apply(made), model.apply(made, repair(model, data.train, made))
    full = logits(model, data)
    assert np.mean((logits(mended, data) - full) ** 2) < 0.5 * np.mean(
        (logits(raw, data) - full) ** 2
    )


def test_a_patch_is_bound_to_its_checkpoint(model: Ranker, data: Dataset) -> None:
    made = plan(model, data.tune, {"neurons": 0.5})
    patch = repair(model, data.train, made)
    later = model.with_state({n: t * np.float32(1.01) for n, t in model.state.items()})
    with pytest.raises(PlanError, match="another checkpoint"):
        later.apply(made, patch)
    later.apply(made, repair(later, data.train, made))


def test_the_rotation_changes_nothing_but_the_order_of_dims(model: Ranker, data: Dataset) -> None:
    turned = rotate(model, data.train)
    np.testing.assert_allclose(logits(turned, data), logits(model, data), atol=1e-4)
    names = turned.encoder.schema.names
    spread = np.zeros(8)
    for i, name in enumerate(names):
        count = np.bincount(data.train.rows.codes[:, i], minlength=turned.encoder.sizes[i])
        table = turned.state[f"table.{name}"][:, 1:]
        mean = count @ table / count.sum()
        spread += count @ (table - mean) ** 2
    assert (np.diff(spread) <= 1e-6 * spread[0]).all()
    few = {"dims": 4}
    made = [plan(m, data.tune, few) for m in (model, turned)]
    errors = [
        np.mean((logits(m.apply(p, repair(m, data.train, p)), data) - logits(model, data)) ** 2)
        for m, p in zip((model, turned), made, strict=True)
    ]
    assert errors[1] < errors[0]


def test_rounds_end_at_the_share_asked_for(model: Ranker, data: Dataset) -> None:
    small = prune(model, data, {"neurons": 0.25, "rows": 0.3, "dims": 2}, rounds=3, epochs=1)
    assert small.neurons == (6, 3)
    assert {a.size for a in small.layout.axes.values() if a.unit == "dim"} == {2}
    before = sum(model.layout.axes[f"rows.{f}"].size - 2 for f in ("colour", "shape"))
    after = sum(small.layout.axes[f"rows.{f}"].size - 2 for f in ("colour", "shape"))
    assert after == round(0.3 * before)
    assert score(small, data) > score(model, data) - 0.03


def test_stages_shrink_geometrically(model: Ranker) -> None:
    assert [stage(model, "neurons", 0.25, p) for p in (0.5, 1.0)] == [(12, 6), (6, 3)]
    assert stage(model, "fields", ["size"], 0.5) == ["size"]


def test_int8_costs_almost_nothing_and_is_a_quarter(model: Ranker, data: Dataset, tmp_path) -> None:
    small = encode(model)
    assert score(small, data) == pytest.approx(score(model, data), abs=1e-3)
    assert small.plan.predicted_bytes(model.layout) < 0.45 * sum(
        t.nbytes for t in model.state.values()
    )
    twice = encode(small)
    for name, tensor in small.state.items():
        np.testing.assert_allclose(twice.state[name], tensor, rtol=1e-6, atol=1e-8)


def test_plans_compose_over_cuts(model: Ranker, data: Dataset) -> None:
    first = cut(model, data.train, {"fields": ["colour", "size", "shape"]})
    second = cut(first, data.train, {"neurons": 0.5, "rows": 0.5})
    direct = model.apply(second.plan)
    assert direct.layout.shapes == second.layout.shapes
    assert direct.encoder.hash() == second.encoder.hash()


@pytest.mark.parametrize(
    "keep, error, message",
    [
        ({"field": 0.5}, ParameterError, "Did you mean 'fields'"),
        ({"rows": 0.0}, ParameterError, r"float in \(0, 1\]"),
        ({"rows": 1.5}, ParameterError, "Got 1.5"),
        ({"weights": 0.5}, ParameterError, "weights.sparsify"),
        ({"neurons": (4,)}, ParameterError, "one a layer"),
        ({"neurons": True}, ParameterError, "Got True"),
        ({"fields": ["color"]}, PlanError, "Did you mean 'colour'"),
        ({"feilds": ["colour"]}, ParameterError, "Did you mean 'fields'"),
        ({"fields": (0, 1)}, PlanError, "no field '0'"),
        ({"dims": (2, 2)}, ParameterError, "one share or count"),
    ],
)
def test_bad_wishes_are_refused(keep, error, message, model: Ranker, data: Dataset) -> None:
    with pytest.raises(error, match=message):
        plan(model, data.tune, keep)
    with pytest.raises(error, match=message):
        prune(model, data, keep, epochs=0)


def test_an_axis_that_the_model_lacks_is_an_error(data: Dataset) -> None:
    linear = LR(Training(epochs=1)).fit(data.train)
    with pytest.raises(PlanError, match="no axis of unit 'neuron'"):
        plan(linear, data.tune, {"neurons": 0.5})
    machine = FM(4, Training(epochs=1)).fit(data.train)
    with pytest.raises(PlanError, match="no axis of unit 'neuron'"):
        plan(machine, data.tune, {"neurons": 0.5})


def test_rows_that_nothing_can_be_cut_of_are_an_error(data: Dataset) -> None:
    numbers = DeepFM(4, (8,), Training(epochs=1)).fit(data.train.take(slice(0, 500)))
    numbers = cut(numbers, data.train, {"fields": ("size", "noise")})
    with pytest.raises(PlanError, match="no rows that can be cut: those of numeric"):
        plan(numbers, data.train, {"rows": 0.5})


def test_the_last_rows_may_go_with_their_field_in_an_earlier_round(data: Dataset) -> None:
    model = DeepFM(4, (8,), Training(epochs=1)).fit(data.train, data.tune)
    keep = {"fields": ("size", "noise"), "rows": 0.5}
    small = prune(model, data, keep, rounds=2, epochs=0)
    assert small.encoder.schema.names == ("size", "noise")


@pytest.mark.parametrize("how", [prune, gradual])
def test_so_may_the_last_pair(how, data: Dataset) -> None:
    model = FwFM(4, training=Training(epochs=1)).fit(data.train, data.tune)
    small = how(model, data, {"fields": ("size",), "pairs": 0.5}, rounds=2)
    assert small.encoder.schema.names == ("size",)
    assert "pairs" not in small.layout.axes
    with pytest.raises(PlanError, match="no axis of unit 'pair'"):
        prune(small, data, {"pairs": 0.5}, rounds=2)


def test_a_layer_of_one_neuron_is_counted_among_the_layers(data: Dataset) -> None:
    model = DeepFM(4, (8, 2), Training(epochs=1)).fit(data.train, data.tune)
    small = prune(model, data, {"neurons": (4, 1)}, rounds=2, epochs=0)  # 1 already in the first
    assert small.neurons == (4, 1)
    assert cut(small, data.train, {"neurons": (2, 1)}).neurons == (2, 1)


@pytest.mark.parametrize("rounds", [0, -1, True, 1.0])
def test_rounds_of_no_cut_are_refused(rounds, model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match="'rounds' parameter of prune must be an int ≥ 1"):
        prune(model, data, {"rows": 0.5}, rounds=rounds)


def test_a_cut_model_trained_anew_starts_as_one_of_its_size(data: Dataset) -> None:
    model = DeepFM(8, (16, 8), Training(epochs=1)).fit(data.train, data.tune)
    small = cut(model, data.train, {"rows": 0.5, "dims": 2, "neurons": (4, 2)})
    drawn = small.redrawn()
    assert drawn.layout.hash == small.layout.hash
    assert drawn.plan is small.plan
    fresh = model.like(dim=2, hidden=(4, 2)).begin(data.train, small.encoder)
    for name, array in fresh.state.items():
        np.testing.assert_array_equal(drawn.state[name], array, err_msg=name)


def test_nothing_cut_comes_back_by_fine_tuning(model: Ranker, data: Dataset) -> None:
    small = prune(model, data, {"neurons": 0.25, "rows": 0.25}, epochs=3)
    assert small.state["mlp.0.weight"].shape[0] == 6
    assert sum(t.size for t in small.state.values()) == small.params < model.params


def test_a_plan_of_another_model_is_refused(model: Ranker, data: Dataset) -> None:
    other = DeepFM(8, (24,), training=Training(epochs=0)).fit(data.train)
    with pytest.raises(PlanError, match="made for layout"):
        other.apply(Plan(model.layout.hash))
