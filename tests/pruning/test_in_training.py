"""Tables that never hold more than their budget, from the first step of training on."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.lookups import FIRST
from recprune.metrics import auc
from recprune.models import MF, RANKERS, DeepFM, FwFM, Ranker, Training
from recprune.models.retrieval import Retriever
from recprune.models.step import Step
from recprune.pruning import cut, in_training, plan
from tests.planted import small_data

COHORTS, ITEMS, OTHERS = 4, 30, 4
TRAINING = Training(epochs=4, device="cpu", learning_rate=1e-2)


def table(drifts: bool, n: int = 8_000) -> Dataset:
    """Items of four cohorts; where it drifts, each lives for a quarter of the training rows' time."""
    draws = np.random.default_rng(0)
    time = np.sort(draws.random(n))
    alive = np.minimum((time / 0.7 * COHORTS).astype(int), COHORTS - 1)
    # Without drift, a few items are used much more than others.
    whole = np.minimum(draws.geometric(0.03, n) - 1, COHORTS * ITEMS - 1)
    item = alive * ITEMS + draws.integers(0, ITEMS, n) if drifts else whole
    other = draws.integers(0, OTHERS, n)
    logit = draws.normal(0, 1.5, COHORTS * ITEMS)[item] + 0.5 * (other - 1.5)
    label = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    columns = {"item": [f"i{v:03d}" for v in item], "other": [f"o{v}" for v in other]}
    frame = pl.DataFrame({**columns, "t": time, "y": label})
    return Dataset.from_frame(frame, label="y", time="t").split(by="time")


@pytest.fixture(scope="module")
def drifting() -> Dataset:
    return table(drifts=True)


@pytest.fixture(scope="module")
def steady() -> Dataset:
    return table(drifts=False)


def score(model: Ranker, data: Dataset) -> float:
    return auc(data.test.label, model.logits(model.aligned(data.test).rows))


