"""Searches for a budget: what is chosen keeps it, what cannot be had is said, and kills do no harm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recprune as rp
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import BudgetError, InputError, ParameterError
from recprune.executor import Executor
from recprune.metrics import auc
from recprune.models import FM, LR, FwFM, Ranker, Training
from recprune.pipeline import Budget, RunConfig, Search
from recprune.pipeline.budget import Sizes
from recprune.pipeline.searching import find_small
from recprune.pipeline.trial import Trial, front
from recprune.pipeline.trial_store import TrialStore
from tests.planted import planted_frame

CONFIG = RunConfig(epochs=3, dim=8, hidden=(16, 8))
SETTINGS = {"tuning_epochs": 1, "groups": "none"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(planted_frame(4000, noise=4), label="y").split(by="random")


@pytest.fixture(scope="module")
def full(data: Dataset) -> Ranker:
    return CONFIG.ranker().fit(data.train, data.tune)


@pytest.fixture(scope="module")
def size(full: Ranker) -> int:
    return stored_size(full.artifact())


def budget_of(size: int, drop: float = 0.03) -> Budget:
    return Budget(size // 20, max_drop={"auc": drop})


@pytest.fixture(scope="module")
def found(full: Ranker, data: Dataset, size: int) -> Search:
    return rp.search(full, data, budget_of(size), **SETTINGS)


def told(found: Search) -> list[dict]:
    """Return all that two searches must agree in."""
    trials = found.to_json()["trials"]
    return [{k: v for k, v in trial.items() if k != "seconds"} for trial in trials]


def test_what_is_chosen_keeps_the_budget(found: Search, size: int, data: Dataset) -> None:
    small = found.small
    assert found.met
    assert small.passed
    assert small.bytes == stored_size(small.model.artifact()) <= size // 20
    tune = small.model.aligned(data.tune)
    assert small.auc_tune == auc(tune.label, small.model.logits(tune.rows))
    found.refuse_unmet()


def test_the_best_on_tune_rows_is_chosen_among_finished_ones(found: Search) -> None:
    inside = [c for c in found.candidates if c.trial.sizes.within(found.budget.limit)]
    assert len(inside) >= 2
    assert found.small.auc_tune == max(c.auc_tune for c in inside if c.passed)
    # Single units are tried in eight bits where four suffice alone, else in four; each cut once.
    alone = [t.label for t in found.trials[: -len(inside)] if " alone" in t.label]
    assert len(set(alone)) == len(alone)
    bits = "int8" if "int4_row alone" in alone else "int4_row"
    assert f"fields alone (permutation), {bits}" in alone


def test_every_trial_is_there_and_one_is_chosen(found: Search) -> None:
    section = json.loads(json.dumps(found.to_json(training_seconds=2.0)))
    assert [t["number"] for t in section["trials"]] == list(range(len(found.trials)))
    assert [t["number"] for t in section["trials"] if t["chosen"]] == [section["chosen"]]
    assert section["trials"][0]["label"] == "full"
    assert section["trials"][0]["difference"] == 0
    judged = [t for t in section["trials"] if t["outcome"] is not None]
    assert len(judged) == len(found.candidates)
    assert section["cost"]["over_full_training"] == pytest.approx(found.seconds / 2)
    frame = found.to_frame()
    assert frame["bytes"].to_list() == [t["bytes"] for t in section["trials"]]


@pytest.mark.slow
def test_the_same_on_any_number_of_workers(found: Search, full: Ranker, data: Dataset) -> None:
    again = rp.search(full, data, found.budget, executor=Executor(2), **SETTINGS)
    assert told(again) == told(found)
    for name, array in found.small.model.state.items():
        np.testing.assert_array_equal(again.small.model.state[name], array)


class Killed(BaseException):
    """What no code may catch."""


@pytest.mark.parametrize("sampler", ["descent", pytest.param("optuna", marks=pytest.mark.slow)])
def test_a_search_that_was_killed_comes_to_the_same(
    sampler: str,
    found: Search,
    full: Ranker,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {**SETTINGS, "sampler": sampler, "search_trials": 8}
    whole = found
    if sampler == "optuna":
        whole = rp.search(full, data, found.budget, **settings)
        assert whole.met
        assert sum(t.label.startswith("drawn") for t in whole.trials) >= 8

    kept, calls = TrialStore._append, []

    def killed_after(store: TrialStore, record: dict) -> None:
        kept(store, record)
        calls.append(record)
        if len(calls) in (2, 5, 9):
            raise Killed

    monkeypatch.setattr(TrialStore, "_append", killed_after)
    for _ in range(3):
        with pytest.raises(Killed):
            rp.search(full, data, found.budget, storage=tmp_path, **settings)
    again = rp.search(full, data, found.budget, storage=tmp_path, **settings)
    assert told(again) == told(whole)
    for name, array in whole.small.model.state.items():
        np.testing.assert_array_equal(again.small.model.state[name], array)


def test_what_cannot_be_had_is_said(full: Ranker, data: Dataset, size: int) -> None:
    asked = Budget(size // 400, max_drop={"auc": 0.03})
    found = rp.search(full, data, asked, **SETTINGS)
    assert not found.met
    # The one in reach passes, but is too large; the other, if any is so small, does not pass.
    *lost, smallest = found.nearest
    assert smallest.passed
    assert smallest.bytes > size // 400
    assert all(not c.passed and c.bytes <= size // 400 for c in lost)
    with pytest.raises(BudgetError, match="No model keeps the budget") as error:
        found.refuse_unmet()
    assert f"{smallest.bytes:,} bytes" in str(error.value)
    assert [n["bytes"] for n in error.value.nearest] == [c.bytes for c in found.nearest]
    assert error.value.exit_code == 3


def test_latency_and_weights_are_kept(full: Ranker, data: Dataset, found: Search) -> None:
    whole = found.trials[0].sizes
    asked = Budget(
        latency_us=0.6 * whole.latency_us, params=int(whole.params / 4), max_drop={"auc": 0.03}
    )
    small = rp.search(full, data, asked, **SETTINGS).small
    assert small.trial.sizes.within(asked.limit)
    assert small.model.params <= whole.params / 4


def test_a_budget_that_is_met_already_still_gives_a_smaller_model(
    full: Ranker, data: Dataset, size: int
) -> None:
    found = rp.search(full, data, Budget(10 * size, max_drop={"auc": 0.03}), **SETTINGS)
    assert found.met
    assert found.small.bytes < size


def test_prune_takes_shares_or_a_budget(full: Ranker, data: Dataset, size: int) -> None:
    small = rp.prune(full, data, budget=f"bytes={size // 20},max_drop.auc=0.03", **SETTINGS)
    assert stored_size(small.artifact()) <= size // 20
    for wrong in ({}, {"keep": {"rows": 0.5}, "budget": "bytes=9"}):
        with pytest.raises(ParameterError, match="either 'keep' or 'budget'"):
            rp.prune(full, data, **wrong)
    with pytest.raises(ParameterError, match=r"A search has no setting 'tunning_epochs'\. Did you"):
        rp.prune(full, data, budget="bytes=9", tunning_epochs=3)


@pytest.mark.parametrize("sampler", ["descent", "optuna"])
def test_protected_fields_stay_in_every_model(
    sampler: str, full: Ranker, data: Dataset, size: int
) -> None:
    kept = ("noise0", "noise3")
    settings = {**SETTINGS, "sampler": sampler, "search_trials": 4, "protect": kept}
    found = rp.search(full, data, budget_of(size), **settings)
    for candidate in found.candidates:
        assert set(kept) <= set(candidate.model.encoder.schema.names)


def test_every_metric_of_the_budget_has_its_say(full: Ranker, data: Dataset, found: Search) -> None:
    asked = Budget(found.budget.bytes, max_drop={"auc": 0.2, "logloss": 1e-7})
    strict = rp.search(full, data, asked, **SETTINGS)
    outcomes = {tuple(g.outcome for g in c.gates) for c in strict.candidates[1:]}
    assert any(first == "PASS" != second for first, second in outcomes)
    for candidate in strict.candidates[1:]:
        assert [g.metric for g in candidate.gates] == ["auc", "logloss"]
        assert candidate.passed == all(g.outcome == "PASS" for g in candidate.gates)


def test_time_that_is_over_ends_the_way_down(full: Ranker, data: Dataset, found: Search) -> None:
    quick = rp.search(full, data, found.budget, search_seconds=1e-6, **SETTINGS)
    steps = [t for t in quick.trials if " alone" not in t.label]
    assert len(steps) < len([t for t in found.trials if " alone" not in t.label])
    assert all(c.bytes <= found.budget.bytes for c in [quick.small] if quick.met)
    assert "search_seconds" in quick.why
    assert "search_seconds" not in found.why
    with pytest.raises(BudgetError, match=r"No model keeps the budget.*search_seconds.* was over"):
        replace(quick, budget=Budget(bytes=1), met=False).refuse_unmet()


def test_the_front_is_what_nothing_beats() -> None:
    draws = np.random.default_rng(0)
    trials = [
        Trial(str(i), "int8", Sizes(*sizes), {}, float(score))
        for i, (*sizes, score) in enumerate(draws.integers(1, 6, (60, 4)))
    ]

    def beats(a: Trial, b: Trial) -> bool:
        mine = (a.sizes.bytes, a.sizes.latency_us, -a.auc_tune)
        other = (b.sizes.bytes, b.sizes.latency_us, -b.auc_tune)
        return all(x <= y for x, y in zip(mine, other, strict=True)) and mine != other

    kept = front(trials)
    best = {i for i, t in enumerate(trials) if not any(beats(o, t) for o in trials)}
    values = {
        (t.sizes.bytes, t.sizes.latency_us, t.auc_tune) for i, t in enumerate(trials) if i in best
    }
    assert set(kept) <= best
    assert len(kept) == len(values)
    sizes = [trials[i].sizes.bytes for i in kept]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kind", [LR, FM, FwFM])
def test_models_without_some_kinds_of_unit(kind: type[Ranker], data: Dataset) -> None:
    plain = kind(training=Training(epochs=1)).fit(data.train, data.tune)
    asked = Budget(stored_size(plain.artifact()) // 8, max_drop={"auc": 0.2})
    found = rp.search(plain, data, asked, **SETTINGS)
    assert found.small.bytes <= asked.bytes or not found.met


def test_a_drop_that_is_allowed_is_not_spent_for_nothing(
    full: Ranker, data: Dataset, size: int
) -> None:
    for drop in (0.01, 0.3):
        found = rp.search(full, data, Budget("1GB", max_drop={"auc": drop}), **SETTINGS)
        assert found.met
        assert found.small.auc_tune > found.trials[0].auc_tune - 0.005


def test_the_full_model_is_taken_where_nothing_else_passes(
    full: Ranker, data: Dataset, size: int
) -> None:
    found = rp.search(full, data, Budget(2 * size, max_drop={"auc": 1e-6}), **SETTINGS)
    assert found.met
    if found.chosen == 0:
        assert found.why.endswith("none passes but the full one, which keeps the budget.")


def test_fields_that_are_to_go_go_whatever_the_verdict(full: Ranker, data: Dataset) -> None:
    settings = {**SETTINGS, "force": ("strong0", "strong1"), "tolerance": 1e-6}
    found = rp.search(full, data, **settings)
    assert not set(settings["force"]) & set(found.small.model.encoder.schema.names)
    assert found.small.outcome in found.why
    found.refuse_unmet()  # no size was asked for
    asked = Budget("1GB", max_drop={"auc": 1e-6})
    found = rp.search(full, data, asked, **SETTINGS, force=settings["force"])
    assert not found.met
    assert all("strong0" not in c.model.encoder.schema.names for c in found.nearest)


def test_trials_of_other_rows_are_not_taken(
    found: Search, full: Ranker, data: Dataset, size: int, tmp_path: Path
) -> None:
    # The same labels, and other values beside them.
    frame = planted_frame(4000, noise=4)
    shuffled = frame.with_columns(frame["strong0"].shuffle(seed=1))
    other = Dataset.from_frame(shuffled, label="y").split(by="random")
    np.testing.assert_array_equal(other.tune.label, data.tune.label)
    rp.search(full, other, budget_of(size), storage=tmp_path, **SETTINGS)
    again = rp.search(full, data, budget_of(size), storage=tmp_path, **SETTINGS)
    assert told(again) == told(found)


def test_what_cannot_be_searched_is_refused(full: Ranker, data: Dataset, tmp_path: Path) -> None:
    frame = planted_frame(1000, noise=0)
    other = Dataset.from_frame(frame, label="y").split(by="random")
    with pytest.raises(ParameterError, match=r"it lacks noise0, noise1, noise2"):
        rp.search(full, other, "bytes=1kB")
    with pytest.raises(ParameterError, match="one with a host's profile"):
        find_small(full, data, RunConfig.of(budget="latency_us=1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        rp.search(full, data, "bytes=1kB", storage=tmp_path / "file")
    with pytest.raises(ParameterError, match="The 'methods' of prune go with 'keep'"):
        rp.prune(full, data, None, {"rows": "l2"}, budget="bytes=1kB")
