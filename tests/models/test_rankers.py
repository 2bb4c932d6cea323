"""What every ranker must do, whichever class it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recprune.artifact import read_artifact
from recprune.data import Dataset
from recprune.encoding import Rows
from recprune.errors import ParameterError, RunError, TrainingError
from recprune.layout import Plan
from recprune.lookups import UNKNOWN
from recprune.metrics import auc
from recprune.models import FM, LR, DeepFM, Hidden, Penalty, Ranker, Training, ranker_of
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


def make(kind: str, **options: object) -> Ranker:
    training = Training(epochs=4, **options)  # type: ignore[arg-type]
    return {
        "lr": lambda: LR(training),
        "fm": lambda: FM(8, training),
        "deepfm": lambda: DeepFM(8, Hidden((16, 8), dropout=0.1), training),
    }[kind]()


@pytest.fixture(scope="module", params=["lr", "fm", "deepfm"])
def fitted(request: pytest.FixtureRequest, data: Dataset) -> Ranker:
    return make(request.param).fit(data.train, data.tune)


def test_it_learns_the_planted_rule(fitted: Ranker, data: Dataset) -> None:
    assert auc(data.test.label, fitted.logits(data.test.rows)) > 0.78


def test_the_logit_is_the_documented_formula(fitted: Ranker, data: Dataset) -> None:
    rows, state = data.test.rows[:50], fitted.state
    names, numeric = fitted.encoder.schema.names, fitted.encoder.numeric
    expected = np.zeros(50)
    for r in range(50):
        parts = []
        for i, name in enumerate(names):
            table, code = state[f"table.{name}"].astype(float), rows.codes[r, i]
            value = table[code]
            if i in numeric:
                share = rows.shares[r, numeric.index(i)]
                value = value + share * (table[min(code + 1, len(table) - 1)] - value)
            parts.append(value)
        logit = state["bias"][0] + sum(p[0] for p in parts)
        embedded = [p[1:] for p in parts]
        if "fm" in fitted.parts:
            for i in range(len(parts)):
                logit += sum(embedded[i] @ embedded[j] for j in range(i))
        if fitted.neurons:
            hidden = np.concatenate(embedded)
            for layer in range(len(fitted.neurons)):
                weight, bias = state[f"mlp.{layer}.weight"], state[f"mlp.{layer}.bias"]
                hidden = np.maximum(weight @ hidden + bias, 0)
            logit += (state["mlp.out.weight"] @ hidden)[0]
        expected[r] = logit
    np.testing.assert_allclose(fitted.logits(rows), expected, atol=1e-4)


def test_the_same_seed_gives_the_same_bytes(fitted: Ranker, data: Dataset) -> None:
    kind = type(fitted).__name__.lower()
    torch.rand(3)  # somebody else's draws must not matter
    again = make(kind).fit(data.train, data.tune)
    for name, tensor in fitted.state.items():
        np.testing.assert_array_equal(again.state[name], tensor)
    other = make(kind)
    other.seed = 1
    other.fit(data.train, data.tune)
    assert any(not np.array_equal(other.state[n], t) for n, t in fitted.state.items())


def test_training_leaves_the_global_stream_alone(data: Dataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    make("deepfm").fit(data.train, data.tune)
    assert torch.equal(torch.rand(4), expected)


def test_a_saved_model_comes_back_whole(fitted: Ranker, data: Dataset, tmp_path) -> None:
    fitted.save(tmp_path / "model")
    back = ranker_of(read_artifact(tmp_path / "model"))
    np.testing.assert_array_equal(back.logits(data.test.rows), fitted.logits(data.test.rows))


def test_the_empty_plan_is_the_identity(fitted: Ranker, data: Dataset) -> None:
    same = fitted.apply(Plan(fitted.layout.hash))
    np.testing.assert_array_equal(same.logits(data.test.rows), fitted.logits(data.test.rows))


def test_every_unit_is_declared(fitted: Ranker) -> None:
    covered = {(use.tensor, use.dim) for axis in fitted.layout.axes.values() for use in axis.uses}
    for name, shape in fitted.layout.shapes.items():
        if name in ("bias", "mlp.out.weight"):
            continue
        assert (name, 0) in covered, f"{name} cannot shrink"
        assert shape[0] > 0


def test_one_row_and_unknown_values_are_scored(fitted: Ranker) -> None:
    n_fields = len(fitted.encoder.schema.fields)
    shares = np.zeros((1, len(fitted.encoder.numeric)), np.float32)
    row = Rows(np.full((1, n_fields), UNKNOWN, np.int32), shares)
    assert np.isfinite(fitted.logits(row)).all()


def test_the_unknown_row_is_trained(fitted: Ranker) -> None:
    start = FM(8, Training(epochs=0)) if "fm" in fitted.parts else LR(Training(epochs=0))
    assert start.training.epochs == 0
    moved = [np.abs(fitted.state[f"table.{n}"][UNKNOWN, 0]) for n in fitted.encoder.schema.names]
    assert np.all(np.array(moved) > 0)


def test_an_l1_penalty_gives_exact_zeros(data: Dataset) -> None:
    free = make("deepfm").fit(data.train, data.tune)
    bound = make("deepfm", penalty=Penalty(l1=1.0)).fit(data.train, data.tune)
    share = {k: np.mean(m.state["mlp.0.weight"] == 0) for k, m in (("free", free), ("l1", bound))}
    assert share["free"] == 0
    assert share["l1"] > 0.05


def test_a_group_penalty_empties_whole_rows(data: Dataset) -> None:
    bound = make("deepfm", penalty=Penalty(group=2.0), patience=4).fit(data.train)
    table = bound.state["table.shape"][2:]
    empty = (table == 0).all(axis=1)
    some = (table == 0).any(axis=1)
    assert empty.any()
    np.testing.assert_array_equal(empty, some)


def test_an_l2_penalty_shrinks_weights(data: Dataset) -> None:
    free = make("deepfm").fit(data.train)
    bound = make("deepfm", penalty=Penalty(l2=1.0)).fit(data.train)
    assert np.linalg.norm(bound.state["mlp.0.weight"]) < 0.9 * np.linalg.norm(
        free.state["mlp.0.weight"]
    )


def test_early_stopping_returns_the_best_epoch(data: Dataset) -> None:
    model = DeepFM(8, (16,), training=Training(epochs=12, learning_rate=0.02, patience=2))
    model.fit(data.train, data.tune)
    scores = [e.score for e in model.history]
    assert auc(data.tune.label, model.logits(data.tune.rows)) == max(scores)
    assert len(scores) < 13


def test_an_exploding_loss_stops_the_run(data: Dataset) -> None:
    model = DeepFM(8, (16,), training=Training(epochs=1)).fit(data.train)
    with torch.no_grad():
        model.net.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is nan"):
        model.train_on(data.train)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dim": -1}, "'dim' parameter of DeepFM must be an int"),
        ({"dim": 0}, "at least 1 with hidden layers"),
        ({"hidden": (0,)}, "'hidden' parameter"),
    ],
)
def test_bad_parameters_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        DeepFM(**options)


def test_an_unfitted_model_says_so() -> None:
    with pytest.raises(RunError, match="not fitted yet"):
        _ = DeepFM().net