def cohorts(model: Ranker) -> np.ndarray:
    items = [int(v[1:]) for v in model.encoder.parts["item"].values]
    return np.bincount(np.array(items) // ITEMS, minlength=COHORTS)


MODEL = DeepFM(4, (16,), TRAINING)


def test_what_died_out_makes_room_for_what_is_new(drifting: Dataset) -> None:
    count = ITEMS + OTHERS + 5
    small = in_training(MODEL, drifting, count, order="time")
    assert cohorts(small)[-1] == ITEMS
    assert cohorts(small)[: COHORTS - 2].sum() == 0
    assert len(small.encoder.parts["other"].values) == OTHERS
    half = drifting.train.take(np.arange(len(drifting.train) // 2))
    uses = np.bincount(half.rows.codes[:, 0], minlength=drifting.encoder.sizes[0])[FIRST:]
    best = np.sort(np.argsort(-uses, kind="stable")[: count - OTHERS]) + FIRST
    rows = np.concatenate([[0, 1], best]).astype(np.int32)
    static = MODEL.like().begin(drifting.train, kept_rows={"item": rows})
    static.train_on(drifting.train, valid=drifting.tune)
    assert score(small, drifting) > score(static, drifting) + 0.08


def test_where_nothing_drifts_it_is_as_good_as_a_cut(steady: Dataset) -> None:
    small = in_training(MODEL, steady, 0.4)
    full = MODEL.like().fit(steady.train, steady.tune)
    pruned = cut(full, steady.train, {"rows": 0.4}, {"rows": "activity"})
    pruned.train_on(steady.train, valid=steady.tune)
    assert small.params == pruned.params
    assert score(small, steady) == pytest.approx(score(pruned, steady), abs=0.01)
    ours, theirs = (set(m.encoder.parts["item"].values) for m in (small, pruned))
    assert len(ours & theirs) > 0.9 * len(theirs)


def test_no_tensor_is_as_large_as_the_vocabulary(
    drifting: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Step] = []
    drawn: list[int] = []

    class Spy(Step):
        def take(self, *given: Any, **options: Any) -> float:
            seen.append(self)
            return super().take(*given, **options)

    network = rp.models.ranker.new_network

    def spy(encoder: Any, layout: Any, *given: Any) -> Any:
        drawn.append(sum(encoder.sizes))
        return network(encoder, layout, *given)

    monkeypatch.setattr("recprune.models.together.Step", Spy)
    monkeypatch.setattr(rp.models.ranker, "new_network", spy)
    small = in_training(MODEL, drifting, 20)
    most = 20 + 2 * FIRST
    assert max(drawn) == most
    step = seen[-1]
    assert step.mean.rows is not None
    tensors = [step.net.table, step.lazy.first, step.lazy.second, step.mean.rows.mean]
    assert {tuple(t.shape) for t in tensors} == {(most, 5)}
    assert len(step.prior.unknown) == len(step.prior.group) == most
    assert sum(small.encoder.sizes) == most


def test_it_is_an_ordinary_smaller_ranker(steady: Dataset, tmp_path) -> None:
    small = in_training(MODEL, steady, 0.4)
    full = MODEL.like().begin(steady.train)
    assert full.apply(small.plan).layout.to_json() == small.layout.to_json()
    assert full.apply(small.plan).encoder.hash() == small.encoder.hash()
    small.save(tmp_path / "small")
    again = rp.load(tmp_path / "small")
    rows = small.aligned(steady.test).rows
    np.testing.assert_allclose(again.logits(rows), small.logits(rows), atol=1e-5)
    smaller = small.apply(plan(small, steady, {"rows": 0.5, "neurons": 0.5}))
    assert smaller.params < small.params
    both = small.plan | smaller.plan
    np.testing.assert_array_equal(both.keep["rows.item"], smaller.plan.keep["rows.item"])
    small.train_on(steady.train, valid=steady.tune)


def test_rows_and_weights_are_those_of_the_best_epoch(
    drifting: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("recprune.pruning.in_training")  # its function has the same name

    def trained(epochs: int, *scores: float) -> Ranker:
        told = iter(scores)
        monkeypatch.setattr(module, "held_out_score", lambda *_: next(told))
        model = MODEL.like(training=replace(TRAINING, epochs=epochs, patience=9))
        return in_training(model, drifting, 20, half_life=0.01)  # rows come and go all the time

    early, late = trained(1, 0.5, 0.9), trained(3, 0.5, 0.9, 0.6, 0.7)
    last = trained(3, 0.5, 0.6, 0.7, 0.9)
    for name, array in early.state.items():
        np.testing.assert_array_equal(late.state[name], array)
    kept = [m.plan.keep["rows.item"].tolist() for m in (early, late, last)]
    assert kept[0] == kept[1] != kept[2]


def test_the_same_seed_gives_the_same_bytes(drifting: Dataset) -> None:
    one, two = (in_training(MODEL, drifting, 20, order="time") for _ in range(2))
    np.testing.assert_array_equal(one.plan.keep["rows.item"], two.plan.keep["rows.item"])
    for name, array in one.state.items():
        np.testing.assert_array_equal(two.state[name], array)
    other = in_training(MODEL.like(seed=1), drifting, 20, order="time")
    assert any(not np.array_equal(other.state[n], a) for n, a in one.state.items())


@pytest.mark.parametrize("kind", [DeepFM, FwFM])
def test_with_room_for_all_it_is_training(kind: type[Ranker]) -> None:
    data = small_data(2_000)
    model = kind(4, training=TRAINING)
    whole, full = in_training(model, data, 1.0), model.like().fit(data.train, data.tune)
    for name, array in full.state.items():
        np.testing.assert_array_equal(whole.state[name], array)


@pytest.mark.parametrize(
    "kind", sorted(n for n, c in RANKERS.items() if not issubclass(c, Retriever))
)
def test_every_ranker_can(kind: str) -> None:
    data = small_data(1_000, second_label=kind == "SharedBottom")
    given = {} if kind == "LR" else {"dim": 4}
    small = in_training(RANKERS[kind](**given, training=replace(TRAINING, epochs=2)), data, 9)
    assert sum(small.encoder.sizes[:2]) == 9 + 2 * FIRST
    assert small.plan.keep["rows.shape"].tolist() == sorted(small.plan.keep["rows.shape"])


def test_fields_may_be_left_without_a_row(steady: Dataset) -> None:
    one = in_training(MODEL, steady, 1)
    sizes = dict(zip(one.encoder.schema.names, one.encoder.sizes, strict=True))
    assert sorted(sizes.values()) == [FIRST, FIRST + 1]
    none = in_training(MODEL.like(training=Training(epochs=0)), steady, 0.5)  # nothing was read yet
    assert none.encoder.sizes == (FIRST, FIRST + OTHERS)
    assert np.isfinite(none.logits(none.aligned(steady.test).rows)).all()
    numbers = Dataset.from_frame(
        pl.DataFrame({"x": np.arange(500) / 7, "y": np.arange(500) % 2}), label="y"
    ).split(by="random")
    model = in_training(MODEL.like(training=Training(epochs=1)), numbers, 0.5)
    assert model.encoder.sizes == numbers.encoder.sizes


def test_a_budget_of_bytes_is_kept() -> None:
    data = small_data(2_000)
    least = 4 * 5 * (2 * FIRST + sum(data.encoder.sizes[2:]))
    for more, rows in ((0, 0), (19, 0), (20 * 7, 7), (10**9, 35)):
        model = MODEL.like(training=Training(epochs=1))
        small = in_training(model, data, table_bytes=least + more)
        tables = [s for n, s in small.layout.shapes.items() if n.startswith("table.")]
        assert sum(4 * a * b for a, b in tables) == least + 20 * min(rows, _values(data))
    with pytest.raises(ParameterError, match=f"table_bytes.*at least {least:,}"):
        in_training(MODEL, data, table_bytes=least - 1)


def _values(data: Dataset) -> int:
    return sum(data.encoder.sizes[:2]) - 2 * FIRST


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "either rows or table_bytes"),
        ({"rows": 0.5, "table_bytes": 100}, "either rows or table_bytes"),
        ({"rows": 0.0}, "rows"),
        ({"rows": 0.5, "half_life": 0}, "half_life"),
        ({"rows": 0.5, "renewals": 0}, "renewals"),
        ({"rows": 0.5, "order": "tme"}, "'shuffled' or 'time'"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str, drifting: Dataset) -> None:
    with pytest.raises(ParameterError, match=message):
        in_training(MODEL, drifting, **options)


def test_what_cannot_be_done_is_said(drifting: Dataset) -> None:
    with pytest.raises(ParameterError, match="a ranker that learns from all rows"):
        in_training(MF(4), drifting, 0.5)
    with pytest.raises(ParameterError, match="no time column"):
        in_training(MODEL, small_data(500), 0.5, order="time")


def rooms(data: Dataset, **wanted: Any) -> list[int]:
    module = import_module("recprune.pruning.in_training")
    asked = DeepFM(3, (4,), TRAINING)
    return list(module._room(asked, data.train, wanted.get("rows"), wanted.get("table_bytes")))


def uses(data: Dataset, field: int) -> np.ndarray:
    codes = data.train.rows.codes[:, field]
    return np.bincount(codes, minlength=data.encoder.sizes[field])[FIRST:]


@pytest.mark.parametrize("wanted", [1, 6, 20, 0.25, 1.0, 1000])
def test_values_that_occur_most_have_the_room(wanted: float) -> None:
    data = small_data(800)
    count = [uses(data, f) for f in (0, 1)]
    total = sum(map(len, count))
    most = min(wanted, total) if isinstance(wanted, int) else round(wanted * total)
    best = np.argsort(-np.concatenate(count), kind="stable")[:most]
    expected = [int((best < len(count[0])).sum()), int((best >= len(count[0])).sum())]
    assert rooms(data, rows=wanted) == [*expected, *(s - FIRST for s in data.encoder.sizes[2:])]


def test_a_budget_pays_for_what_cannot_be_cut_first() -> None:
    data = small_data(800)
    row = 4 * (1 + 3)
    fixed = row * (2 * FIRST + sum(data.encoder.sizes[2:]))
    for more, rows in ((0, 0), (row - 1, 0), (row, 1), (12 * row, 12), (10**9, 35)):
        assert sum(rooms(data, table_bytes=fixed + more)[:2]) == rows
    for bad in (fixed - 1, True, -1, "2 MB"):
        with pytest.raises(ParameterError, match=f"table_bytes.*at least {fixed:,}: the rows"):
            rooms(data, table_bytes=bad)


def test_uses_decay_and_rows_are_renewed_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_data(800)
    module = import_module("recprune.pruning.in_training")
    asked: list[tuple[Any, ...]] = []

    class Spy(module.Admission):  # type: ignore[misc]
        def __init__(self, encoder: Any, room: Any, half: float, interval: int, seed: int) -> None:
            asked.append((list(room), half, interval, seed))
            super().__init__(encoder, room, half, interval, seed)

    monkeypatch.setattr(module, "Admission", Spy)
    model = DeepFM(3, (4,), replace(TRAINING, epochs=1, batch_size=128), seed=5)
    n, steps = len(data.train), -(-len(data.train) // 128)
    in_training(model, data, 9)
    in_training(model, data, 9, half_life=0.5, renewals=2)
    assert asked[0] == (rooms(data, rows=9), np.inf, 1, 5)
    assert asked[1] == (rooms(data, rows=9), 0.5 * n, -(-steps // 2), 5)
    timed = pl.DataFrame(
        {"a": [f"v{i % 9}" for i in range(400)], "t": np.arange(400), "y": np.arange(400) % 2}
    )
    by_time = Dataset.from_frame(timed, label="y", time="t").split(by="time")
    in_training(model, by_time, 5, order="time")
    assert asked[2][1] == pytest.approx(0.05 * len(by_time.train))
    for name, bad in (
        ("half_life", -1),
        ("half_life", np.nan),
        ("renewals", True),
        ("renewals", 1.5),
    ):
        with pytest.raises(ParameterError, match=f"'{name}' parameter of in_training must be"):
            in_training(model, data, 9, **{name: bad})
