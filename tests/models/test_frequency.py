"""Values of like frequency share a part; rare ones stay near the unknown row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Dataset
from recprune.metrics import auc
from recprune.models import DeepFM, Training, trainer
from recprune.models.frequency import FrequencyPrior, _groups


def ids_with_frequencies(n_rows: int = 20_000, seed: int = 0) -> Dataset:
    """A label that only depends on how often an id occurs; every id by itself is rare."""
    rng = np.random.default_rng(seed)
    rare, common = rng.integers(0, 4000, n_rows), 10_000 + rng.integers(0, 400, n_rows)
    is_common = rng.random(n_rows) < 0.5
    frame = pl.DataFrame(
        {
            "id": [f"i{v}" for v in np.where(is_common, common, rare)],
            "x": rng.random(n_rows),
            "y": (rng.random(n_rows) < np.where(is_common, 0.7, 0.3)).astype(int),
        }
    )
    return Dataset.from_frame(frame, label="y").split(seed=seed)


def fitted(data: Dataset) -> DeepFM:
    return DeepFM(dim=4, hidden=(8,), training=Training(epochs=4)).fit(data.train, data.tune)


def test_rare_values_learn_from_values_of_like_frequency(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ids_with_frequencies()

    def score() -> float:
        return auc(data.test.label, fitted(data).logits(data.test.rows))

    together = score()
    monkeypatch.setitem(trainer.train.__kwdefaults__, "groups", 0)
    assert together > 0.69  # 0.7 is what the frequency says
    assert together > score() + 0.01


def test_a_value_never_seen_is_rare_or_not_as_one_says() -> None:
    data = ids_with_frequencies()
    ids = data.train.columns["id"].value_counts(sort=True)["id"]
    unseen = {}
    for rare in (True, False):
        training = Training(epochs=4, unseen_rare=rare)
        model = DeepFM(dim=4, hidden=(8,), training=training).fit(data.train, data.tune)
        rows = model.encoder.encode({"id": [ids[-1], "never seen", ids[0]], "x": [0.5] * 3})
        least, unseen[rare], most = model.predict(rows)
        assert least < 0.4
        assert most > 0.6
    assert unseen[True] < 0.4
    assert least + 0.05 < unseen[False] < most - 0.05


@pytest.mark.parametrize("groups", [0, 5])
def test_folding_undoes_unfolding(groups: int) -> None:
    data = ids_with_frequencies(4000)
    net = fitted(data).net
    before = net.table.detach().clone()
    prior = FrequencyPrior(net, data.train.rows, 50.0, groups)
    prior.unfold(net)
    assert groups == 0 or float(prior.shared.detach().abs().max()) > 0
    prior.fold(net)
    assert torch.allclose(net.table, before, atol=1e-5)


def test_training_goes_on_from_where_it_was() -> None:
    data = ids_with_frequencies()
    model = fitted(data)
    twin = model.with_state(model.state)
    history = twin.train_on(
        data.train, valid=data.tune, training=Training(epochs=1, learning_rate=1e-6)
    )
    assert history[1].score == pytest.approx(history[0].score, abs=2e-3)


def test_groups_hold_like_counts_and_like_numbers_of_rows() -> None:
    count = np.array([0, 7, *[1] * 60, *[2] * 30, *[20] * 3])
    group = _groups(count, 3)
    assert set(group[2:62]) == {0}
    assert set(group[62:92]) == {1}
    assert set(group[92:]) == {2}
    assert set(_groups(np.zeros(40, int), 4)) == {0}
