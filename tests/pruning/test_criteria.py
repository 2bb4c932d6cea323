"""What rows, dims and neurons are chosen by, against planted truths and slow oracles."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.importance import METHODS, importance, importances
from recprune.importance.pursuit import _left_when_taken
from recprune.lookups import UNKNOWN
from recprune.models import FM, LR, DeepFM, FwFM, Hidden, Ranker, Training
from recprune.models.step import tensors
from recprune.pruning import cut, plan, prune
from recprune.pruning.planning import cuttable
from tests.planted import small_data

#: Values of ``item`` that move the label; the other 32, and all of ``other``, do not.
TELLING = 8


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two fields of 40 values; eight of the first matter, four either way."""
    draws = np.random.default_rng(0)
    item, other = draws.integers(0, 40, (2, 10_000))
    logit = np.where(item < TELLING, np.where(item % 2, 2.0, -2.0), 0.0)
    label = (draws.random(len(item)) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = {"item": [f"i{v}" for v in item], "other": [f"o{v}" for v in other], "y": label}
    return Dataset.from_frame(pl.DataFrame(frame), label="y").split(by="random", seed=0)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    training = Training(epochs=4, learning_rate=3e-3, unknown_rate=2, device="cpu")
    return DeepFM(6, (16,), training).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def mixed() -> Dataset:
    return small_data(4_000)


@pytest.fixture(scope="module")
def wide(mixed: Dataset) -> Ranker:
    return DeepFM(8, (48, 24), Training(epochs=6)).fit(mixed.train, mixed.tune)


# ---- rows


@pytest.mark.parametrize(
    "method", ["norm_count", "shark", "gauss_newton", "pep", "optembed", "group_lasso_path"]
)
def test_rows_that_move_the_label_outlive_the_others(
    method: str, model: Ranker, data: Dataset
) -> None:
    small = cut(model, data.train, {"rows": TELLING}, {"rows": method}, scored_on=data.tune)
    left = {name: set(small.encoder.parts[name].values) for name in ("item", "other")}
    telling = {f"i{v}" for v in range(TELLING)}
    assert len(left["item"]) + len(left["other"]) == TELLING
    assert len(left["item"] & telling) >= TELLING - 1, left


def test_a_row_is_scored_by_what_reading_it_as_unknown_does(data: Dataset) -> None:
    """In logistic regression the move of the logit is the difference of two weights."""
    model = LR(Training(epochs=3)).fit(data.train)
    axis, rows = "rows.item", data.tune
    at = model.encoder.schema.names.index("item")
    code, table = rows.rows.codes[:, at], model.state["table.item"][:, 0].astype(np.float64)
    p = 1 / (1 + np.exp(-model.logits(rows.rows).astype(np.float64)))
    move = table[UNKNOWN] - table[code]
    expected = {"shark": np.abs((p - rows.label) * move)}
    expected["gauss_newton"] = (p - rows.label) * move + 0.5 * p * (1 - p) * move**2
    for method, harm in expected.items():
        each = np.bincount(code, harm, minlength=len(table)) / len(code)
        found = importance(model, rows, axis, method)
        np.testing.assert_allclose(found.score, each, rtol=1e-3, atol=1e-7)
        spread = [np.where(code == unit, harm, 0).std() for unit in range(len(table))]
        np.testing.assert_allclose(found.std, np.array(spread) / len(code) ** 0.5, rtol=1e-3)


@pytest.mark.parametrize("method", ["pep", "optembed"])
def test_thresholds_of_small_tables_cut_and_leave_the_model_alone(
    method: str, model: Ranker, data: Dataset
) -> None:
    before = {n: a.copy() for n, a in model.state.items()}
    score = importance(model, data, "rows.other", method, quantile=0.5).score[2:]
    assert (score < 0).any()
    assert np.isfinite(score).all()
    telling = importance(model, data, "rows.item", method, quantile=0.5)
    values = model.encoder.parts["item"].values
    known = [2 + values.index(f"i{v}") for v in range(TELLING)]
    assert (telling.score[known] > 0).all()
    for name, array in model.state.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("option", [{"epochs": 0}, {"quantile": 1.0}, {"rate": -0.1}])
def test_bad_options_of_thresholds_are_refused(option: dict, model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match=next(iter(option))):
        importance(model, data, "rows.item", "pep", **option)


# ---- dims


def test_a_dim_is_scored_by_what_its_mean_in_its_place_does(mixed: Dataset) -> None:
    """FM is linear in one dim of one field, so that the expansion's move is exact."""
    model = FM(4, Training(epochs=4)).fit(mixed.train)
    rows, name = mixed.tune, "shape"
    place = int(np.argsort(model.net.order.numpy())[model.encoder.schema.names.index(name)])
    z = model.logits(rows.rows).astype(np.float64)
    p = 1 / (1 + np.exp(-z))
    expected = []
    for dim in range(4):

        def at_its_mean(value: torch.Tensor, _: object, dim: int = dim) -> torch.Tensor:
            moved = value.clone()
            moved[:, place, 1 + dim] = moved[:, place, 1 + dim].mean()
            return moved

        with torch.no_grad():
            move = model.net(*tensors(rows.rows), {"fields": at_its_mean}).double().numpy() - z
        expected.append(np.mean((p - rows.label) * move + 0.5 * p * (1 - p) * move**2))
    found = importance(model, rows, f"dims.{name}", "gauss_newton").score
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=1e-7)


