"""Cutting: what a plan promises is what shrink builds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recprune.errors import PlanError
from recprune.layout import Axis, Layout, Patch, Plan, State, Use, shrink, state_hash
from recprune.quantisation import stored_bytes

from .samples import kept, layout, state


def same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[n], right[n]) for n in left)


def plan_for(of: Layout, **axes: list[int]) -> Plan:
    return Plan(of.hash, kept(**axes))


# ---- what stays, and where


def test_a_unit_goes_from_every_tensor_that_uses_it() -> None:
    of = layout()
    full = state(of)
    small, after = shrink(full, of, plan_for(of, neurons__0=[1, 3]))
    np.testing.assert_array_equal(small["mlp.0.weight"], full["mlp.0.weight"][[1, 3]])
    np.testing.assert_array_equal(small["mlp.0.bias"], full["mlp.0.bias"][[1, 3]])
    np.testing.assert_array_equal(small["mlp.out.weight"], full["mlp.out.weight"][:, [1, 3]])
    assert after.axes["neurons.0"].units.tolist() == [1, 3]


def test_offsets_of_a_concatenation_follow_the_cut() -> None:
    of = layout()
    full = state(of)
    small, after = shrink(full, of, plan_for(of, dims__colour=[2], dims__price=[0, 2]))
    np.testing.assert_array_equal(small["mlp.0.weight"], full["mlp.0.weight"][:, [2, 3, 5]])
    np.testing.assert_array_equal(small["table.colour"], full["table.colour"][:, [0, 3]])
    assert Use("mlp.0.weight", 1, 1) in after.axes["dims.price"].uses
    again, _ = shrink(small, after, plan_for(of, dims__price=[2]))
    np.testing.assert_array_equal(again["mlp.0.weight"], full["mlp.0.weight"][:, [2, 5]])


def test_a_cut_parent_takes_its_children_along() -> None:
    of = layout()
    full = state(of)
    small, after = shrink(full, of, plan_for(of, fields=[1]))
    assert set(after.axes) == {"fields", "rows.price", "dims.price", "neurons.0"}
    assert "table.colour" not in small
    np.testing.assert_array_equal(small["mlp.0.weight"], full["mlp.0.weight"][:, 3:])
    assert set(after.gone) == {"rows.colour", "dims.colour", "table.colour"}


def test_padding_and_unknown_rows_stay_though_no_plan_names_them() -> None:
    of = layout()
    full = state(of)
    small, after = shrink(full, of, plan_for(of, rows__colour=[4, 7]))
    np.testing.assert_array_equal(small["table.colour"], full["table.colour"][[0, 1, 4, 7]])
    assert after.axes["rows.colour"].units.tolist() == [0, 1, 4, 7]


# ---- the laws of shrink


def test_a_plan_that_keeps_everything_changes_nothing() -> None:
    of = layout()
    full = state(of)
    for plan in (Plan(of.hash), Plan(of.hash, {n: a.units for n, a in of.axes.items()})):
        small, after = shrink(full, of, plan)
        assert same(small, full)
        assert dict(after.shapes) == dict(of.shapes)


def test_shrink_changes_nothing_that_it_is_given_and_shares_nothing() -> None:
    of = layout()
    full = state(of)
    before, hash_before = {n: a.copy() for n, a in full.items()}, of.hash
    small, _ = shrink(full, of, plan_for(of, neurons__0=[0]))
    for array in small.values():
        array += 1
    assert same(full, before)
    assert of.hash == hash_before


def test_a_plan_applies_to_its_own_result_without_effect() -> None:
    of = layout()
    plan = plan_for(of, fields=[1], rows__colour=[3], dims__price=[0, 1], neurons__0=[2])
    plan = plan | Plan(of.hash, {}, {"table.colour": "int8"})
    small, after = shrink(state(of), of, plan)
    again, after_again = shrink(small, after, plan)
    assert same(again, small)
    assert after_again.to_json() == after.to_json()


def test_composition_is_one_cut_after_the_other() -> None:
    of = layout()
    first = plan_for(of, rows__colour=[2, 3, 5], neurons__0=[0, 1, 3])
    second = plan_for(of, fields=[0], neurons__0=[1, 2, 3])
    halfway = shrink(state(of), of, first)
    stepwise, _ = shrink(*halfway, second)
    at_once, _ = shrink(state(of), of, first | second)
    assert same(stepwise, at_once)
    assert same(at_once, shrink(state(of), of, second | first)[0])


def test_of_two_encodings_of_a_tensor_the_later_plan_decides() -> None:
    first = Plan("h", {}, {"bias": "fp16", "mlp.0.bias": "fp16"})
    second = Plan("h", {}, {"bias": "int8"})
    assert (first | second).encoding == {"bias": "int8", "mlp.0.bias": "fp16"}


def test_a_plan_is_of_units_not_of_weights_so_it_applies_to_a_later_checkpoint() -> None:
    of = layout()
    plan = plan_for(of, rows__price=[3], neurons__0=[2])
    later, _ = shrink(state(of, seed=1), of, plan)
    np.testing.assert_array_equal(later["mlp.0.bias"], state(of, seed=1)["mlp.0.bias"][[2]])


# ---- bytes


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(PlanError, match=r"one of fp32, fp16, int8, int8_row, int4_row. Got 'int3'"):
        stored_bytes((2, 2), "int3")  # type: ignore[arg-type]


def test_the_table_of_a_plan_adds_up() -> None:
    of = layout()
    plan = plan_for(of, fields=[1], rows__price=[2], neurons__0=[0, 1])
    rows = {r["axis"]: r for r in plan.summary(of)}
    assert set(rows) == {"fields", "rows.colour", "dims.colour", "rows.price", "neurons.0"}
    assert (rows["neurons.0"]["kept"], rows["neurons.0"]["total"]) == (2, 4)
    # Two neurons: 2 × (6 inputs + bias + output) weights of 4 bytes.
    assert rows["neurons.0"]["bytes_saved"] == 64
    text = plan.to_text(of)
    assert "mlp.0.bias, mlp.0.weight, mlp.out.weight" in text
    before = sum(map(stored_bytes, of.shapes.values()))
    assert f"{before:,} → {plan.predicted_bytes(of):,}" in text


# ---- what is refused


def test_an_unknown_axis_names_the_nearest() -> None:
    of = layout()
    with pytest.raises(PlanError, match=r"no axis 'neuron.0'. Did you mean 'neurons.0'"):
        shrink(state(of), of, plan_for(of, neuron__0=[0]))
    cut = shrink(state(of), of, plan_for(of, fields=[0]))
    with pytest.raises(PlanError, match=r"no axis 'neuron.0'"):
        shrink(*cut, plan_for(of, neuron__0=[0]))


def test_an_unknown_tensor_to_encode_names_the_nearest() -> None:
    of = layout()
    with pytest.raises(PlanError, match=r"'table.color'.*Did you mean 'table.colour'"):
        shrink(state(of), of, Plan(of.hash, {}, {"table.color": "int8"}))


def test_a_unit_that_the_model_does_not_have_is_an_error() -> None:
    with pytest.raises(PlanError, match="no axis of unit 'field'; it has: row"):
        Layout({"rows.a": Axis("rows.a", "row", 2)}, {}).of_unit("field")


@pytest.mark.parametrize(
    "units, message",
    [([4], "units 0 to 3; the plan keeps 4"), ([-1, 0], "keeps -1"), ([1, 1], "without repeats")],
)
def test_units_outside_the_axis_are_refused(units: list[int], message: str) -> None:
    of = layout()
    with pytest.raises(PlanError, match=message):
        shrink(state(of), of, plan_for(of, neurons__0=units))


@pytest.mark.parametrize("axis", ["fields", "neurons__0", "dims__price"])
def test_no_axis_is_emptied(axis: str) -> None:
    of = layout()
    with pytest.raises(PlanError, match=r"keeps 0 units of axis .*; at least 1 must stay"):
        shrink(state(of), of, plan_for(of, **{axis: []}))


def test_a_plan_of_another_layout_is_refused() -> None:
    of, other = layout(), layout(hidden=5)
    with pytest.raises(PlanError, match=other.hash):
        shrink(state(of), of, plan_for(other, neurons__0=[0]))
    with pytest.raises(PlanError, match="two different layouts"):
        plan_for(of) | plan_for(other)


def test_a_state_that_is_not_the_layouts_is_refused() -> None:
    of = layout()
    full = dict(state(of))
    with pytest.raises(PlanError, match="only one of state and layout has: extra"):
        shrink({**full, "extra": np.ones(1)}, of, Plan(of.hash))
    with pytest.raises(PlanError, match="'bias' has shape"):
        shrink({**full, "bias": np.ones(2)}, of, Plan(of.hash))
    del full["bias"]
    with pytest.raises(PlanError, match="has: bias"):
        shrink(full, of, Plan(of.hash))


def test_a_child_declared_before_its_parent_is_refused() -> None:
    of = layout()
    turned = Layout(dict(reversed(of.axes.items())), of.shapes)
    with pytest.raises(PlanError, match="must be declared before its children"):
        shrink(state(of), turned, Plan(turned.hash))


# ---- patches


def test_a_patch_replaces_tensors_before_the_cut() -> None:
    of = layout()
    full = state(of)
    patch = Patch(state_hash(full), {"mlp.0.bias": np.arange(4, dtype=np.float32)})
    small, _ = shrink(full, of, plan_for(of, neurons__0=[1, 3]), patch)
    assert small["mlp.0.bias"].tolist() == [1.0, 3.0]


def test_a_patch_is_bound_to_its_checkpoint() -> None:
    of = layout()
    patch = Patch(state_hash(state(of)), {"bias": np.ones(1, np.float32)})
    with pytest.raises(PlanError, match="another checkpoint"):
        shrink(state(of, seed=1), of, Plan(of.hash), patch)


def test_a_patch_of_an_unknown_tensor_is_refused() -> None:
    of = layout()
    full = state(of)
    with pytest.raises(PlanError, match="has: biass"):
        shrink(full, of, Plan(of.hash), Patch(state_hash(full), {"biass": np.ones(1)}))


def test_the_hash_of_a_state_sees_names_shapes_and_values() -> None:
    base = {"a": np.zeros(4, np.float32)}
    others = [
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.float16)},
        {"a": np.array([0, 0, 0, 1], np.float32)},
    ]
    assert len({state_hash(s) for s in [base, *others]}) == 5


# ---- hash and JSON


def test_a_cut_layout_keeps_the_hash_of_the_uncut_one() -> None:
    of = layout()
    _, after = shrink(state(of), of, plan_for(of, neurons__0=[0]))
    assert after.hash == of.hash
    assert layout(dim=2).hash != of.hash


def test_json_and_the_plans_units_give_the_layout_back() -> None:
    of = layout()
    plan = plan_for(of, fields=[1], neurons__0=[1, 3])
    _, after = shrink(state(of), of, plan)
    units = {n: a.units for n, a in after.axes.items()}
    back = Layout.from_json(after.to_json(), origin=units)
    assert back.to_json() == after.to_json()
    assert back.hash == of.hash
    assert back.axes["neurons.0"].units.tolist() == [1, 3]


# ---- any layout, against a slow cut of one index at a time


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Layout, Plan]:
    sizes = draw(st.lists(st.integers(2, 6), min_size=1, max_size=4))
    dim, hidden = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    of = layout({f"f{i}": n for i, n in enumerate(sizes)}, dim, hidden)
    return of, draw(plans(of))


@st.composite
def plans(draw: st.DrawFn, of: Layout) -> Plan:
    keep = {}
    for name, axis in of.axes.items():
        if draw(st.booleans()):
            least = 0 if axis.pinned else axis.min_keep
            units = draw(st.sets(st.integers(0, axis.size - 1), min_size=least))
            keep[name] = np.array(sorted(units), np.int32)
    return Plan(of.hash, keep)


def slow_cut(full: State, of: Layout, plan: Plan) -> State:
    out = {n: a.copy() for n, a in full.items()}
    doomed: dict[tuple[str, int], list[int]] = {}
    for name, axis in of.axes.items():
        stays = set(plan.keep[name].tolist()) if name in plan.keep else set(range(axis.size))
        stays |= set(range(axis.pinned))
        if axis.parent and axis.parent[0] in plan.keep:
            stays = stays if axis.parent[1] in plan.keep[axis.parent[0]] else set()
        for unit in set(range(axis.size)) - stays:
            for use in axis.uses:
                doomed.setdefault((use.tensor, use.dim), []).append(use.offset + unit)
    for (tensor, dim), indices in doomed.items():
        for index in sorted(indices, reverse=True):
            out[tensor] = np.delete(out[tensor], index, axis=dim)
    return {n: a for n, a in out.items() if a.size}


@given(cuts())
def test_any_cut_is_the_slow_cut_and_has_the_predicted_bytes(cut: tuple[Layout, Plan]) -> None:
    of, plan = cut
    full = state(of)
    small, after = shrink(full, of, plan)
    assert same(small, slow_cut(full, of, plan))
    assert plan.predicted_bytes(of) == sum(a.nbytes for a in small.values())
    again, _ = shrink(small, after, plan)
    assert same(again, small)


@given(st.data())
def test_any_two_cuts_compose_and_never_grow(data: st.DataObject) -> None:
    of, first = data.draw(cuts())
    second = data.draw(plans(of))
    too_few = any(
        len(np.intersect1d(first.keep[n], second.keep[n])) < of.axes[n].min_keep
        for n in first.keep.keys() & second.keep.keys()
        if not of.axes[n].pinned
    )
    assume(not too_few)
    both, _ = shrink(state(of), of, first | second)
    one = shrink(state(of), of, first)
    assert same(shrink(*one, second)[0], both)
    assert (first | second).predicted_bytes(of) <= first.predicted_bytes(of)


def test_runs_need_an_axis_that_has_all_the_rows() -> None:
    axes = {"half": Axis("half", "neuron", 2, (Use("joined", 0),))}
    made = Layout(axes, {"joined": (5, 3)})
    with pytest.raises(PlanError, match="its rows are no units of one axis"):
        Plan(made.hash, {}, {"joined": ((0, "fp16"), (1, "int8_row"))}).predicted_bytes(made)
