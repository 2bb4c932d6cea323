"""Schedules, class weights, the metric that stops, and losses that are no number or explode."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from recprune.data import Dataset
from recprune.encoding import Rows
from recprune.errors import DataError, ParameterError, TrainingError
from recprune.metrics import gauc, log_loss
from recprune.models import LR, CrossEntropy, DeepFM, Schedule, Target, Training
from recprune.models.guard import Guard
from recprune.models.step import Step
from tests.pipeline.test_run import shop
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(3000)


@pytest.mark.parametrize("warm_up", [0, 1, 7])
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_schedule_is_torchs(warm_up: int, decay: str) -> None:
    steps = 40
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    kinds = torch.optim.lr_scheduler
    rest = {
        "none": lambda: kinds.ConstantLR(optimiser, 1.0),
        "linear": lambda: kinds.LinearLR(optimiser, 1.0, 0.0, steps - warm_up),
        "cosine": lambda: kinds.CosineAnnealingLR(optimiser, steps - warm_up),
    }[decay]()
    warming = kinds.LinearLR(optimiser, 1 / max(warm_up, 1), 1.0, max(warm_up - 1, 1))
    whole = kinds.SequentialLR(optimiser, [warming, rest], [warm_up]) if warm_up else rest
    schedule = Schedule(warm_up, decay)  # type: ignore[arg-type]
    for step in range(steps):
        assert 0.5 * schedule.factor(step, steps) == pytest.approx(whole.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        whole.step()


@given(
    st.one_of(st.integers(0, 50), st.floats(0, 0.99)),
    st.sampled_from(["none", "linear", "cosine"]),
    st.integers(1, 200),
)
def test_the_rate_rises_then_never_rises_again(warm_up: float, decay: str, steps: int) -> None:
    schedule = Schedule(warm_up, decay)  # type: ignore[arg-type]
    factors = [schedule.factor(step, steps) for step in range(steps)]
    assert all(0 <= f <= 1 for f in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_training_follows_the_schedule(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    take = Step.take

    def spied(step: Step, *arguments: object) -> float:
        rates.append(step.dense.param_groups[0]["lr"])
        assert step.lazy.learning_rate == pytest.approx(3 * rates[-1])
        return take(step, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Step, "take", spied)
    schedule = Schedule(0.25, "linear")
    model = LR(Training(epochs=4, learning_rate=0.1, schedule=schedule, patience=4))
    model.fit(data.train, data.tune)
    expected = [0.1 * schedule.factor(step, len(rates)) for step in range(len(rates))]
    np.testing.assert_allclose(rates, expected)
    assert [e.learning_rate for e in model.history[1:]] == pytest.approx(
        expected[len(rates) // 4 - 1 :: len(rates) // 4]
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"warm_up": -1}, "'warm_up' parameter of Schedule"),
        ({"warm_up": 1.5}, "'warm_up' parameter of Schedule"),
        ({"warm_up": float("nan")}, "'warm_up' parameter of Schedule"),
        ({"decay": "cosin"}, "'decay' parameter of Schedule must be one of 'none', 'linear'"),
    ],
)
def test_bad_schedules_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Schedule(**options)


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", True),
        ("batch_size", 2.5),
        ("patience", 1.5),
        ("learning_rate", "0.1"),
        ("unknown_rate", float("inf")),
    ],
)
def test_bad_options_are_named(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter of Training"):
        Training(**{name: value})


@pytest.mark.parametrize("classes", ["balanced", (0.5, 4.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_are_scikit_learns(classes: object, weighted: bool) -> None:
    draws = np.random.default_rng(0)
    label = (draws.random(300) < 0.2).astype(np.float32)
    rows = draws.random(300).astype(np.float32) if weighted else None
    given = classes if classes == "balanced" else dict(enumerate(classes))  # type: ignore[arg-type]
    expected = compute_sample_weight(given, label) * (1 if rows is None else rows)
    weights = Target(label, rows=rows, classes=classes).weights()  # type: ignore[arg-type]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    logit = draws.normal(size=300).astype(np.float32)
    loss = CrossEntropy(Target(label, rows=rows, classes=classes)).loss(  # type: ignore[arg-type]
        torch.from_numpy(logit), torch.arange(300)
    )
    each = np.logaddexp(0, logit) - label * logit
    assert float(loss) == pytest.approx((expected * each).mean(), rel=1e-5)


def test_class_weights_of_several_labels_are_each_ones_own() -> None:
    label = np.array([[0, 1], [0, 1], [0, 0], [1, 1]], np.float32)
    rows = np.array([1, 2, 0.5, 0.5], np.float32)
    whole = Target(label, rows=rows, classes="balanced").weights()
    for column in range(2):
        alone = Target(label[:, column], rows=rows, classes="balanced").weights()
        np.testing.assert_allclose(whole[:, column], alone)  # type: ignore[index]
    loss = CrossEntropy(Target(label, rows=rows, classes="balanced")).loss(
        torch.zeros(4, 2), torch.arange(4)
    )
    assert float(loss) == pytest.approx(math.log(2) * whole.mean(), rel=1e-5)  # type: ignore[union-attr]


def test_balanced_training_calibrates_as_scikit_learns_does() -> None:
    draws = np.random.default_rng(0)
    n = 20_000
    group = draws.integers(0, 4, n)
    label = (draws.random(n) < np.array([0.02, 0.05, 0.1, 0.2])[group]).astype(int)
    frame = {"group": [f"g{g}" for g in group], "y": label}
    data = Dataset.from_frame(pl.DataFrame(frame), label="y").split(by="random")
    training = Training(
        epochs=10, learning_rate=0.02, class_weight="balanced", unknown_rate=0, metric="logloss"
    )
    model = LR(training).fit(data.train)
    codes = data.train.rows.codes
    peer = LogisticRegression(C=1e6, class_weight="balanced").fit(
        np.eye(codes.max() + 1)[codes[:, 0]], data.train.label
    )
    expected = peer.predict_proba(np.eye(codes.max() + 1)[codes[:, 0]])[:, 1]
    assert np.abs(model.predict(data.train.rows) - expected).max() < 0.02
    assert model.predict(data.train.rows).mean() > 3 * data.train.label.mean()


@pytest.mark.parametrize("given", ["balance", (1.0,), (1.0, 0.0), (1.0, math.inf), 3])
def test_bad_class_weights_are_named(given: object) -> None:
    with pytest.raises(ParameterError, match="'class_weight' parameter of Training"):
        Training(class_weight=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["logloss", "brier", "average_precision", "accuracy", "gauc"])
def test_the_metric_named_decides_which_epoch_stays(name: str) -> None:
    data = Dataset.from_frame(shop(80), label="bought", user="user_id", item="item_id")
    data = data.split(by="random")
    training = Training(epochs=12, learning_rate=0.05, metric=name, patience=3)
    model = DeepFM(4, (8,), training=training).fit(data.train, data.tune)
    scores = [e.score for e in model.history]
    lower = name in ("logloss", "brier")
    assert min(scores) != max(scores)
    best = min(scores) if lower else max(scores)
    assert model.held_out(data.tune)() == pytest.approx(best, abs=1e-12)
    assert scores.index(best) == len(scores) - 4 or len(scores) == 13
    label, users = data.tune.label, data.tune.users
    if name == "logloss":
        assert best == pytest.approx(log_loss(label, model.predict(data.tune.rows)), rel=1e-4)
    if name == "gauc":
        assert best == gauc(label, model.logits(data.tune.rows), users)


def test_a_metric_that_cannot_be_had_is_refused(data: Dataset) -> None:
    assert Training(metric="PR-AUC").metric == "average_precision"
    with pytest.raises(ParameterError, match="Did you mean 'logloss'"):
        Training(metric="loglos")
    with pytest.raises(ParameterError, match="a metric of rows, such as 'auc'"):
        LR(Training(metric="ndcg@10")).fit(data.train, data.tune)
    with pytest.raises(DataError, match="'gauc' is a mean over users"):
        LR(Training(metric="gauc")).fit(data.train, data.tune)


@pytest.mark.parametrize("fault", ["label", "number", "weight"])
def test_the_rows_at_fault_are_named(data: Dataset, fault: str) -> None:
    train, rows = data.train, [17, 900]
    shares, label = train.rows.shares.copy(), train.label.copy()
    extras = replace(train.extras, weight=np.ones(len(train), np.float32))
    {"label": label, "number": shares[:, 0], "weight": extras.weight}[fault][rows] = np.nan
    broken = replace(train, label=label, rows=Rows(train.rows.codes, shares), extras=extras)
    with pytest.raises(TrainingError, match=r"is nan in epoch 1, step \d+, at row") as caught:
        LR(Training(epochs=2, unknown_rate=0)).fit(broken)
    assert set(caught.value.rows) <= set(rows)
    assert caught.value.rows


def test_a_rate_that_is_too_high_is_said(data: Dataset) -> None:
    training = Training(epochs=30, learning_rate=0.9, patience=30)
    with pytest.raises(
        TrainingError, match=r"has exploded from .* lower the learning rate"
    ) as caught:
        DeepFM(16, (64, 64), training=training).fit(data.train, data.tune)
    assert len(caught.value.rows) == 128


def guarded(losses: list[float]) -> None:
    guard = Guard(CrossEntropy(Target(np.zeros(1, np.float32))), 100, 0.1)
    for loss in losses:
        guard.loss(torch.zeros(1), torch.arange(1))
        guard.check(loss)


@given(
    st.floats(0.0, 1e3),
    st.lists(st.floats(0.0, 12.0), min_size=1, max_size=60),
)
def test_noisy_losses_raise_no_alarm(level: float, noise: list[float]) -> None:
    guarded([level + n for n in noise])


def test_of_a_loss_of_the_whole_batch_all_rows_are_named() -> None:
    class Pairs:
        def rows(self, rows: Rows, chosen: torch.Tensor, draws: torch.Generator) -> Rows:
            return rows

        def loss(self, output: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
            return (output[0] - output[1]).mean()

    guard = Guard(Pairs(), 100, 0.1)
    guard.loss(torch.tensor([1.0, math.nan]), torch.tensor([7, 3]))
    with pytest.raises(
        TrainingError, match=r"is nan in epoch 1, step 1, at rows 3, 7 of"
    ) as caught:
        guard.check(math.nan)
    assert caught.value.rows == (7, 3)


def test_one_bad_batch_is_no_explosion_and_a_lasting_rise_is() -> None:
    guarded([0.7, 100.0] + [0.7] * 50 + [100.0] + [0.7] * 50)
    guarded([0.001] * 50 + [10.0] * 50)  # a model trained further begins near 0
    with pytest.raises(TrainingError, match=r"epoch 1, step 5\d"):
        guarded([0.7] * 50 + [30.0] * 10)
