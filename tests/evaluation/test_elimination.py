"""Fields that are not shown to matter go, where gate rows are few; what matters stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.evaluation import choose_fields
from recprune.evaluation.elimination import eliminate
from recprune.importance import FieldRanking
from recprune.importance.replaced import Replaced
from recprune.models import DeepFM, Ranker, Training

N = 2400
TRAINING = Training(epochs=4, batch_size=128, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two fields that matter, a copy of one, and noise of few values and of very many."""
    draws = np.random.default_rng(3)
    colour, size = draws.integers(0, 6, N), draws.normal(0, 1, N)
    effect = np.linspace(-1.5, 1.5, 6)[colour] + size
    columns = {
        "colour": [f"c{v}" for v in colour],
        "farbe": [f"f{v}" for v in colour],
        "size": size,
        "few": [f"v{v}" for v in draws.integers(0, 3, N)],
        "many": [f"v{v}" for v in draws.integers(0, 700, N)],
        "number": draws.normal(0, 1, N),
        "y": (draws.random(N) < 1 / (1 + np.exp(-effect))).astype(int),
    }
    return Dataset.from_frame(pl.DataFrame(columns), label="y").split(by="random")


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(4, (8,), training=TRAINING).fit(data.train, data.tune)


def test_noise_goes_and_one_of_two_copies_stays(model: Ranker, data: Dataset) -> None:
    left = set(eliminate(model, data.train, data.tune, data.schema.names))
    assert not left & {"few", "many", "number"}
    assert "size" in left
    assert left & {"colour", "farbe"}


def test_protected_fields_stay(model: Ranker, data: Dataset) -> None:
    left = eliminate(model, data.train, data.tune, ("few", "many", "size"), protect=("many",))
    assert left == ("many", "size")


def test_of_fields_that_tell_nothing_one_stays(model: Ranker, data: Dataset) -> None:
    assert len(eliminate(model, data.train, data.tune, ("few", "many", "number"))) == 1


def test_a_group_is_returned_by_its_representative(model: Ranker, data: Dataset) -> None:
    ranking = replace(
        ranked("size", "farbe", "colour", "number", "few", "many"), groups=(("farbe", "colour"),)
    )
    kept = choose_fields(model, ranking, data.train, data.tune, data.gate, 0.002)
    assert kept == ("size", "farbe")


def test_replacing_is_undone(model: Ranker, data: Dataset) -> None:
    values = Replaced(model, data.gate)
    full = values.score()
    np.testing.assert_allclose(full, model.logits(data.gate.rows), atol=1e-5)
    before = values.replace(["size", "few"], values.means())
    at = [values.place[name] for name in ("size", "few")]
    assert np.ptp(values.value[:, at].numpy(), axis=0).max() == 0
    assert not np.array_equal(values.score(), full)
    values.restore(["size", "few"], before)
    np.testing.assert_array_equal(values.score(), full)


def test_rows_count_by_their_weights(model: Ranker, data: Dataset) -> None:
    """Oracle: a row of weight 3 is three rows, one of weight 0 none."""
    weight = np.random.default_rng(0).integers(0, 4, len(data.gate)).astype(np.float32)
    again = data.gate.take(np.repeat(np.arange(len(data.gate)), weight.astype(int)))
    weighted = replace(data.gate, extras=replace(data.gate.extras, weight=weight))
    one, many = Replaced(model, weighted), Replaced(model, again)
    assert len(one.split) == np.count_nonzero(weight)
    np.testing.assert_allclose(one.means(), many.means(), atol=1e-5)
    assert one.auc() == pytest.approx(many.auc(), abs=1e-6)


def test_weights_decide_what_stays(model: Ranker, data: Dataset) -> None:
    """On the gate's rows where size and label disagree, dropping size does no harm."""
    gate = data.gate
    size = gate.columns["size"].to_numpy()
    agrees = (size > 0) == (gate.label > 0.5)
    ranking = ranked("colour", "farbe", "size", "few", "many", "number")
    kept = []
    for heavy in (agrees, ~agrees):
        weight = np.where(heavy, 1.0, 0.02).astype(np.float32)
        rows = replace(gate, extras=replace(gate.extras, weight=weight))
        kept.append(choose_fields(model, ranking, data.train, data.tune, rows, 0.002))
    assert "size" in kept[0]
    assert "size" not in kept[1]


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"protect": ("sise",)}, "Cannot protect 'sise'. Did you mean 'size'?"),
        ({"protect": ("size",), "force": ("size",)}, "is named in protect"),
        ({"tolerance": 0}, "The 'tolerance' parameter of choose_fields must be a float in (0, 1)."),
        ({"ranking": ("size",)}, "The 'ranking' parameter of choose_fields must be of the model's"),
    ],
)
def test_what_cannot_be_is_told(
    choice: dict[str, Any], message: str, model: Ranker, data: Dataset
) -> None:
    choice = {"tolerance": 0.002, **choice}
    ranking = ranked(*choice.pop("ranking", data.schema.names))
    with pytest.raises(ParameterError) as told:
        choose_fields(model, ranking, data.train, data.tune, data.gate, **choice)
    assert message in str(told.value)


def ranked(*names: str) -> FieldRanking:
    return FieldRanking(names, np.arange(len(names), 0.0, -1), np.zeros(len(names)), "stated")
