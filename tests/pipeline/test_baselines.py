"""Trivial models at equal bytes: as large as fits, trained alike, the same for any workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune._support import byte_count
from recprune.artifact import read_artifact, stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.metrics import auc
from recprune.models import DLRM, FM, LR, DeepFM, FinalMLP, Training
from recprune.pipeline import Baselines, Effort, baselines
from recprune.pipeline import recipes as ways
from recprune.pruning import cut, encode, encoded_size, retrain
from tests.planted import PAIRS, STRONG, planted_frame, small_data

NAMES = ["narrower dense", "minimum count", "random fields 1", "random fields 2"]
NAMES += ["global magnitude", "int8 alone"]
EFFORT = Effort(epochs=1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(planted_frame(4000, noise=4), label="y").split(by="random")


@pytest.fixture(scope="module")
def full(data: Dataset) -> DeepFM:
    return DeepFM(16, (32, 16), Training(epochs=3)).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def budget(full: DeepFM) -> int:
    return encoded_size(full) * 3 // 5


@pytest.fixture(scope="module")
def found(data: Dataset, full: DeepFM, budget: int) -> Baselines:
    return baselines(data, bytes=budget, full=full, effort=EFFORT, draws=2, seed=5)


def test_each_is_there_with_the_bytes_it_has(found: Baselines, budget: int) -> None:
    assert [b.name for b in found] == NAMES
    for each in found:
        assert each.fits == (each.bytes <= budget) == (each.name != "int8 alone")
        dense = stored_size(each.model.artifact())
        if each.name == "global magnitude":
            assert dense > budget >= each.bytes
            assert each.bytes == stored_size(each.model.artifact(), zeros=False)
        else:
            assert each.bytes == dense
    assert found["full"].bytes > found["int8 alone"].bytes > budget


def test_each_is_an_ordinary_ranker(found: Baselines, data: Dataset, tmp_path: Path) -> None:
    for each in found:
        rows = each.model.aligned(data.gate)
        logits = each.model.logits(rows.rows)
        assert each.metrics["auc"] == auc(rows.label, logits)
        each.model.save(tmp_path / each.name)
        scorer = rp.load(tmp_path / each.name)
        shown = 1 / (1 + np.exp(-logits.astype(float)))
        np.testing.assert_allclose(scorer.score(data.gate.columns), shown, atol=1e-5)
        table = {e for n, e in each.model.plan.encoding.items() if n.startswith("table.")}
        assert table == {"int8"}


def test_nothing_larger_would_fit(full: DeepFM, data: Dataset, budget: int) -> None:
    train = data.train

    def fits(ranker) -> bool:
        return encoded_size(ranker) <= budget

    narrow = ways.narrower(full, train, budget, 0).start
    wider = [max(n, m) for n, m in zip(narrow.hidden.sizes, (32, 16), strict=True)]
    assert fits(narrow)
    assert not fits(full.like(dim=narrow.dim + 1, hidden=narrow.hidden).begin(train))
    assert narrow.hidden.sizes == tuple(wider) or not fits(
        full.like(dim=narrow.dim, hidden=tuple(n + 1 for n in narrow.hidden.sizes)).begin(train)
    )
    for draw in (1, 2):
        drawn = ways.random_fields(full, train, budget, 0, draw).start
        names = drawn.encoder.schema.names
        for other in set(train.encoder.schema.names) - set(names):
            whole = tuple(n for n in train.encoder.schema.names if n in {*names, other})
            assert not fits(full.like().begin(train, train.encoder.take(whole, {})))
    small = ways.magnitude(full, budget)
    left = [a != 0 for a in small.start.state.values() if a.ndim > 1]
    kept, total = sum(int(m.sum()) for m in left), sum(m.size for m in left)
    assert small.bytes <= budget < small.bytes + 2 * max(1, total * 2**-13) + 64
    sizes = np.concatenate([np.abs(a).ravel() for a in full.state.values() if a.ndim > 1])
    there = [np.abs(a[a != 0]) for a in small.start.state.values() if a.ndim > 1]
    least = np.concatenate(there).min()
    assert (sizes >= least).sum() == kept  # the largest of all, wherever they are


def test_minimum_count_keeps_the_values_that_are_frequent_enough(
    full: DeepFM, data: Dataset, budget: int
) -> None:
    recipe = ways.minimum_count(full, data.train, budget, 0)
    counts = {name: data.train.columns[name].value_counts() for name in data.schema.names}
    kept = {n: set(recipe.start.encoder.parts[n].values) for n in data.schema.names}
    least = min(
        count for n, c in counts.items() for value, count in c.iter_rows() if value in kept[n]
    )
    for name, count in counts.items():
        assert kept[name] == {v for v, times in count.iter_rows() if times >= least}
    # A step less rare would not fit.
    rarer = max(t for c in counts.values() for t in c["count"].to_list() if t < least)
    assert rarer < int(recipe.settings.split()[1].replace(",", "")) <= least
    rows = {
        n: np.flatnonzero(
            [True, True, *(dict(counts[n].iter_rows())[v] >= rarer for v in p.values)]
        )
        for n, p in data.train.encoder.parts.items()
    }
    encoder = data.train.encoder.take(data.schema.names, rows)
    assert encoded_size(full.like().begin(data.train, encoder)) > budget >= recipe.bytes


def test_zeros_of_global_magnitude_stay_zero(
    found: Baselines, full: DeepFM, budget: int, data: Dataset
) -> None:
    start = ways.magnitude(full, budget).start.state
    tuned = found["global magnitude"].model.state
    weights = [n for n, a in start.items() if a.ndim > 1]
    for name in weights:
        assert not tuned[name][start[name] == 0].any()
    moved = [tuned[n][start[n] != 0] != encode(full).state[n][start[n] != 0] for n in weights]
    # Of those in int8 and fp16 many move by less than a step.
    assert np.concatenate(moved).mean() > 0.25


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits(
    found: Baselines, data: Dataset, full: DeepFM, budget: int
) -> None:
    again = baselines(
        data, bytes=budget, full=full, effort=EFFORT, draws=2, seed=5, executor=Executor(2)
    )
    for one, other in zip(found, again, strict=True):
        assert one.to_json() == other.to_json()
        for name, tensor in one.model.state.items():
            assert tensor.tobytes() == other.model.state[name].tobytes()


def test_neither_gate_nor_test_rows_choose_anything(
    found: Baselines, data: Dataset, full: DeepFM, budget: int
) -> None:
    parts = dict(data.fitted.parts)
    for part in ("gate", "test"):
        parts[part] = replace(parts[part], label=1 - parts[part].label)
    turned = replace(data, fitted=replace(data.fitted, parts=parts))
    again = baselines(turned, bytes=budget, full=full, effort=EFFORT, draws=2, seed=5)
    for one, other in zip(found, again, strict=True):
        assert one.settings == other.settings
        assert one.metrics["auc"] == pytest.approx(1 - other.metrics["auc"])
        for name, tensor in one.model.state.items():
            np.testing.assert_array_equal(other.model.state[name], tensor)


def test_other_draws_are_other_fields(found: Baselines) -> None:
    first, second = (set(found[n].model.encoder.schema.names) for n in NAMES[2:4])
    assert first != second


@pytest.mark.slow
def test_the_planted_fields_beat_random_ones_at_equal_bytes() -> None:
    data = Dataset.from_frame(planted_frame(12_000, noise=20), label="y").split(by="random")
    full = DeepFM(4, (16,)).fit(data.train, data.tune)
    true = [*STRONG, *PAIRS]
    small = encode(rp.prune(full, data, {"fields": true}))
    size = stored_size(small.artifact())
    found = baselines(data, bytes=size, full=full, draws=2)
    reached = auc(data.gate.label, small.logits(small.aligned(data.gate).rows))
    for name in NAMES[2:4]:
        assert found[name].bytes <= size
        assert found[name].metrics["auc"] < reached - 0.05


def test_the_table_and_the_frame(found: Baselines, budget: int) -> None:
    lines = str(found).splitlines()
    assert [line[:17].strip() for line in lines] == ["baseline", "full", *NAMES]
    assert all(len(line) > 60 for line in lines)
    frame = found.to_frame()
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == ["name", "settings", "bytes", "fits", "auc", "logloss"]
    assert frame["name"].to_list() == ["full", *NAMES]
    assert found.best.metrics["auc"] == frame.filter("fits")["auc"].max()


def test_a_budget_that_none_can_meet_names_the_smallest(data: Dataset, full: DeepFM) -> None:
    with pytest.raises(ParameterError, match=r"at least ([\d,]+), the smallest") as told:
        baselines(data, bytes=50, full=full)
    least = int(str(told.value).split("at least ")[1].split(", the")[0].replace(",", ""))
    found = baselines(data, bytes=least, full=full, effort=Effort(epochs=0), draws=1)
    assert [b.bytes for b in found if b.fits] == [least]
    assert found.best is not None
    assert {b.name for b in found if b.model is None} == {
        b.name for b in found if not b.fits and b.name != "int8 alone"
    }
    assert "the smallest there is; not trained" in str(found)


@pytest.mark.parametrize(
    "maker",
    [LR(), FM(4), DLRM(4, (8,), (6,)), FinalMLP(4, (8, 4), heads=2)],
    ids=lambda maker: type(maker).__name__,
)
def test_every_kind_of_ranker(maker) -> None:
    data = small_data(2000)
    full = maker.like(training=Training(epochs=1))
    size = encoded_size(full.like().fit(data.train)) * 4 // 5
    found = baselines(data, bytes=size, full=full, effort=EFFORT, draws=1)
    assert not full.fitted  # a copy is
    assert all(b.fits for b in found if b.model is not None and b.name != "int8 alone")
    assert ("narrower dense" in {b.name for b in found}) == (not isinstance(maker, LR))


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "a number of bytes ≥ 1"),
        ({"bytes": "2 XB"}, "a number of bytes ≥ 1, or a text such as '2 MB'"),
        ({"bytes": 0}, "a number of bytes"),
        ({"bytes": "2 MB", "draws": 0}, "'draws' parameter of baselines"),
        ({"bytes": "2 MB", "full": rp.MF()}, "a ranker, no retriever"),
    ],
)
def test_bad_parameters_are_named(data: Dataset, options: dict, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        baselines(data, **options)
    with pytest.raises(ParameterError, match="'rounds' parameter of Effort"):
        Effort(rounds=0)
    with pytest.raises(ParameterError, match="'pace' parameter of Effort"):
        Effort(pace=0)
    with pytest.raises(ParameterError, match="no kind of baseline 'narrow dense'"):
        baselines(data, bytes="2 MB", kinds=["narrow dense"])


def test_only_the_kinds_asked_for(
    data: Dataset, full: DeepFM, budget: int, found: Baselines
) -> None:
    some = baselines(
        data, bytes=budget, full=full, effort=EFFORT, kinds=["int8 alone", "narrower dense"], seed=5
    )
    assert [b.name for b in some] == ["narrower dense", "int8 alone"]
    for each in some:
        assert each.metrics == found[each.name].metrics


def test_trained_anew_the_better_is_taken(data: Dataset, full: DeepFM) -> None:
    tuned, anew = Effort(epochs=1, pace=0.1), Effort(epochs=1, pace=0.1, anew=True)
    tuning = tuned.tuning(full, data)
    small = cut(full, data.train, {"dims": 2, "neurons": (4, 2)})
    score = {
        name: model.held_out(model.aligned(data.tune))()
        for name, model in {
            "tuned": tuned.given_to(small, tuning),
            "anew": retrain(small, tuning),
            "both": anew.given_to(small, tuning),
        }.items()
    }
    assert score["both"] == max(score["tuned"], score["anew"])
    assert score["tuned"] != score["anew"]


def test_zeros_are_not_trained_anew(data: Dataset, full: DeepFM) -> None:
    effort = Effort(epochs=1, anew=True)
    (one,) = baselines(
        data, bytes=encoded_size(full) // 3, full=full, effort=effort, kinds=["global magnitude"]
    )
    zeros = sum(int((array == 0).sum()) for array in one.model.state.values())
    assert zeros > 0.5 * full.params


@pytest.mark.parametrize(
    "given, count",
    [("2 MB", 2_000_000), ("2MiB", 2 << 20), ("0.5 kb", 500), (" 7 ", 7), ("1e3", 0), ("-1 MB", 0),
     (2.5, 0), (True, 0), ("MB", 0), (np.int64(9), 9), ("9" * 400, 10**400)],
)  # fmt: skip
def test_sizes_are_read(given: object, count: int) -> None:
    if count:
        assert byte_count(given, "prune") == count
        return
    with pytest.raises(ParameterError, match="'bytes' parameter of prune"):
        byte_count(given, "prune")


def test_real_rows_at_the_bytes_of_a_pruned_model(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "vehicle_coupon/in-vehicle-coupon-recommendation.csv.gz"
    data = Dataset.read(file, label="Y").split(by="random", seed=0)
    full = DeepFM(8, (32, 16), Training(epochs=4)).fit(data.train, data.tune)
    small = encode(rp.prune(full, data, {"rows": 0.6, "dims": 4, "neurons": 0.5}))
    size = small.save(tmp_path / "small")
    found = baselines(data, full=full, pruned=small, draws=2)
    assert found.budget == size
    assert len(found) == 6
    logits = small.logits(small.aligned(data.gate).rows)
    assert found["pruned"].metrics["auc"] == auc(data.gate.label, logits)
    (axes,) = found.plot().axes
    shown = [text.get_text() for text in axes.texts]
    assert shown == [b.name for b in (*found.given, *found) if b.model is not None]
    for each in found:
        if each.model is None or each.name == "int8 alone":
            continue
        assert each.fits
        written = each.model.save(tmp_path / each.name)
        assert written == stored_size(read_artifact(tmp_path / each.name))
        assert written <= size or each.name == "global magnitude"
        assert each.metrics["auc"] > 0.55
