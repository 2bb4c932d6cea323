"""How a cut model is trained on its way: what each round cuts, and what each training is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from recprune.data import Dataset, Split
from recprune.errors import ParameterError
from recprune.importance import Evidence
from recprune.models import DeepFM, Ranker, Training
from recprune.pruning import (
    FineTuning,
    cut,
    fine_tune,
    gradual,
    plan,
    prune,
    repair,
    retrain,
    rewind,
    rotate,
)
from recprune.pruning.weights import (
    sparsity_of,
)
from tests.planted import small_data

TRAINING = Training(epochs=7, batch_size=128, learning_rate=0.02, patience=3, device="cpu")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(800)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return (
        DeepFM(4, (8, 4), replace(TRAINING, epochs=1))
        .fit(data.train, data.tune)
        .like(training=TRAINING)
        .fit(data.train.take(slice(0, 300)))
    )


@dataclass
class Told:
    """One training: of what model, on which rows, and how."""

    neurons: tuple[int, ...]
    zeros: float
    rows: int
    valid: Split | None
    training: Training
    teacher: np.ndarray | None
    state: dict[str, np.ndarray]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """Note every training instead of training."""
    seen: list[Told] = []

    def train_on(
        self: Ranker,
        rows: Split,
        *,
        valid: Split | None = None,
        training: Training | None = None,
        teacher: Any = None,
    ) -> list[str]:
        state = {n: a.copy() for n, a in self.state.items()}
        how = training or self.training
        if not how.epochs:
            return []
        zeros = sparsity_of(self)
        seen.append(Told(self.neurons, zeros, len(rows), valid, how, teacher, state))
        return [f"history {len(seen)}"]

    monkeypatch.setattr(Ranker, "train_on", train_on)
    return seen


# ---- rounds


def test_rounds_are_fine_tuned_with_the_full_models_logits(
    told: list[Told], model: Ranker, data: Dataset
) -> None:
    small = prune(model, data, {"neurons": (2, 1)}, rounds=2, epochs=5)
    assert [each.neurons for each in told] == [(4, 2), (2, 1)]
    assert small.neurons == (2, 1)
    logits = model.logits(data.train.rows)
    for each in told:
        assert (each.rows, each.valid) == (len(data.train), data.tune)
        assert each.training == replace(TRAINING, epochs=5, patience=1)
        np.testing.assert_array_equal(each.teacher, logits)  # type: ignore[arg-type]
    assert small.history == ["history 2"]
    told.clear()
    prune(model, data, {"neurons": 0.5}, distil=False)
    assert [(each.training.epochs, each.teacher) for each in told] == [(2, None)]
    told.clear()
    prune(model, data, {"neurons": 0.5}, epochs=0)
    assert not told


def test_a_prune_is_its_cuts(told: list[Told], model: Ranker, data: Dataset) -> None:
    """Without training, the first round is a cut scored on the tune rows, by seed and method."""
    keep, methods = {"neurons": 0.5, "rows": 0.3}, {"rows": "random"}
    small = prune(model, data, keep, methods, epochs=0, seed=3)
    expected = cut(model, data.train, keep, methods, scored_on=data.tune, seed=3)
    for name, array in expected.state.items():
        np.testing.assert_array_equal(small.state[name], array)
    other = prune(model, data, keep, methods, epochs=0)
    assert small.plan.keep["rows.shape"].tolist() != other.plan.keep["rows.shape"].tolist()


def test_dims_are_rotated_before_they_are_cut(model: Ranker, data: Dataset) -> None:
    keep, methods = {"dims": 2}, {"dims": "l2"}
    small = prune(model, data, keep, methods, epochs=0)
    turned = cut(rotate(model, data.train), data.train, keep, methods, scored_on=data.tune)
    for name, array in turned.state.items():
        np.testing.assert_array_equal(small.state[name], array)
    plain = cut(model, data.train, keep, methods, scored_on=data.tune)
    assert any(not np.array_equal(plain.state[n], a) for n, a in turned.state.items())


def test_a_cut_learns_from_some_rows_and_scores_on_others(model: Ranker, data: Dataset) -> None:
    few = data.tune.take(slice(0, 40))
    for scored_on, evidence in ((None, data.train), (few, Evidence(data.train, few))):
        made = plan(model, evidence, {"fields": 2}, {"fields": "permutation"}, 5)  # type: ignore[arg-type]
        expected = model.apply(made, repair(model, data.train, made, 5))
        found = cut(
            model,
            data.train,
            {"fields": 2},
            {"fields": "permutation"},
            scored_on=scored_on,
            seed=5,
        )
        assert found.encoder.schema.names == expected.encoder.schema.names
        for name, array in expected.state.items():
            np.testing.assert_array_equal(found.state[name], array)


def test_fine_tuning_and_retraining_leave_the_model_alone(
    told: list[Told], model: Ranker, data: Dataset
) -> None:
    teacher = np.zeros(len(data.train), np.float32)
    how = replace(TRAINING, epochs=2)
    tuning = FineTuning(data.train, data.tune, teacher, how)
    tuned, fresh = fine_tune(model, tuning), retrain(model, tuning)
    assert (tuned.history, fresh.history) == (["history 1"], ["history 2"])
    assert tuned is not model
    assert model.history != tuned.history
    assert [each.training for each in told] == [how, TRAINING]
    for each, first in zip(told, (model, model.redrawn()), strict=True):
        assert (each.rows, each.valid) == (len(data.train), data.tune)
        assert each.teacher is teacher
        for name, array in first.state.items():
            np.testing.assert_array_equal(each.state[name], array)


def test_short_fine_tuning_reads_rows_from_all_over(data: Dataset) -> None:
    teacher = np.arange(len(data.train), dtype=np.float32)
    tuning = FineTuning(data.train, data.tune, teacher, TRAINING)
    same = tuning.short()
    assert (len(same.rows), same.training) == (len(data.train), replace(TRAINING, epochs=1))
    assert same.teacher is teacher
    assert tuning.short(len(data.train)).rows is data.train
    short = tuning.short(50)
    assert short.training == replace(TRAINING, epochs=1)
    assert short.valid is data.tune
    at = np.linspace(0, len(data.train) - 1, 50).astype(int)
    np.testing.assert_array_equal(short.teacher, teacher[at])  # type: ignore[arg-type]
    np.testing.assert_array_equal(short.rows.rows.codes, data.train.rows.codes[at])
    assert replace(tuning, teacher=None).short(50).teacher is None
    assert len(tuning.short(100_000).rows) == len(data.train)


# ---- gradual cuts and tickets


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Note how models are fitted, and leave their first weights."""
    seen: list[Training] = []
    fit = Ranker.fit

    def first_weights(self: Ranker, train: Split, *given: Any, **options: Any) -> Ranker:
        seen.append(self.training)
        fitted = fit(self.like(training=replace(self.training, epochs=0)), train, *given, **options)
        fitted.training = self.training
        return fitted

    monkeypatch.setattr(Ranker, "fit", first_weights)
    return seen