def test_each_field_gets_dims_of_its_own(mixed: Dataset, wide: Ranker) -> None:
    small = prune(wide, mixed, {"dims": 0.25}, {"dims": "sseds"}, epochs=0)
    sizes = {a.name: a.size for a in small.layout.axes.values() if a.unit == "dim"}
    assert sum(sizes.values()) == 8  # a quarter of four fields × eight
    assert min(sizes, key=sizes.__getitem__) in ("dims.noise", "dims.shape")
    assert len(set(sizes.values())) > 1
    in_the_mean = prune(wide, mixed, {"dims": 3}, {"dims": "sseds"}, epochs=0)
    assert sum(a.size for a in in_the_mean.layout.axes.values() if a.unit == "dim") == 12
    again = prune(small, mixed, {"dims": 0.5}, {"dims": "sseds"}, epochs=1)
    left = [a.size for a in again.layout.axes.values() if a.unit == "dim"]
    assert left == [1, 1, 1, 1]  # none is emptied
    plain = plan(small, mixed, {"dims": 1})  # the dims of most weight in all fields together
    assert {len(u) for u in plain.keep.values()} == {1}


def test_mixed_dims_follow_the_power_of_the_table(data: Dataset, mixed: Dataset) -> None:
    model = DeepFM(8, (4,), training=Training(epochs=1)).fit(mixed.train)
    made = plan(model, mixed, {"dims": 0.5}, {"dims": "mixed_dims"})
    sizes = {n.removeprefix("dims."): len(u) for n, u in made.keep.items()}
    assert sum(sizes.values()) == 16
    assert sizes["colour"] > sizes["shape"] >= sizes["noise"]  # 5, 30 and 32 rows
    score = importance(model, mixed, "dims.shape", "mixed_dims", temperature=0.0).score
    np.testing.assert_allclose(np.sort(score)[::-1], 1 / np.arange(1, 9))
    with pytest.raises(ParameterError, match="temperature"):
        importance(model, mixed, "dims.shape", "mixed_dims", temperature=2.0)


def test_truncation_keeps_the_columns_that_vary(wide: Ranker, mixed: Dataset) -> None:
    score = importance(wide, mixed.train, "dims.shape", "svd").score
    at = wide.encoder.schema.names.index("shape")
    looked_up = wide.state["table.shape"][mixed.train.rows.codes[:, at], 1:]
    np.testing.assert_allclose(score, looked_up.astype(np.float64).var(axis=0), rtol=1e-4)


def test_the_default_for_dims_loses_less_than_norms(wide: Ranker, mixed: Dataset) -> None:
    losses = []
    full = wide.logits(mixed.test.rows)
    for methods in (None, {"dims": "l2"}):
        small = prune(wide, mixed, {"dims": 2}, methods, epochs=0)
        away = small.logits(small.aligned(mixed.test).rows) - full
        losses.append(float(np.mean(away**2)))
    assert losses[0] < 0.5 * losses[1]


# ---- neurons


