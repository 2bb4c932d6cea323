"""Weights that are zero and are to stay so, and rankers that travel between processes."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.models import FM, DCNv2, DeepFM, FinalMLP, Hidden, Penalty, Ranker, Training
from tests.planted import small_data

MAKERS = {
    "DeepFM": DeepFM(8, (16, 8)),
    "FM": FM(8),
    "DCNv2": DCNv2(8, Hidden((16, 8), batch_norm=True), 2, "stacked"),
    "FinalMLP": FinalMLP(8, (16, 8)),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(3000)


def halved(model: Ranker, seed: int = 0) -> Ranker:
    """Return the ranker with a random half of every tensor at zero."""
    draws = np.random.default_rng(seed)
    state = {name: a * (draws.random(a.shape) < 0.5) for name, a in model.state.items()}
    return model.with_state({name: a.astype(np.float32) for name, a in state.items()})


@pytest.mark.parametrize("name", MAKERS)
def test_zeros_stay_and_the_rest_learns(name: str, data: Dataset) -> None:
    model = MAKERS[name].like(training=Training(epochs=2)).fit(data.train, data.tune)
    cut = halved(model)
    tuned = cut.with_state(cut.state)
    training = Training(epochs=2, keep_zeros=True, penalty=Penalty(l2=0.3))
    teacher = model.logits(data.train.rows)
    # Without held-out rows the last epoch counts, whatever it scores.
    tuned.train_on(data.train, training=training, teacher=teacher)
    for tensor, before in cut.state.items():
        after = tuned.state[tensor]
        if not tensor.endswith((".norm.mean", ".norm.var")):  # what batch norm has seen
            assert not after[before == 0].any(), tensor
    moved = sum(int((tuned.state[n] != a).sum()) for n, a in cut.state.items())
    assert moved > 0.5 * sum(int((a != 0).sum()) for a in cut.state.values())


def test_without_the_option_they_revive(data: Dataset) -> None:
    cut = halved(DeepFM(8, (16,), Training(epochs=1)).fit(data.train))
    tuned = cut.with_state(cut.state)
    tuned.train_on(data.train, training=Training(epochs=1))
    revived = [(tuned.state[n][a == 0] != 0).mean() for n, a in cut.state.items() if a.ndim > 1]
    assert np.mean(revived) > 0.5


def test_a_stopped_training_keeps_its_zeros(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.stopping import stopping

    at = stopping(monkeypatch, KeyboardInterrupt)
    cut = halved(DeepFM(8, (16,), Training(epochs=1)).fit(data.train))
    training = Training(epochs=2, keep_zeros=True)
    whole = cut.with_state(cut.state)
    whole.train_on(data.train, valid=data.tune, training=training)
    path = tmp_path_factory.mktemp("training") / "checkpoint"
    at(25)
    with pytest.raises(KeyboardInterrupt):
        cut.with_state(cut.state).train_on(
            data.train, valid=data.tune, training=training, checkpoint=path
        )
    again = cut.with_state(cut.state)
    again.train_on(data.train, valid=data.tune, training=training, checkpoint=path)
    for name, tensor in whole.state.items():
        np.testing.assert_array_equal(again.state[name], tensor)


def test_it_is_a_yes_or_no() -> None:
    with pytest.raises(ParameterError, match=r"keep_zeros.*True or False"):
        Training(keep_zeros=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MAKERS)
def test_a_pickled_ranker_is_the_same_and_learns_the_same(name: str, data: Dataset) -> None:
    model = MAKERS[name].like(training=Training(epochs=1)).fit(data.train, data.tune)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.logits(data.test.rows).tobytes() == model.logits(data.test.rows).tobytes()
    assert [e.score for e in twin.history] == [e.score for e in model.history]
    more = replace(model.training, epochs=1)
    for each in (model, twin):
        each.train_on(data.train, training=more)
    for tensor, array in model.state.items():
        np.testing.assert_array_equal(twin.state[tensor], array)


def test_a_ranker_that_is_not_fitted_travels_too() -> None:
    model = pickle.loads(pickle.dumps(DeepFM(4, (8,), seed=7)))
    assert not model.fitted
    assert (model.options(), model.seed) == (DeepFM(4, (8,)).options(), 7)


def test_begun_and_trained_is_fitted(data: Dataset) -> None:
    fitted = DeepFM(4, (8,), Training(epochs=1)).fit(data.train, data.tune)
    begun = fitted.like().begin(data.train)
    assert begun.fitted
    begun.train_on(data.train, valid=data.tune)
    for name, tensor in fitted.state.items():
        np.testing.assert_array_equal(begun.state[name], tensor)