def test_a_round_follows_every_epoch_after_the_warm_up(
    untrained: list[Training], told: list[Told], model: Ranker, data: Dataset
) -> None:
    small = gradual(model, data, {"neurons": (2, 1)}, warm_up=3, rounds=3)
    assert [t.epochs for t in untrained] == [3]
    gone = [1 - (1 - t / 3) ** 3 for t in (1, 2)]
    way = [(round(8 - 6 * g), round(4 - 3 * g)) for g in gone]
    assert [each.neurons for each in told] == [*way, (2, 1)]
    assert [each.training for each in told] == [replace(TRAINING, epochs=1)] * 2 + [TRAINING]
    assert [each.valid for each in told] == [None, None, data.tune]
    assert {each.rows for each in told} == {len(data.train)}
    assert (small.training, small.history) == (TRAINING, ["history 3"])
    told.clear()
    gradual(model, data, {"neurons": 0.5})
    assert untrained[-1].epochs == 1
    assert len(told) == 4
    one, two, other = (
        gradual(model, data, {"rows": 5}, {"rows": "random"}, rounds=1, seed=s) for s in (1, 1, 2)
    )
    kept = [m.plan.keep["rows.shape"].tolist() for m in (one, two, other)]
    assert kept[0] == kept[1] != kept[2]


def test_a_ticket_is_trained_as_the_model_was(
    untrained: list[Training], told: list[Told], model: Ranker, data: Dataset
) -> None:
    made = plan(model, data, {"neurons": 0.5}, {"neurons": "l2"})
    ticket = rewind(model, data, made, epochs=2)
    assert [t.epochs for t in untrained] == [2]
    (each,) = told
    assert (each.neurons, each.valid, each.training) == ((4, 2), data.tune, TRAINING)
    assert (ticket.training, ticket.history) == (TRAINING, ["history 1"])
    assert rewind(ticket, data).neurons == (4, 2)
    assert untrained[-1].epochs == 0
    for bad in (True, 1.5, -1):
        with pytest.raises(ParameterError, match="'epochs' parameter of rewind must be an int ≥ 0"):
            rewind(model, data, epochs=bad)  # type: ignore[arg-type]
    for name in ("warm_up", "rounds"):
        for bad in (0, True, 1.5):
            with pytest.raises(ParameterError, match=f"'{name}' parameter of gradual must be an i"):
                gradual(model, data, {"rows": 0.5}, **{name: bad})  # type: ignore[arg-type]
