"""The group lasso of units: its proximal step against a plain one, and what it finds."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.importance import METHODS, importance
from recprune.importance.structured import _Groups, _Path
from recprune.lookups import UNKNOWN
from recprune.models import (
    DLRM,
    LR,
    DCNv2,
    DeepFM,
    FinalMLP,
    FwFM,
    Hidden,
    Ranker,
    SharedBottom,
    Training,
)
from recprune.models.state import state_of
from recprune.models.step import Step
from recprune.pruning import cut, plan
from tests.planted import small_data

HIDDEN = Hidden((6, 4), batch_norm=True)
MAKERS = {
    "LR": lambda training: LR(training=training),
    "DeepFM": lambda training: DeepFM(4, HIDDEN, training),
    "DCNv2": lambda training: DCNv2(4, HIDDEN, 2, training=training),
    "FinalMLP": lambda training: FinalMLP(4, (6, 4), training=training),
    "SharedBottom": lambda training: SharedBottom(4, (6,), HIDDEN, training=training),
    "FwFM": lambda training: FwFM(4, training=training),
    "DLRM": lambda training: DLRM(4, HIDDEN, (6,), training=training),
}
#: Those that the issue of any axis is about, with what makes them quick.
ANY = {
    "l1": {},
    "l2": {},
    "shark": {},
    "gauss_newton": {},
    "group_lasso_path": {"epochs": 1},
    "shuffle_gate": {"steps": 2},
    "hard_concrete": {"steps": 2},
    "dropout": {"steps": 2},
}


@cache
def given(two: bool = False) -> Dataset:
    return small_data(700, second_label=two)


@cache
def fitted(name: str) -> Ranker:
    training = Training(epochs=1, batch_size=128, device="cpu")
    return MAKERS[name](training).fit(given(name == "SharedBottom").train)


@cache
def ragged(name: str) -> tuple[Ranker, Dataset]:
    """Return a ranker that was cut, each field's dims for itself."""
    data, model = given(name == "SharedBottom"), fitted(name)
    if name == "LR":
        return model, data
    made = plan(model, data, {"dims": 2}, {"dims": "sseds"})
    return model.apply(made), data


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_is_the_block_soft_threshold(name: str) -> None:
    model, _ = ragged(name)
    for axis in model.layout.axes.values():
        if axis.unit == "field":
            continue
        twin = model.with_state(model.state)
        groups, state = (
            _Groups(twin, axis),
            {n: a.astype(np.float64) for n, a in model.state.items()},
        )
        uses = [u for u in axis.uses if not u.tensor.endswith(("norm.mean", "norm.var"))]
        expected, norms = {n: a.copy() for n, a in state.items()}, []
        base = state[axis.uses[0].tensor][UNKNOWN].copy() if axis.unit == "row" else 0.0
        by = float(np.median(groups.norms().numpy()))
        for unit in range(axis.size):
            blocks = [np.moveaxis(state[u.tensor], u.dim, 0)[u.offset + unit] - base for u in uses]
            weights = np.concatenate([np.ravel(b) for b in blocks])
            norm = np.linalg.norm(weights)
            left = max(0.0, 1 - by * np.sqrt(len(weights)) / max(norm, 1e-20))
            norms.append(norm * left / np.sqrt(len(weights)))
            for use in uses:
                # A weight that stands for two units is made shorter by both.
                now, at = np.moveaxis(expected[use.tensor], use.dim, 0), use.offset + unit
                now[at] = base + (now[at] - base) * left
        with torch.no_grad():
            found = groups.shrink(by)
        np.testing.assert_allclose(found, norms, atol=1e-6, err_msg=axis.name)
        for tensor, array in state_of(twin.net).items():
            np.testing.assert_allclose(array, expected[tensor], atol=1e-6, err_msg=axis.name)
        assert axis.size < 3 or (np.array(norms) == 0).any()


