"""Single weights at zero, and how many bits the others have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError, RecpruneWarning
from recprune.lookups import FIRST
from recprune.models import Penalty, PrivacyBudget, Ranker
from recprune.pruning import (
    Tiers,
    encode,
    encoded_size,
    encoding_plan,
)
from recprune.pruning.weights import (
    DAMPING,
    L1,
    TURNS,
    break_even,
    kept_weights,
    sparsify,
    sparsity_at,
    sparsity_of,
    zeroed,
)

from .test_ways import TRAINING, Told, data, model, told

__all__ = ["data", "model", "told"]  # fixtures


def plain_bar(sizes: np.ndarray, share: float) -> float:
    """Return the largest size that goes if the largest ``share`` stay."""
    gone = len(sizes) - round(share * len(sizes))
    return float(np.sort(sizes)[gone - 1]) if gone else -1.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_the_largest_weights_stay(share: float, model: Ranker) -> None:
    sizes = {n: np.abs(a) for n, a in model.state.items() if a.ndim == 2}
    bar = plain_bar(np.concatenate([a.ravel() for a in sizes.values()]), share)
    for scope in ("global", "layer"):
        found = kept_weights(model, share, scope)  # type: ignore[arg-type]
        assert found.keys() == sizes.keys()
        for name, size in sizes.items():
            least = bar if scope == "global" else plain_bar(size.ravel(), share)
            np.testing.assert_array_equal(found[name], size > least)
    assert kept_weights(model, share).keys() == sizes.keys()


def test_ties_with_the_cut_go(model: Ranker) -> None:
    state = {n: np.sign(a).astype(np.float32) if a.ndim == 2 else a for n, a in model.state.items()}
    ones = model.with_state(state)
    assert not any(mask.any() for mask in kept_weights(ones, 0.5).values())
    assert all((mask == (state[n] != 0)).all() for n, mask in kept_weights(ones, 1.0).items())


@pytest.mark.parametrize(
    ("course", "way", "end"),
    [
        ("once", [0.6, 0.6, 0.6], None),
        ("cubic", [0.6 * (1 - (1 - t / 3) ** 3) for t in (1, 2, 3)], None),
        ("deeplight", [0.6 * (1 - DAMPING ** (TURNS * t / 3)) for t in (1, 2, 3)], 0.6),
        ("l1", [0.0, 0.0, 0.0], 0.6),
    ],
)
def test_every_course_goes_its_way(
    course: Any, way: list[float], end: float | None, told: list[Told], model: Ranker, data: Dataset
) -> None:
    start = sparsity_of(model)
    small = sparsify(model, data, 0.6, course=course, rounds=3, scope="layer")
    zeros = [each.zeros for each in told]
    assert zeros[:3] == pytest.approx([max(w, start) for w in way], abs=0.02)
    keeps = [each.training.keep_zeros for each in told]
    assert keeps == [course in ("once", "cubic")] * 3 + [True] * (end is not None)
    assert {each.training.epochs for each in told} == {1}
    assert {each.rows for each in told} == {len(data.train)}
    penalty = Penalty(l1=L1) if course == "l1" else TRAINING.penalty
    assert [each.training.penalty for each in told[:3]] == [penalty] * 3
    if end is not None:
        assert zeros[3] == pytest.approx(end, abs=0.02)
        assert told[3].training == replace(TRAINING, epochs=1, keep_zeros=True)
    assert sparsity_of(small) == pytest.approx(0.6, abs=0.02)
    assert sparsity_of(model) == start
    told.clear()
    sparsify(model, data, 0.3)
    assert len(told) == 4
    assert told[0].zeros == pytest.approx(0.3 * (1 - 0.75**3), abs=0.02)


def test_deeplight_lets_tables_compete_and_layers_each_for_itself(
    told: list[Told], model: Ranker, data: Dataset
) -> None:
    sparsify(model, data, 0.5, course="deeplight", rounds=1)
    tables = {n: a for n, a in model.state.items() if n.startswith("table.")}
    bar = plain_bar(np.abs(np.concatenate([a.ravel() for a in tables.values()])), 0.5)
    last = told[-1].state
    for name, array in model.state.items():
        if array.ndim == 1:
            np.testing.assert_array_equal(last[name], array)
        elif name not in tables:
            assert abs((last[name] == 0).sum() - array.size / 2) <= 1
    gone = {n: np.abs(a) <= bar for n, a in tables.items()}
    for name, mask in gone.items():
        assert not last[name][mask].any()


def test_a_sparsity_is_counted_over_tables_and_matrices(model: Ranker, data: Dataset) -> None:
    state = {n: np.ones_like(a) for n, a in model.state.items()}
    state["mlp.0.weight"] = state["mlp.0.weight"].copy()
    state["mlp.0.weight"][:2] = 0
    state["mlp.0.bias"] = np.zeros_like(state["mlp.0.bias"])
    matrices = sum(a.size for a in state.values() if a.ndim == 2)
    assert sparsity_of(model.with_state(state)) == state["mlp.0.weight"][:2].size / matrices
    assert sparsity_at(0.5, 0.8, "once") == 0.8
    assert sparsity_at(0.5, 0.8) == pytest.approx(0.7)
    assert sparsity_at(0.01, 0.5, "deeplight") == pytest.approx(0.5 * (1 - 0.99**3))
    for sparsity in (True, -0.1, 1.0):
        with pytest.raises(ParameterError, match="'sparsity' parameter of zeroed"):
            zeroed(model, sparsity)
    for bad in (0, True, 1.5):
        with pytest.raises(ParameterError, match="'rounds' parameter of sparsify"):
            sparsify(model, data, 0.5, rounds=bad)  # type: ignore[arg-type]
    same = zeroed(model, 0.0)
    for name, array in model.state.items():
        np.testing.assert_array_equal(same.state[name], array)


def test_the_warning_names_the_tensors_of_which_nothing_is_left(model: Ranker) -> None:
    state = dict(model.state)
    state["table.size"] = state["table.size"] * np.float32(1e-6)
    state["table.noise"] = np.zeros_like(state["table.noise"])  # was nothing before
    with pytest.warns(RecpruneWarning, match=r"No weight is left of table\.size: all of them"):
        zeroed(model.with_state(state), 0.5)


def test_break_even_is_found_to_six_digits(model: Ranker) -> None:
    at = break_even(model, encoded=False)

    def smaller(sparsity: float) -> bool:
        ones = {n: m.astype(np.float32) for n, m in kept_weights(model, 1 - sparsity).items()}
        twin = model.with_state({**model.state, **ones}).artifact()
        return stored_size(twin, False) < stored_size(model.artifact())

    matrices = sum(a.size for a in model.state.values() if a.ndim == 2)
    assert smaller(at + 2 / matrices)
    assert not smaller(at - 2 / matrices)
    assert break_even(model) != at  # in the form that is stored: of int8 and fp16


# ---- bits


def test_encodings_go_by_kind_of_tensor(model: Ranker, data: Dataset) -> None:
    found = encode(model).plan.encoding
    for name in model.layout.shapes:
        kind = "int8" if name.startswith("table.") else "fp16" if name.endswith(".weight") else None
        assert found.get(name) == kind
    none = encode(model, None, None)
    assert not none.plan.encoding
    for name, array in model.state.items():
        np.testing.assert_array_equal(none.state[name], array)
    assert none.plan.layout_hash == model.layout.hash
    assert encoded_size(model) == stored_size(encode(model).artifact())
    small = zeroed(model, 0.7, "layer")
    assert encoded_size(small, zeros=False) == stored_size(encode(small).artifact(), False)
    assert encoded_size(small, zeros=False) < encoded_size(small)
    assert encoded_size(small, "fp16", "fp32") == stored_size(
        encode(small, "fp16", "fp32").artifact()
    )


def test_rows_that_are_counted_end_a_promise_of_privacy(model: Ranker, data: Dataset) -> None:
    private = model.with_state(model.state)
    private.privacy = PrivacyBudget(epsilon=1, delta=1e-4)  # type: ignore[assignment]
    assert encode(private).privacy is private.privacy
    assert encode(private, "int8", "fp16", data.train).privacy is None


def test_a_tier_may_hold_all_or_nothing(model: Ranker, data: Dataset) -> None:
    everything: Tiers = {"fp16": 0, "int4_row": 0}
    assert encoding_plan(model, everything, None, data.train).encoding["table.shape"] == "fp16"
    none: Tiers = {"fp16": 10**6, "int4_row": 0}
    runs = encoding_plan(model, none, None, data.train).encoding["table.shape"]
    assert runs == ((0, "fp16"), (FIRST, "int4_row"))
    for bound in (0.0, 1.01, -1, True):
        with pytest.raises(ParameterError, match=r"a share of uses in \(0, 1\] or a count"):
            encoding_plan(model, {"int8": bound}, None, data.train)
