"""What a plan promises, held by every class of ranker under any plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.artifact import encoded
from recprune.data import Dataset
from recprune.errors import PlanError
from recprune.layout import Plan, kept_indices
from recprune.lookups import UNKNOWN
from recprune.models import (
    DLRM,
    DNN,
    FM,
    LR,
    DCNv2,
    DeepFM,
    FinalMLP,
    FwFM,
    Hidden,
    Ranker,
    SharedBottom,
    Training,
    WideDeep,
    rankers,
)
from recprune.pruning import encode, plan, repair
from recprune.pruning.planning import UNITS, cuttable
from tests.planted import small_data

HIDDEN = Hidden((6, 4), batch_norm=True)
MAKERS: dict[str, Callable[[], Ranker]] = {
    "LR": LR,
    "FM": lambda: FM(4),
    "FwFM": lambda: FwFM(4),
    "WideDeep": lambda: WideDeep(4, (6, 4)),
    "DNN": lambda: DNN(4, HIDDEN),
    "DeepFM": lambda: DeepFM(4, HIDDEN),
    "DCNv2": lambda: DCNv2(4, HIDDEN, 2),
    "DCNv2 stacked": lambda: DCNv2(4, (6, 4), 2, "stacked"),
    "FinalMLP": lambda: FinalMLP(4, (6, 4)),
    "DLRM": lambda: DLRM(4, HIDDEN, (6,)),
    "SharedBottom": lambda: SharedBottom(4, (6,), HIDDEN),
}
each = pytest.mark.parametrize("name", MAKERS)
few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@cache
def data(two: bool = False) -> Dataset:
    return small_data(700, second_label=two)


@cache
def fitted(name: str) -> Ranker:
    """Return a ranker whose every weight, and what batch norm has seen, is its own."""
    one = MAKERS[name]().like(training=Training(epochs=1, batch_size=128, device="cpu"))
    return one.fit(data(name == "SharedBottom").train)


def any_plan(model: Ranker, seed: int, within: Plan | None = None) -> Plan:
    """Return a plan that cuts some axes of every kind, each field's dims for itself.

    It keeps two fields at least, so that pairs and streams have something to stand on.
    """
    draws, keep = np.random.default_rng(seed), dict(within.keep) if within else {}
    for axis in model.layout.axes.values():
        if draws.random() < 0.3:
            continue
        units = keep.get(axis.name, axis.units)
        least = {"field": 2, "row": 0 if axis.min_keep < axis.size else axis.size}
        floor = min(max(axis.min_keep, least.get(axis.unit, 0)), len(units))
        count = int(draws.integers(floor, len(units) + 1))
        keep[axis.name] = np.sort(draws.permutation(units)[:count]).astype(np.int32)
    return Plan(model.layout.hash, keep)


def outputs(model: Ranker, rows: Dataset) -> np.ndarray:
    return model.outputs(model.aligned(rows.test).rows)


def test_no_class_is_forgotten() -> None:
    assert {type(make()).__name__ for make in MAKERS.values()} == set(rankers.__all__)


@each
@few
@given(seed=seeds)
def test_predicted_bytes_are_exact_in_any_encoding(name: str, seed: int) -> None:
    model = fitted(name)
    made = any_plan(model, seed)
    small = model.apply(made)
    assert made.predicted_bytes(model.layout) == sum(a.nbytes for a in small.state.values())
    for tables, layers in (("int8", "fp16"), ("fp16", None), (None, "int8")):
        stored = encode(small, tables, layers)  # type: ignore[arg-type]
        files = encoded(stored.state, stored.plan.encodings(stored.layout))
        size = sum(piece.nbytes for some in files.values() for piece in some)
        assert stored.plan.predicted_bytes(model.layout) == size


@each
@few
@given(seed=seeds)
def test_a_cut_model_is_the_model_with_zeros_in_place_of_what_went(name: str, seed: int) -> None:
    """FM sums, concatenations, cross layers, batch norm: all lose the unit, and nothing else."""
    model = fitted(name)
    made = any_plan(model, seed)
    kept = made.resolve(model.layout)
    state = {n: a.copy() for n, a in model.state.items()}
    row_axes = {a.uses[0].tensor for a in model.layout.axes.values() if a.unit == "row"}
    for (tensor, dim), stays in kept_indices(model.layout, kept).items():
        gone = np.setdiff1d(np.arange(state[tensor].shape[dim]), stays)
        if dim == 0 and tensor in row_axes and len(stays):
            state[tensor][gone] = state[tensor][UNKNOWN]  # a cut row reads as the unknown row
        else:
            np.moveaxis(state[tensor], dim, 0)[gone] = 0
    rows = data(name == "SharedBottom")
    expected = outputs(model.with_state(state), rows)
    np.testing.assert_allclose(outputs(model.apply(made), rows), expected, atol=2e-5)


@each
@few
@given(seed=seeds, later=seeds)
def test_plans_compose_and_never_grow(name: str, seed: int, later: int) -> None:
    model = fitted(name)
    first = any_plan(model, seed)
    second = any_plan(model, later, within=first)
    stepwise, at_once = model.apply(first).apply(second), model.apply(first | second)
    assert stepwise.layout.to_json() == at_once.layout.to_json()
    assert stepwise.encoder.hash() == at_once.encoder.hash()
    for tensor, array in at_once.state.items():
        np.testing.assert_array_equal(stepwise.state[tensor], array)
    assert second.predicted_bytes(model.layout) <= first.predicted_bytes(model.layout)
    again = at_once.apply(second)
    assert again.layout.to_json() == at_once.layout.to_json()
    assert all(np.array_equal(again.state[n], a) for n, a in at_once.state.items())


@each
@few
@given(seed=seeds)
def test_padding_and_unknown_rows_stay_and_gone_values_read_as_unknown(
    name: str, seed: int
) -> None:
    model = fitted(name)
    small = model.apply(any_plan(model, seed))
    for field in small.encoder.schema.names:
        units = small.layout.axes[f"rows.{field}"].units
        assert units[:2].tolist() == [0, 1]
    for field in {"colour", "shape"} & set(small.encoder.schema.names):
        left = set(small.encoder.parts[field].values)
        gone = [v for v in model.encoder.parts[field].values if v not in left]
        raw = {f: [None] * (len(gone) + 1) for f in small.encoder.schema.names}
        raw[field] = [*gone, "never seen"]
        answers = small.outputs(small.encoder.encode(raw))
        assert np.isfinite(answers).all()
        np.testing.assert_allclose(answers, np.broadcast_to(answers[-1], answers.shape), atol=1e-6)


@each
@few
@given(seed=seeds)
def test_a_repaired_cut_of_the_mean_gives_the_mean(name: str, seed: int) -> None:
    """The patch is computed anew for another checkpoint, and leaves what stays finite."""
    model = fitted(name)
    made = any_plan(model, seed)
    train = data(name == "SharedBottom").train
    later = model.with_state({n: a * np.float32(1.5) for n, a in model.state.items()})
    patch = repair(model, train, made)
    if patch.tensors:
        with pytest.raises(PlanError, match="another checkpoint"):
            later.apply(made, patch)
    small = later.apply(made, repair(later, train, made))
    assert {n: a.shape for n, a in small.state.items()} == {
        n: a.shape for n, a in model.apply(made).state.items()
    }
    assert all(np.isfinite(a).all() for a in small.state.values())


@each
def test_no_plan_goes_below_a_floor(name: str) -> None:
    model = fitted(name)
    rows = data(name == "SharedBottom")
    for kind in UNITS:
        if UNITS[kind] not in {a.unit for a in model.layout.axes.values()}:
            with pytest.raises(PlanError, match="no axis of unit"):
                plan(model, rows, {kind: 1})
            continue
        method = "permutation" if kind == "fields" else "random"
        small = model.apply(plan(model, rows, {kind: 1}, {kind: method}))
        assert np.isfinite(outputs(small, rows)).all()
        for axis in cuttable(model, kind):
            if axis.name in small.layout.axes:
                assert small.layout.axes[axis.name].size >= min(axis.min_keep, axis.size)
    for axis in model.layout.axes.values():
        if axis.min_keep and not axis.pinned:
            with pytest.raises(PlanError, match=f"{axis.name}'; at least {axis.min_keep} must"):
                model.apply(Plan(model.layout.hash, {axis.name: np.empty(0, np.int32)}))


@each
@few
@given(seed=seeds)
def test_the_printed_plan_names_every_cut_and_its_bytes(name: str, seed: int) -> None:
    model = fitted(name)
    made = any_plan(model, seed)
    small, text = model.apply(made), made.to_text(model.layout)
    for axis in model.layout.axes.values():
        left = small.layout.axes[axis.name].size if axis.name in small.layout.axes else 0
        line = [t for t in text.splitlines() if t.split()[0] == axis.name]
        assert len(line) == (left < axis.size)
        if line:
            assert f"{left}/{axis.size}" in line[0]
            assert all(use.tensor in line[0] for use in axis.uses)
    assert text.endswith(f"{sum(a.nbytes for a in small.state.values()):,}")