@pytest.mark.parametrize("unit", ["row", "dim", "neuron"])
def test_what_nothing_holds_is_gone_at_the_end_and_hardly_shorter_half_way(unit: str) -> None:
    model = fitted("DeepFM").with_state(fitted("DeepFM").state)
    groups = [_Groups(model, next(a for a in model.layout.axes.values() if a.unit == unit))]
    path = _Path(groups, steps := 100, anneal=30.0)
    step = cast("Step", SimpleNamespace(learning_rate=path.rate))
    longest = []
    for _ in range(steps):
        path.take(step)
        longest.append(float(groups[0].norms().max()))
    assert longest[steps // 2 - 1] > 0.8 * path.most[0]  # of a steady penalty, half would be left
    assert longest[int(0.9 * steps)] > 0
    assert longest[-1] < 1e-3 * path.most[0]


@pytest.mark.parametrize("name", MAKERS)
def test_every_criterion_of_any_axis_scores_every_axis(name: str) -> None:
    model, data = ragged(name)
    for method, options in ANY.items():
        assert set(METHODS[method].units) >= {"row", "dim", "neuron", "pair"}
        for axis in model.layout.axes.values():
            if axis.unit in METHODS[method].units:
                score = importance(model, data, axis, method, **options).score
                assert score.shape == (axis.size,), (method, axis.name)
                assert np.isfinite(score).all(), (method, axis.name)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (16, 8), Training(epochs=6, device="cpu")).fit(data.train, data.tune)


def test_dead_units_go_first_and_the_model_stays_as_it_is(model: Ranker, data: Dataset) -> None:
    state = {n: t.copy() for n, t in model.state.items()}
    state["mlp.1.weight"][:, [2, 5]] = 0  # two neurons that nobody listens to
    dead = model.with_state(state)
    score = importance(dead, data, "neurons.0", "group_lasso_path").score
    assert score[[2, 5]].max() <= np.quantile(np.delete(score, [2, 5]), 0.3), score
    np.testing.assert_array_equal(
        score, importance(dead, data, "neurons.0", "group_lasso_path", seed=9).score
    )
    for name, array in dead.state.items():
        np.testing.assert_array_equal(array, state[name])


def test_dims_that_say_nothing_go_first(model: Ranker, data: Dataset) -> None:
    state = {n: t.copy() for n, t in model.state.items()}
    nothing = [1, 6]
    state["table.size"][:, [1 + d for d in nothing]] = 0
    score = importance(model.with_state(state), data, "dims.size", "group_lasso_path").score
    # Their columns of the table start at zero, the layers' do not: one may come back in training.
    assert np.argmin(score) in nothing, score
    assert score[nothing].mean() < np.delete(score, nothing).mean(), score


@pytest.mark.parametrize(
    "method",
    ["svd", "mixed_dims", "sseds", "shark", "gauss_newton", "shuffle_gate", "group_lasso_path"],
)
def test_dims_of_a_vector_of_no_field_are_scored_too(method: str, data: Dataset) -> None:
    """DLRM's numbers go through layers of their own, whose output has dims as the fields have."""
    tower = DLRM(4, (6,), (6,), Training(epochs=4, device="cpu")).fit(data.train, data.tune)
    state = {n: t.copy() for n, t in tower.state.items()}
    state["dot.bottom.out.weight"][2], state["dot.bottom.out.bias"][2] = 0, -1  # never open
    score = importance(tower.with_state(state), data, "dims.dot", method).score
    assert score[2] <= np.sort(score)[1], score  # another may be as dead
    small = cut(tower, data.train, {"dims": 2}, {"dims": method}, scored_on=data.tune)
    assert sum(a.size for a in small.layout.axes.values() if a.unit == "dim") == 2 * 5
    assert np.isfinite(small.logits(small.aligned(data.test).rows)).all()


def test_units_that_are_all_zero_stay_so(model: Ranker, data: Dataset) -> None:
    state = {n: np.zeros_like(t) for n, t in model.state.items()}
    score = importance(model.with_state(state), data, "rows.colour", "group_lasso_path").score
    assert np.isfinite(score).all()


@pytest.mark.parametrize("option", [{"epochs": 0}, {"anneal": 1.0}])
def test_bad_options_are_refused(option: dict, model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match=f"'{next(iter(option))}' parameter"):
        importance(model, data, "neurons.0", "group_lasso_path", **option)
