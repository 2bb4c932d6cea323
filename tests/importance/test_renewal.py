"""One field renewed gives the logits of a whole forward pass, whatever the model is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recprune._support import stream
from recprune.encoding import Rows
from recprune.errors import ParameterError
from recprune.importance import importance, rank_fields, renewal
from recprune.metrics import auc
from recprune.models import DeepFM, Training
from recprune.runtime import Scorer
from tests.planted import small_data
from tests.runtime.drafts import MODELS, random_model
from tests.runtime.factory import MIXED, random_encoder, random_rows

CUTS: tuple[tuple[str, ...], ...] = ((), ("row", "dim", "neuron"))
DEEP = {"deepfm": {"parts": ["fm", "mlp"], "wide": True}, "lr": {"parts": [], "wide": True}}


def swapped(rows: Rows, encoder: Any, field: int, order: np.ndarray) -> Rows:
    """Return rows in which one field reads other rows' values."""
    codes, shares = rows.codes.copy(), rows.shares.copy()
    for array, slots in ((codes, encoder.slots[field]), (shares, encoder.share_slots[field])):
        array[:, slots] = array[order, slots]
    return Rows(codes, shares)


@pytest.mark.parametrize("kept", [1 << 30, 0], ids=["sums_kept", "sums_anew"])
@pytest.mark.parametrize("cut", CUTS, ids=["whole", "cut"])
@pytest.mark.parametrize("model", [*DEEP.values(), *MODELS.values()], ids=[*DEEP, *MODELS])
def test_equals_a_whole_forward_pass(
    model: Mapping[str, Any], cut: tuple[str, ...], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "KEPT_BYTES", kept)
    monkeypatch.setattr(renewal, "GROUP_BYTES", 3 * 3 * 45 * 24)  # three fields at once
    monkeypatch.setattr(renewal, "AT_ONCE", 60)  # blocks of 20 rows, the last one shorter
    artifact = random_model(random_encoder(MIXED, 1), model, 1, cut=cut)
    encoder, draws = artifact.encoder, np.random.default_rng(2)
    rows, scorer = random_rows(encoder, 60, 3), Scorer(artifact)
    held = renewal.Renewal(artifact, rows)
    np.testing.assert_allclose(held.logits, scorer.logits(rows), atol=1e-5)
    at = np.sort(draws.permutation(60)[:45])
    orders = [np.stack([draws.permutation(45) for _ in range(3)]) for _ in encoder.sizes]
    seen = []
    for field, scores in held.shuffled(range(len(orders)), at, orders.__getitem__):
        seen.append(field)
        for order, score in zip(orders[field], scores, strict=True):
            expected = scorer.logits(swapped(rows[at], encoder, field, order))
            bound = 1e-5 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(score, expected, atol=bound, rtol=0)
    assert seen == list(range(len(encoder.sizes)))


def test_weights_of_rows_count() -> None:
    """AUC counts a pair of rows by both weights."""
    data = small_data(3000)
    weight = np.where(data.tune.rows.codes[:, 0] % 2, 5.0, 0.5).astype(np.float32)
    model = DeepFM(4, (8,), training=Training(epochs=2)).fit(data.train)
    split = replace(data.tune, extras=replace(data.tune.extras, weight=weight))
    ours = importance(model, split, "fields", "permutation", 1, repeats=1).score
    rows, label = split.rows, split.label
    base = auc(label, model.logits(rows), weight)
    for i, name in enumerate(model.encoder.schema.names):
        order = stream(1, "permutation", name, 0).permutation(len(rows))
        drop = base - auc(label, model.logits(swapped(rows, model.encoder, i, order)), weight)
        assert ours[i] == pytest.approx(drop, abs=1e-5)


def test_more_rows_than_asked_are_sampled_alike_for_all_fields() -> None:
    data = small_data(3000)
    model = DeepFM(4, (8,), training=Training(epochs=2)).fit(data.train)
    few = rank_fields(model, data.tune, max_rows=100, repeats=2)
    chosen = np.sort(stream(0, "permutation rows").permutation(len(data.tune))[:100])
    same = rank_fields(model, data.tune.take(chosen), repeats=2)
    assert few.fields == same.fields
    np.testing.assert_array_equal(few.scores, same.scores)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"max_rows": 1}, {"repeats": 2.0}])
def test_odd_options_are_refused(wrong: dict[str, Any]) -> None:
    data = small_data(600)
    model = DeepFM(2, (), training=Training(epochs=1)).fit(data.train)
    with pytest.raises(ParameterError, match=f"'{next(iter(wrong))}' parameter of permutation"):
        importance(model, data.tune, "fields", "permutation", **wrong)


def test_a_field_of_one_value_costs_nothing() -> None:
    """Shuffling what is alike everywhere changes no logit: the drop is exactly 0."""
    data = small_data(3000)
    model = DeepFM(4, (8,), training=Training(epochs=2)).fit(data.train)
    same = data.tune.take(data.tune.rows.codes[:, 0] == data.tune.rows.codes[0, 0])
    scores = importance(model, same, "fields", "permutation").score
    assert scores[0] == 0
    assert np.all(scores[1:] != 0)
