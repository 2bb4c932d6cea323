"""Retrievers do what every ranker does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.layout import Plan
from recprune.models import ALS, MF, Hidden, Ranker, Training, TwoTower
from recprune.pruning import repair
from tests.models.ranker_suite import RankerSuite
from tests.models.test_retrieval import dataset, taste


@cache
def tastes(names: tuple[str, ...] | None) -> Dataset:
    data = dataset(taste())
    return data if names is None else data.only(names)


def quick(training: Training) -> Training:
    """Return the training with steps that are long enough for a thousand positives."""
    return replace(training, epochs=3 * training.epochs, learning_rate=1e-2, patience=6)


class _Retrievers(RankerSuite):
    #: Held-out AUC: half of the negatives are of the own group too.
    floor = 0.7

    #: The fields that there are; None = all.
    names: tuple[str, ...] | None = None

    @pytest.fixture
    def data(self) -> Dataset:
        return tastes(self.names)

    def test_every_tensor_is_trained(self, fitted: Ranker, data: Dataset) -> None:
        # All but the bias, which the order of a user's items does not need.
        start = self.make(Training(epochs=0)).fit(data.train)
        for name, tensor in start.state.items():
            assert name == "bias" or not np.array_equal(tensor, fitted.state[name]), name
            assert np.isfinite(fitted.state[name]).all()


class TestMF(_Retrievers):
    #: A cut with repair is away from the model by this share of a cut without. The unknown row was
    #: trained, and stands for what is cut nearly as well as the mean of it.
    mended = 1.05

    names = ("user", "item")

    def make(self, training: Training, seed: int = 0) -> Ranker:
        return MF(8, training=quick(training), seed=seed)

    def test_a_repaired_cut_is_nearer_to_the_model(self, fitted: Ranker, data: Dataset) -> None:
        # Of two fields neither goes: cut rows are what the unknown row stands for.
        full = fitted.outputs(data.test.rows)
        size = fitted.layout.axes["rows.item"].size
        plan = Plan(fitted.layout.hash, {"rows.item": np.arange(size // 2, dtype=np.int32)})

        def distance(small: Ranker) -> float:
            away = small.outputs(small.aligned(data.test).rows) - full
            return float(np.sqrt(np.mean(away**2)))

        mended = fitted.apply(plan, repair(fitted, data.train, plan))
        assert distance(mended) < self.mended * distance(fitted.apply(plan))


class TestALS(TestMF):
    mended = 0.9

    def make(self, training: Training, seed: int = 0) -> Ranker:
        pytest.importorskip("implicit", reason="needs the extra 'als'")
        return ALS(8, training=quick(training), seed=seed)

    def test_a_group_penalty_and_dropout_train(self, data: Dataset) -> None:
        pytest.skip("least squares has neither")


class TestTwoTower(_Retrievers):
    def make(self, training: Training, seed: int = 0) -> Ranker:
        return TwoTower(8, (16,), 8, training=quick(training), seed=seed)


class TestTwoTowerWithBatchNorm(TestTwoTower):
    def make(self, training: Training, seed: int = 0) -> Ranker:
        return TwoTower(8, Hidden((16, 8), batch_norm=True), 8, training=quick(training), seed=seed)
