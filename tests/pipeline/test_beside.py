"""What a report shows beside the search: baselines, seed noise, the way back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recprune._support import stream
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance import rank_fields
from recprune.layout import Plan
from recprune.metrics import auc
from recprune.models import LR, Ranker
from recprune.pipeline import RunConfig, bringing_back
from recprune.pipeline.beside import beside_the_search
from recprune.pipeline.bringing_back import bring_back, widened
from recprune.pipeline.searching import fit_reference
from recprune.pipeline.seed_noise import seed_noise
from recprune.pruning import cut, encoded_size, rotate
from tests.planted import planted_frame

CONFIG = RunConfig(epochs=3, tuning_epochs=1, dim=8, hidden=(16, 8))
NOISE = ("noise0", "noise1")
GONE = ("strong0", "strong1", *NOISE)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """A field whose effect no other tells (strong1), one with two copies, and noise."""
    return Dataset.from_frame(planted_frame(8000, noise=6), label="y").split(by="random")


@pytest.fixture(scope="module")
def full(data: Dataset) -> Ranker:
    return CONFIG.ranker().fit(data.train, data.tune)


@pytest.fixture(scope="module")
def found(full: Ranker, data: Dataset) -> Any:
    """As a search that had to do without two strong fields, and cut every kind of unit besides."""
    reference, tuning = fit_reference(full, data, CONFIG)
    ranking = rank_fields(reference, data.tune)
    fields = tuple(name for name in data.schema.names if name not in GONE)
    keep = {"fields": fields, "rows": 0.5, "dims": 4, "neurons": 0.5}
    model = cut(rotate(reference, data.train), data.train, keep, scored_on=data.tune)
    small = SimpleNamespace(model=model, bits="int4_row", bytes=encoded_size(model, "int4_row"))
    return SimpleNamespace(reference=reference, small=small, ranking=ranking, tuning=tuning)


@pytest.fixture(scope="module")
def back(found: Any, data: Dataset) -> dict[tuple[str, str], tuple[int, float]]:
    return {(r["unit"], r["name"]): (r["bytes"], r["auc"]) for r in bring_back(found, data)}


def test_every_kind_of_cut_thing_is_tried_alone(back) -> None:
    assert {unit for unit, _ in back} == {"field", "rows", "dims", "neurons", "tables"}
    assert {name for unit, name in back if unit == "field"} == set(GONE)
    assert {name for unit, name in back if unit == "tables"} == {"as int8", "as fp32"}
    assert all(size > 0 for size, _ in back.values())


def test_a_strong_field_gains_most_and_a_noise_field_next_to_nothing(back) -> None:
    best = max(back, key=lambda key: back[key][1])
    assert best == ("field", "strong1")
    assert back[best][1] > 0.015
    assert max(back["field", name][1] for name in NOISE) < 0.2 * back[best][1]


def test_all_of_it_back_is_the_reference(found: Any) -> None:
    reference, small = found.reference, found.small.model
    plan = Plan(small.plan.layout_hash, small.plan.keep)
    for field in GONE:
        plan = widened(plan, reference.layout, "field", field)
    for unit in ("row", "dim", "neuron"):
        plan = widened(plan, reference.layout, unit)
    whole = reference.apply(plan)
    assert whole.layout.shapes == reference.layout.shapes
    assert all(np.array_equal(whole.state[n], a) for n, a in reference.state.items())


def test_a_field_comes_back_as_wide_as_the_others_with_all_its_rows(found: Any) -> None:
    reference, small = found.reference, found.small.model
    wider = widened(small.plan, reference.layout, "field", "noise1")
    axes = reference.apply(wider).layout.axes
    assert axes["rows.noise1"].size == reference.layout.axes["rows.noise1"].size
    np.testing.assert_array_equal(axes["dims.noise1"].units, axes["dims.strong2"].units)
    for name, axis in small.layout.axes.items():
        if name != "fields":
            np.testing.assert_array_equal(axes[name].units, axis.units)


def test_pairs_come_back_with_their_field(data: Dataset) -> None:
    config = CONFIG.model_copy(update={"model": "FwFM", "epochs": 1})
    model = config.ranker().fit(data.train, data.tune)
    names = model.encoder.schema.names
    small = cut(model, data.train, {"fields": names[1:], "pairs": 10}, scored_on=data.tune)
    pairs = small.layout.axes["pairs"]
    back = model.apply(widened(small.plan, model.layout, "field", names[0])).layout.axes["pairs"]
    more = np.setdiff1d(back.units, pairs.units)
    assert set(pairs.units) <= set(back.units)
    assert len(more) == len(names) - 1
    (_, left), (_, right) = model.layout.axes["pairs"].members
    assert all(0 in (left[i], right[i]) for i in more)


def test_more_fields_than_are_tried_are_tried_by_importance(
    found: Any, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing_back, "MOST_FIELDS", 1)
    layout = found.reference.layout
    plan = Plan(found.small.model.plan.layout_hash, found.small.model.plan.keep)
    ways = list(bringing_back._ways(plan, layout, found.ranking, "int8"))
    scores = dict(zip(found.ranking.fields, found.ranking.scores, strict=True))
    (field,) = [way.name for way in ways if way.unit == "field"]
    assert field == max(GONE, key=scores.__getitem__)


def test_nothing_that_was_cut_nothing_to_bring_back(found: Any, data: Dataset) -> None:
    uncut = SimpleNamespace(model=found.reference, bits="fp32")
    assert bring_back(SimpleNamespace(**{**vars(found), "small": uncut}), data) == []


def test_a_short_tuning_is_an_epoch_over_rows_spread_over_all(found: Any, data: Dataset) -> None:
    whole = found.tuning.short()
    assert (len(whole.rows), whole.training.epochs) == (len(data.train), 1)
    short = found.tuning.short(50)
    at = np.linspace(0, len(data.train) - 1, 50).astype(int)
    np.testing.assert_array_equal(short.rows.rows.codes, data.train.rows.codes[at])
    np.testing.assert_array_equal(short.teacher, found.tuning.teacher[at])


@pytest.mark.slow
def test_workers_come_to_the_same(full: Ranker, found: Any, data: Dataset) -> None:
    two = Executor(2)
    assert seed_noise(full, data, seeds=3) == seed_noise(full, data, seeds=3, executor=two)
    assert bring_back(found, data) == bring_back(found, data, executor=two)


def test_what_would_save_bytes_is_no_way_back(found: Any, data: Dataset) -> None:
    model = LR().fit(data.train, data.tune)
    only = cut(model, data.train, {"fields": ("xor0a",)}, scored_on=data.tune)
    small = SimpleNamespace(model=only, bits="int8")
    assert encoded_size(only, "int8") > encoded_size(only, "fp32")
    given = SimpleNamespace(**{**vars(found), "reference": model, "small": small})
    units = {record["unit"] for record in bring_back(given, data)}
    assert units == {"field"}


def test_seed_noise_is_the_spread_over_seeds_the_first_the_models_own(
    full: Ranker, data: Dataset
) -> None:
    said = seed_noise(full, data, seeds=3)
    gate = full.aligned(data.gate)
    own = auc(data.gate.label, full.logits(gate.rows))
    aucs = []
    for number in range(2):
        other = int(stream(0, "seeds", number).integers(2**31))
        model = CONFIG.ranker().like(seed=other).fit(data.train, data.tune)
        aucs.append(auc(data.gate.label, model.logits(model.aligned(data.gate).rows)))
    assert said == {"seeds": 3, "auc_std": pytest.approx(np.std([own, *aucs], ddof=1), abs=1e-6)}
    assert said["auc_std"] > 0


def test_one_seed_has_no_spread(full: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match="'seeds' parameter of seed_noise"):
        seed_noise(full, data, seeds=1)


def test_the_report_has_what_its_settings_ask_for(
    full: Ranker, found: Any, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Dataset, "test")  # the test rows are for the chosen model alone
    off = {"baselines": False, "noise_seeds": 1, "bring_back": False}
    assert beside_the_search(full, found, data, CONFIG.model_copy(update=off)) == {}
    on = CONFIG.model_copy(update={"noise_seeds": 2})
    made = beside_the_search(full, found, data, on)
    assert set(made) == {"baselines", "seed_noise", "cost_to_bring_back"}
    assert made["seed_noise"]["quick"]
    assert made["baselines"]["quick"]
    models = {m["name"]: m for m in made["baselines"]["models"]}
    assert {"full", "pruned", "narrower dense", "random fields 1"} <= set(models)
    assert models["full"]["bytes"] == stored_size(found.reference.artifact())
    assert made["baselines"]["budget"] == found.small.bytes
    gate = found.reference.aligned(data.gate)
    assert models["full"]["metrics"]["auc"] == auc(
        data.gate.label, found.reference.logits(gate.rows)
    )


def test_a_budget_that_no_baseline_meets_is_said_not_raised(
    full: Ranker, found: Any, data: Dataset
) -> None:
    tiny = SimpleNamespace(
        **{**vars(found), "small": SimpleNamespace(**{**vars(found.small), "bytes": 50})}
    )
    config = CONFIG.model_copy(update={"noise_seeds": 0, "bring_back": False})
    made = beside_the_search(full, tiny, data, config)
    assert made["baselines"]["models"] == []
    assert "the smallest baseline's" in made["baselines"]["note"]