def test_the_pursuit_is_the_greedy_choice_by_least_squares() -> None:
    draws = np.random.default_rng(0)
    value = draws.normal(size=(200, 9)) @ draws.normal(size=(9, 9))
    weight = draws.normal(size=(9, 3))
    centred = value - value.mean(axis=0)
    target = centred @ weight
    whole, taken, expected = float((target**2).sum()), [], np.zeros(9)
    left = whole
    while len(taken) < 9:
        errors = {}
        for unit in set(range(9)) - set(taken):
            fit, *_ = np.linalg.lstsq(centred[:, [*taken, unit]], target, rcond=None)
            errors[unit] = float(((target - centred[:, [*taken, unit]] @ fit) ** 2).sum())
        best = min(errors, key=errors.__getitem__)
        expected[best] = left / whole
        left = errors[best]
        taken.append(best)
    found = _left_when_taken(centred.T @ centred / 200, weight)
    assert np.argsort(-found).tolist()[:6] == taken[:6]
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_of_two_equal_neurons_one_is_taken_early(wide: Ranker, mixed: Dataset) -> None:
    state = {n: a.copy() for n, a in wide.state.items()}
    half = np.arange(48) % 24
    for name, dim in (("mlp.0.weight", 0), ("mlp.0.bias", 0), ("mlp.1.weight", 1)):
        state[name] = np.ascontiguousarray(np.take(state[name], half, axis=dim))
    twins = wide.with_state(state)
    kept = plan(twins, mixed, {"neurons": (8, 24)}, {"neurons": "omp"}).keep["neurons.0"]
    assert len(set((kept % 24).tolist())) == 8
    by_norm = plan(twins, mixed, {"neurons": (8, 24)}, {"neurons": "l2"}).keep["neurons.0"]
    assert len(set((by_norm % 24).tolist())) == 4


def test_the_default_for_neurons_loses_less_than_norms(wide: Ranker, mixed: Dataset) -> None:
    losses = []
    full = wide.logits(mixed.test.rows)
    for methods in (None, {"neurons": "l2"}, {"neurons": "activity"}):
        small = cut(wide, mixed.train, {"neurons": 0.1}, methods, scored_on=mixed.tune)
        away = small.logits(small.aligned(mixed.test).rows) - full
        losses.append(float(np.mean(away**2)))
    assert losses[0] < 0.5 * min(losses[1:])


def test_batch_norms_scale_is_the_score(mixed: Dataset, wide: Ranker) -> None:
    hidden = Hidden((6,), batch_norm=True)
    model = DeepFM(4, hidden, Training(epochs=1)).fit(mixed.train)
    scale = np.array([0.5, -2.0, 0.0, 1.0, 3.0, -0.1], np.float32)
    model = model.with_state({**model.state, "mlp.0.norm.weight": scale})
    made = plan(model, mixed, {"neurons": 3}, {"neurons": "batch_norm_scale"})
    assert made.keep["neurons.0"].tolist() == [1, 3, 4]
    with pytest.raises(ParameterError, match=r"needs layers with batch norm.*'neurons.0' has none"):
        plan(wide, mixed, {"neurons": 3}, {"neurons": "batch_norm_scale"})


# ---- several axes, and several kinds


@pytest.mark.parametrize("name", [m.name for m in METHODS.values() if m.together is not None])
def test_axes_scored_together_are_scored_as_alone(name: str, mixed: Dataset) -> None:
    few = mixed.train.take(np.arange(400))
    model = FwFM(4, Training(epochs=2)).fit(few)
    unit = "row" if "row" in METHODS[name].units else "dim"
    axis = model.layout.axes[f"{unit}s.shape"]
    alone = importance(model, few, axis, name)
    together = importances(model, few, [axis], name)[axis.name]
    np.testing.assert_allclose(together.score, alone.score, rtol=1e-6)
    pair = importances(model, few, [axis, model.layout.axes[f"{unit}s.colour"]], name)
    assert set(pair) == {axis.name, f"{unit}s.colour"}


def test_fields_go_first_and_as_many_rows_stay_as_were_asked_for(
    wide: Ranker, mixed: Dataset
) -> None:
    rows = sum(a.size - a.pinned for a in cuttable(wide, "rows"))
    small = wide.apply(plan(wide, mixed, {"rows": 20, "fields": ["shape", "size"]}))
    assert small.layout.axes["rows.shape"].size == 22
    all_left = wide.apply(plan(wide, mixed, {"rows": rows, "fields": ["colour", "size"]}))
    assert all_left.layout.axes["rows.colour"].size == wide.layout.axes["rows.colour"].size
    weighted = FwFM(4, Training(epochs=1)).fit(mixed.train)
    made = plan(weighted, mixed, {"pairs": 2, "fields": ["colour", "size", "shape"]})
    assert weighted.apply(made).layout.axes["pairs"].size == 2
