"""What every ranker must do, whichever class it is: inherit, and say how to make one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.artifact import read_artifact, stored_size
from recprune.data import Dataset
from recprune.encoding import Rows
from recprune.layout import Plan, kept_indices
from recprune.lookups import PADDING, UNKNOWN
from recprune.metrics import auc
from recprune.models import Penalty, Ranker, Training, ranker_of
from recprune.pruning import repair
from tests.planted import small_data

#: Dims that nothing cuts: outputs, one a label.
OUTPUTS = ("out.weight", "out1.weight", "out2.weight")


def half_plan(model: Ranker, fields: bool = True, seed: int = 0) -> Plan:
    """Return a plan that keeps a random half of all units that a cut leaves in place."""
    draws = np.random.default_rng(seed)
    keep = {}
    for name, axis in model.layout.axes.items():
        if axis.unit == "row" or (axis.unit == "field" and not fields):
            continue
        count = max(axis.min_keep, axis.size // 2, 2 if axis.unit == "field" else 0)
        keep[name] = axis.units[np.sort(draws.permutation(axis.size)[:count])]
    dims = [n for n, a in model.layout.axes.items() if a.unit == "dim"]
    for name in dims[1:]:  # the same dims in all fields
        keep[name] = keep[dims[0]]
    return Plan(model.layout.hash, keep)


@cache
def planted(second_label: bool = False) -> Dataset:
    return small_data(4_000, second_label=second_label)


@cache
def trained(suite: type[RankerSuite], data: Dataset) -> Ranker:
    """Return the suite's ranker on its data, fitted once."""
    return suite().make(Training(epochs=4)).fit(data.train, data.tune)


