"""Weights of rows and further labels: kept beside the fields, used where they count."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.errors import DataError, SchemaError
from recprune.metrics import auc
from recprune.models import DeepFM
from recprune.models.training import Training

N = 2000
QUICK = Training(epochs=6, unknown_rate=5)


def frame(seed: int = 0) -> pl.DataFrame:
    """Two groups of rows that contradict each other; ``w`` says which to believe."""
    draws = np.random.default_rng(seed)
    colour = draws.choice(["red", "blue"], N)
    believed = draws.random(N) < 0.5
    return pl.DataFrame(
        {
            "colour": colour,
            "noise": draws.choice(["p", "q", "r"], N),
            "click": ((colour == "red") == believed).astype(int),
            "purchase": ((colour == "red") & believed).astype(int),
            "w": np.where(believed, 3.0, 0.1),
        }
    )


def split(**schema: Any) -> Dataset:
    return Dataset.from_frame(frame(), label="click", schema=schema).split(by="random", seed=1)


def test_rows_count_by_their_weight() -> None:
    data = split(weight="w", other_labels=["purchase"])
    assert data.schema.names == ("colour", "noise")
    weight = data.train.extras.weight
    assert weight is not None
    assert data.whole_table.extras.weight.mean() == pytest.approx(1)  # type: ignore[union-attr]
    model = DeepFM(4, (8,), training=QUICK).fit(data.train, data.tune)
    red = data.test.columns["colour"].to_numpy() == "red"
    assert auc(red, model.logits(data.test.rows)) == 1.0  # the believed rows say: red
    plain = DeepFM(4, (8,), training=QUICK).fit(split(drop=["w", "purchase"]).train)
    odds = plain.logits(data.test.rows)
    assert abs(odds[red].mean() - odds[~red].mean()) < 0.5


def test_weight_two_equals_a_row_twice() -> None:
    """With one batch an epoch, the loss is the same sum."""
    table = frame().head(200).with_columns(w=pl.Series([2.0, 1.0] * 100))
    doubled = pl.concat([table.with_columns(w=1.0), table[::2].with_columns(w=1.0)])
    settings = Training(epochs=1, batch_size=10_000, unknown_rate=0)
    states = []
    for one in (table, doubled):
        data = Dataset.from_splits(
            *(one, one, one),
            schema=Dataset.from_frame(
                table, label="click", schema={"weight": "w", "other_labels": ["purchase"]}
            ).schema,
        )
        states.append(DeepFM(2, (4,), training=settings).fit(data.train).state)
    for name in ("bias", "mlp.0.weight"):
        np.testing.assert_allclose(states[0][name], states[1][name], atol=1e-5)


def test_other_labels_are_kept_and_are_no_fields() -> None:
    data = split(other_labels=["purchase"], drop=["w"])
    assert "purchase" not in data.schema.names
    assert data.schema.other_labels == ("purchase",)
    for part in (data.train, data.gate):
        expected = part.columns["colour"].to_numpy() == "red"
        assert ((part.extras.labels["purchase"] == 1) <= expected).all()
    assert len(data.train.extras.labels["purchase"]) == len(data.train)


@pytest.mark.parametrize(
    "weight, message",
    [
        ([-1.0, 1.0], "'w' must be a number ≥ 0 in every row"),
        ([None, 1.0], "'w' must be a number ≥ 0 in every row"),
        ([0.0, 0.0], "'w' must be a number ≥ 0"),
        (["much", "1"], "'w' must be a number ≥ 0"),
    ],
)
def test_weights_that_are_none_are_refused(weight: list[Any], message: str) -> None:
    table = frame().with_columns(w=pl.Series(weight * (N // 2)))
    with pytest.raises(DataError, match=message):
        Dataset.from_frame(table, label="click", schema={"weight": "w"})


def test_one_column_in_two_roles_is_refused() -> None:
    with pytest.raises((DataError, SchemaError), match="role"):
        split(weight="click")
    with pytest.raises(DataError, match="no column 'bought' as another label"):
        split(other_labels=["bought"])
