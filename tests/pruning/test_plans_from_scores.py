"""Which units a plan keeps, where every unit's score is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError
from recprune.lookups import FIRST
from recprune.models import DeepFM, FwFM, Ranker, Training
from recprune.pruning.planning import (
    DEFAULT_METHODS,
    UNITS,
    plan_from_scores,
    score_units,
    unit_count,
)
from recprune.pruning.rounds import stage, stages
from tests.planted import small_data

UNTRAINED = Training(epochs=0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(800)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    """Fields colour (4 values, or none), shape (30), size and noise (numbers); layers of 6 and 4 neurons."""
    return DeepFM(4, (6, 4), training=UNTRAINED).fit(data.train)


def made_up(model: Ranker, seed: int = 0, levels: int = 5) -> dict[str, np.ndarray]:
    """Return a score of every unit: few levels, so that many tie."""
    draws = np.random.default_rng(seed)
    return {
        name: draws.integers(0, levels, axis.size).astype(float)
        for name, axis in model.layout.axes.items()
    }


def ranked(scores: dict[str, np.ndarray], names: list[str]) -> list[tuple[str, int]]:
    """Return (axis, unit) from the best on; of equal ones, earlier axes and units first."""
    every = [(-s, at, unit) for at, n in enumerate(names) for unit, s in enumerate(scores[n])]
    return [(names[at], unit) for _, at, unit in sorted(every)]


def kept(plan: Any, name: str) -> list[int]:
    return plan.keep[name].tolist()


@pytest.mark.parametrize("wanted", [1, 7, 0.25, 0.5, 0.9, 10_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_compete_across_fields(wanted: float, seed: int, model: Ranker) -> None:
    scores, names = made_up(model, seed), ["rows.colour", "rows.shape"]
    plan = plan_from_scores(model, {"rows": wanted}, scores)
    assert set(plan.keep) == set(names)  # rows of numbers are never cut one by one
    assert plan.layout_hash == model.layout.hash
    order = [(name, unit) for name, unit in ranked(scores, names) if unit >= FIRST]
    count = wanted if isinstance(wanted, int) else round(wanted * len(order))
    best = order[:count]
    for name in names:
        own = sorted(unit for axis, unit in best if axis == name)
        assert kept(plan, name) == [*range(FIRST), *own]


def test_rows_of_fields_that_go_are_out_of_the_running(model: Ranker) -> None:
    scores = made_up(model)
    scores["rows.colour"] += 100
    keep = {"rows": 9, "fields": ["shape", "noise"]}
    plan = plan_from_scores(model, keep, scores)
    assert set(plan.keep) == {"fields", "rows.shape"}
    assert kept(plan, "fields") == [1, 3]
    order = [unit for _, unit in ranked(scores, ["rows.shape"]) if unit >= FIRST]
    assert kept(plan, "rows.shape") == sorted([*range(FIRST), *order[:9]])
    # A share is of all rows, those that go included; and no more are kept than there are.
    half = plan_from_scores(model, {**keep, "rows": 0.5}, scores)
    assert len(kept(half, "rows.shape")) == FIRST + 18
    most = plan_from_scores(model, {**keep, "rows": 0.99}, scores)
    assert len(kept(most, "rows.shape")) == FIRST + 30


def test_fields_are_kept_by_score_or_by_name(model: Ranker) -> None:
    scores = {**made_up(model), "fields": np.array([1.0, 3.0, 3.0, 2.0])}
    assert kept(plan_from_scores(model, {"fields": 1}, scores), "fields") == [1]
    assert kept(plan_from_scores(model, {"fields": 0.75}, scores), "fields") == [1, 2, 3]
    named = plan_from_scores(model, {"fields": ("size", "colour", "size")}, {})
    assert kept(named, "fields") == [0, 2]
    assert named.keep["fields"].dtype == np.int32


def test_dims_are_the_same_in_every_field_by_the_sum_of_their_scores(model: Ranker) -> None:
    names = model.encoder.schema.names
    scores = {f"dims.{name}": np.array([0.0, 0.0, 1.0, 0.0]) for name in names}
    scores["dims.size"] = np.array([5.0, 0.0, 0.0, 0.0])
    plan = plan_from_scores(model, {"dims": 2}, scores)
    assert {tuple(units) for units in plan.keep.values()} == {(0, 2)}
    assert set(plan.keep) == set(scores)
    # The sums are by the dims of the uncut model, whatever each field has left of them.
    own = {"dims.colour": [0, 1, 3], "dims.size": [1, 2, 3]}
    for name in ("shape", "noise"):
        own[f"dims.{name}"] = [0, 1, 2, 3]
    cut = plan_from_scores(model, {"dims": 4}, scores)
    small = model.apply(
        type(cut)(cut.layout_hash, {n: np.array(u, np.int32) for n, u in own.items()})
    )
    scores = {
        name: np.array([{0: 0, 1: 2, 2: 0, 3: 1}[u] for u in us], float) for name, us in own.items()
    }
    scores["dims.size"][1] = 9  # dim 2: the best, and in three fields
    again = plan_from_scores(small, {"dims": 2}, scores)
    assert {name: kept(again, name) for name in own} == {
        "dims.colour": [1, 3],
        "dims.size": [1, 2],
        "dims.shape": [1, 2],
        "dims.noise": [1, 2],
    }


def test_where_dims_compete_every_field_has_its_best(model: Ranker) -> None:
    names = [f"dims.{name}" for name in model.encoder.schema.names]
    scores = {
        names[0]: np.array([9.0, 8.0, 7.0, 6.0]),
        names[1]: np.array([5.0, 4.0, 0.0, 5.0]),
        names[2]: np.array([0.0, 0.1, 0.3, 0.2]),
        names[3]: np.array([0.0, 0.0, 0.0, 0.0]),
    }
    found = plan_from_scores(model, {"dims": 2}, scores, dims_per_field=True)  # two in the mean
    assert [kept(found, name) for name in names] == [[0, 1, 2, 3], [0, 3], [2], [0]]
    share = plan_from_scores(model, {"dims": 0.5}, scores, dims_per_field=True)
    assert {n: kept(share, n) for n in names} == {n: kept(found, n) for n in names}
    least = plan_from_scores(model, {"dims": 0.01}, scores, dims_per_field=True)
    assert [kept(least, name) for name in names] == [[0], [0], [2], [0]]
    for bad in (0, True):
        with pytest.raises(ParameterError, match="'dims' parameter of keep must be a float"):
            plan_from_scores(model, {"dims": bad}, scores, dims_per_field=True)
    # Of two fields that stay there are two times two.
    some = plan_from_scores(
        model, {"dims": 2, "fields": ["shape", "noise"]}, scores, dims_per_field=True
    )
    assert set(some.keep) == {"fields", names[1], names[3]}
    assert [kept(some, names[1]), kept(some, names[3])] == [[0, 1, 3], [0]]


def test_neurons_compete_within_their_layer(model: Ranker) -> None:
    scores = made_up(model)
    scores["neurons.0"] = np.array([1.0, 2.0, 0.0, 2.0, 5.0, 1.0])
    scores["neurons.1"] = np.array([10.0, 40.0, 20.0, 30.0])
    plan = plan_from_scores(model, {"neurons": 0.5}, scores)
    assert (kept(plan, "neurons.0"), kept(plan, "neurons.1")) == ([1, 3, 4], [1, 3])
    plan = plan_from_scores(model, {"neurons": (4, 0.25)}, scores)  # type: ignore[dict-item]
    assert (kept(plan, "neurons.0"), kept(plan, "neurons.1")) == ([0, 1, 3, 4], [1])
    plan = plan_from_scores(model, {"neurons": 5}, scores)  # more than the second layer has
    assert (len(kept(plan, "neurons.0")), len(kept(plan, "neurons.1"))) == (5, 4)


def test_pairs_go_with_either_of_their_fields(data: Dataset) -> None:
    model = FwFM(2, training=UNTRAINED).fit(data.train)
    (_, left), (_, right) = model.layout.axes["pairs"].members
    scores = {"pairs": np.arange(6.0)[::-1]}
    keep = {"pairs": 2, "fields": ["shape", "size", "noise"]}
    plan = plan_from_scores(model, keep, scores)
    assert 0 not in {*left[plan.keep["pairs"]], *right[plan.keep["pairs"]]}
    assert kept(plan, "pairs") == [3, 4]  # the first three are of the first field
    assert kept(plan_from_scores(model, {"pairs": 2}, scores), "pairs") == [0, 1]


def test_all_is_no_cut_and_needs_no_scores(model: Ranker) -> None:
    keep = {"rows": 1.0, "neurons": 1.0, "dims": 1.0, "fields": 1.0}
    assert not plan_from_scores(model, keep, {}).keep
    one = plan_from_scores(model, {"rows": 1}, made_up(model))  # a count of one is no share of all
    assert sum(len(units) - FIRST for units in one.keep.values()) == 1


@pytest.mark.parametrize(
    ("wanted", "total", "count"),
    [
        (0.5, 10, 5),
        (0.25, 10, 2),
        (0.76, 10, 8),
        (1.0, 7, 7),
        (1e-9, 7, 1),
        (1, 7, 1),
        (7, 7, 7),
        (8, 7, 7),
    ],
)
def test_shares_and_counts(wanted: float, total: int, count: int) -> None:
    assert unit_count(wanted, total, "rows") == count


@pytest.mark.parametrize("wanted", [0, -1, 0.0, -0.5, 1.0001, True, False, "2", None, float("nan")])
def test_what_is_neither_is_named(wanted: Any) -> None:
    with pytest.raises(ParameterError, match=r"'rows' parameter of keep must be a float in \(0, 1"):
        unit_count(wanted, 10, "rows")


@pytest.mark.parametrize("keep", [{"rows": (1, 2)}, {"neurons": (1, 2, 3)}, {"dims": (1,)}])
def test_a_count_a_layer_is_for_neurons(keep: dict[str, Any], model: Ranker) -> None:
    with pytest.raises(ParameterError, match=r"for neurons, one a layer"):
        plan_from_scores(model, keep, made_up(model))


def test_a_text_is_no_list_of_fields(model: Ranker) -> None:
    with pytest.raises(ParameterError, match="'fields' parameter of keep must be a float"):
        plan_from_scores(model, {"fields": "size"}, made_up(model))


def test_units_are_scored_by_the_methods_asked_for(model: Ranker, data: Dataset) -> None:
    found = score_units(model, data, ("rows", "neurons"), {"rows": "l2", "neurons": "l1"})
    assert set(found) == {"rows.colour", "rows.shape", "neurons.0", "neurons.1"}
    for name in ("colour", "shape"):
        expected = np.linalg.norm(model.state[f"table.{name}"], axis=1)
        np.testing.assert_allclose(found[f"rows.{name}"], expected, rtol=1e-5)
    by_default = score_units(model, data, ("rows",))
    asked = score_units(model, data, ("rows",), {"rows": DEFAULT_METHODS["rows"]})
    np.testing.assert_array_equal(by_default["rows.shape"], asked["rows.shape"])
    one, two, other = (
        score_units(model, data, ("rows",), {"rows": "random"}, seed)["rows.shape"]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    for kinds, methods in ((("row",), None), (("rows",), {"row": "l2"})):
        with pytest.raises(ParameterError, match=r"no unit 'row' to keep\. Did you mean 'rows'"):
            score_units(model, data, kinds, methods)
    with pytest.raises(PlanError):
        score_units(FwFM(2, training=UNTRAINED).fit(data.train), data, ("neurons",))


# ---- the way to a plan, in rounds


@pytest.mark.parametrize(
    ("kind", "wanted", "all_of_them"),
    [("rows", 0.25, 35), ("rows", 9, 35), ("dims", 2, 4), ("fields", 0.5, 4), ("fields", 1, 4)],
)
@pytest.mark.parametrize("cubic", [False, True])
def test_counts_shrink_to_what_is_wanted(
    kind: str, wanted: float, all_of_them: int, cubic: bool, model: Ranker
) -> None:
    end = unit_count(wanted, all_of_them, kind)
    for t in (0.25, 0.5, 0.75, 1.0):
        part = (all_of_them - end) * (1 - t) ** 3 + end
        expected = part if cubic else all_of_them * (end / all_of_them) ** t
        assert stage(model, kind, wanted, t, cubic=cubic) == max(1, round(expected))
    assert stage(model, kind, wanted, 1.0, cubic=cubic) == end


def test_layers_shrink_each_to_its_own_count(model: Ranker) -> None:
    assert stage(model, "neurons", (6, 1), 0.5) == (6, 2)
    assert stage(model, "neurons", 0.01, 1.0) == (1, 1)
    assert stage(model, "neurons", 3, 0.5, cubic=True) == (3, 3)


def test_dims_are_counted_in_the_mean(model: Ranker) -> None:
    names = [f"dims.{name}" for name in model.encoder.schema.names]
    scores = {name: np.arange(4.0) + 10 * (name == names[0]) for name in names}
    small = model.apply(plan_from_scores(model, {"dims": 0.5}, scores, dims_per_field=True))
    sizes = [small.layout.axes[name].size for name in names]
    assert sorted(sizes) != [2, 2, 2, 2]
    assert stage(small, "dims", 1, 1.0) == 1
    assert stage(small, "dims", 1.0, 1.0) == 2


def test_a_kind_that_fields_took_along_is_left_out(model: Ranker) -> None:
    keep = {"fields": ["size", "noise"], "rows": 0.5, "neurons": 0.5}
    numbers = model.apply(plan_from_scores(model, {"fields": ["size", "noise"]}, {}))
    before, after = (stages(model, small, keep, 0.5) for small in (model, numbers))
    assert set(before) == set(keep)
    assert set(after) == {"fields", "neurons"}
    assert after["neurons"] == before["neurons"] == (4, 3)
    assert before["rows"] == round(35 * 0.5**0.5)
    assert stages(model, model, {"rows": 0.5}, 0.5, cubic=True) == {"rows": 20}
    assert set(UNITS) == set(DEFAULT_METHODS)