class RankerSuite:
    """Inherit, and define ``make``."""

    #: Whether the rows have two labels.
    second_label = False
    #: Held-out AUC that the planted rule must give.
    floor = 0.77

    def make(self, training: Training, seed: int = 0) -> Ranker:
        raise NotImplementedError

    @pytest.fixture
    def data(self) -> Dataset:
        return planted(self.second_label)

    @pytest.fixture
    def fitted(self, data: Dataset) -> Ranker:
        return trained(type(self), data)

    def test_it_learns_the_planted_rule(self, fitted: Ranker, data: Dataset) -> None:
        assert auc(data.test.label, fitted.logits(data.test.rows)) > self.floor

    def test_the_same_seed_gives_the_same_bytes(self, fitted: Ranker, data: Dataset) -> None:
        torch.rand(3)  # somebody else's draws must not matter
        again = self.make(Training(epochs=4)).fit(data.train, data.tune)
        for name, tensor in fitted.state.items():
            np.testing.assert_array_equal(again.state[name], tensor)
        other = self.make(Training(epochs=1), seed=1).fit(data.train)
        assert any(not np.array_equal(other.state[n], t) for n, t in fitted.state.items())

    def test_training_leaves_the_global_stream_alone(self, data: Dataset) -> None:
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        self.make(Training(epochs=1)).fit(data.train)
        assert torch.equal(torch.rand(4), expected)

    def test_a_saved_model_comes_back_whole(
        self, fitted: Ranker, data: Dataset, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path / "model")
        back = ranker_of(read_artifact(tmp_path / "model"))
        np.testing.assert_array_equal(back.outputs(data.test.rows), fitted.outputs(data.test.rows))
        assert back.options() == fitted.options()
        assert back.labels == fitted.labels

    def test_the_empty_plan_is_the_identity(self, fitted: Ranker, data: Dataset) -> None:
        same = fitted.apply(Plan(fitted.layout.hash))
        np.testing.assert_array_equal(same.outputs(data.test.rows), fitted.outputs(data.test.rows))

    def test_every_unit_is_declared(self, fitted: Ranker) -> None:
        covered = {
            (n, d): np.zeros(size, bool)
            for n, shape in fitted.layout.shapes.items()
            for d, size in enumerate(shape)
        }
        first = int(fitted.wide)
        for axis in fitted.layout.axes.values():
            for use in axis.uses:
                covered[use.tensor, use.dim][use.offset : use.offset + axis.size] = True
        for (name, dim), units in covered.items():
            output = dim == 0 and (name == "bias" or name.endswith(OUTPUTS))
            units = units[first:] if name.startswith("table.") and dim == 1 else units
            assert units.all() or output, f"dim {dim} of {name} has units that cannot be cut"

    def test_every_tensor_is_trained(self, fitted: Ranker, data: Dataset) -> None:
        start = self.make(Training(epochs=0)).fit(data.train)
        for name, tensor in start.state.items():
            assert not np.array_equal(tensor, fitted.state[name]), name
            assert np.isfinite(fitted.state[name]).all()

    def test_the_unknown_row_is_trained(self, fitted: Ranker, data: Dataset) -> None:
        start = self.make(Training(epochs=0)).fit(data.train)
        for name in fitted.encoder.schema.names:
            table = f"table.{name}"
            assert not np.array_equal(start.state[table][UNKNOWN], fitted.state[table][UNKNOWN])

    @pytest.mark.parametrize("code", [PADDING, UNKNOWN])
    def test_one_row_without_known_values_is_scored(self, fitted: Ranker, code: int) -> None:
        rows = fitted.encoder.blank(1)
        one = Rows(np.full_like(rows.codes, code), rows.shares)
        assert np.isfinite(fitted.logits(one)).all()

    def test_one_row_is_scored_as_among_others(self, fitted: Ranker, data: Dataset) -> None:
        rows = data.test.rows[:64]
        each = np.concatenate([fitted.outputs(rows[i : i + 1]) for i in range(64)])
        np.testing.assert_allclose(each, fitted.outputs(rows), atol=2e-5)

    def test_a_cut_is_the_model_with_zeros_in_its_place(
        self, fitted: Ranker, data: Dataset
    ) -> None:
        plan = half_plan(fitted)
        small = fitted.apply(plan)
        kept = plan.resolve(fitted.layout)
        zeroed = {n: a.copy() for n, a in fitted.state.items()}
        for (name, dim), stays in kept_indices(fitted.layout, kept).items():
            gone = np.setdiff1d(np.arange(zeroed[name].shape[dim]), stays)
            np.moveaxis(zeroed[name], dim, 0)[gone] = 0
        expected = fitted.with_state(zeroed).outputs(data.test.rows)
        np.testing.assert_allclose(
            small.outputs(small.aligned(data.test).rows), expected, atol=2e-5
        )
        assert plan.predicted_bytes(fitted.layout) == sum(a.nbytes for a in small.state.values())

    def test_a_cut_model_is_saved_trained_and_cut_again(
        self, fitted: Ranker, data: Dataset, tmp_path: Path
    ) -> None:
        small = fitted.apply(half_plan(fitted))
        small.save(tmp_path / "small")
        assert stored_size(small.artifact()) < stored_size(fitted.artifact())
        back = ranker_of(read_artifact(tmp_path / "small"))
        rows = back.aligned(data.test).rows
        np.testing.assert_array_equal(back.outputs(rows), small.outputs(rows))
        back.train_on(data.train, training=Training(epochs=1))
        assert np.isfinite(back.outputs(rows)).all()
        smaller = back.apply(half_plan(back, fields=False, seed=1))
        assert np.isfinite(smaller.outputs(smaller.aligned(data.test).rows)).all()

    def test_a_repaired_cut_is_nearer_to_the_model(self, fitted: Ranker, data: Dataset) -> None:
        full = fitted.outputs(data.test.rows)

        def distance(small: Ranker) -> float:
            away = small.outputs(small.aligned(data.test).rows) - full
            return float(np.sqrt(np.mean(away**2)))

        plain, mended = 0.0, 0.0
        for seed in range(4):
            plan = half_plan(fitted, seed=seed)
            keep = {n: k for n, k in plan.keep.items() if not n.startswith("dims.")}
            plan = replace(plan, keep=keep)
            plain += distance(fitted.apply(plan))
            mended += distance(fitted.apply(plan, repair(fitted, data.train, plan)))
        assert mended < plain

    def test_a_group_penalty_and_dropout_train(self, data: Dataset) -> None:
        model = self.make(Training(epochs=2, penalty=Penalty(group=0.5)))
        model.hidden = replace(model.hidden, dropout=0.2)
        model.fit(data.train)
        assert np.isfinite(model.outputs(data.test.rows)).all()

    def test_options_are_plain_data(self, fitted: Ranker) -> None:
        def plain(value: Any) -> bool:
            if isinstance(value, dict):
                return all(plain(v) for v in value.values())
            if isinstance(value, tuple | list):
                return all(plain(v) for v in value)
            return value is None or isinstance(value, str | int | float | bool)

        assert plain(fitted.options())
