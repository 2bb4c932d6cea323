"""The points of the front: on one scale whatever rows told them, and the budget in words."""

from __future__ import annotations

from typing import Any

import pytest

from recprune.report.front import bring_back_section, front_section
from recprune.report.trials import budget_lines, points, seed_noise
from tests.report.searched import searched

FULL = {"bytes": 1000, "metrics": {"auc": 0.70, "logloss": 0.5}}


def trial(number: int, size: int, tune: float | None, gate: float | None, **more: Any) -> dict:
    return {"number": number, "bytes": size, "auc_tune": tune, "difference": gate, **more}


def test_a_trial_on_tune_rows_is_compared_with_the_uncut_one_on_tune_rows() -> None:
    rows = [trial(0, 1000, 0.80, 0.0), trial(1, 500, 0.79, None), trial(2, 400, 0.75, -0.003)]
    found = points({"full": FULL, "search": {"trials": rows}})
    assert [p.kind for p in found] == ["full", "trial", "trial"]
    assert [p.difference for p in found] == pytest.approx([0.0, -0.01, -0.003])
    assert [p.filled for p in found] == [True, False, True]


def test_without_an_uncut_trial_the_judged_ones_tell_the_full_models_auc() -> None:
    # Full on tune rows: 0.790 + 0.001 and 0.760 + 0.041, about 0.796.
    rows = [trial(1, 500, 0.790, -0.001), trial(2, 300, 0.760, -0.041), trial(3, 200, 0.7, None)]
    *_, last, full = points({"full": FULL, "search": {"trials": rows}})
    assert last.difference == pytest.approx(0.7 - 0.796)
    assert (full.kind, full.bytes, full.difference) == ("full", 1000, 0.0)


def test_a_trial_that_cannot_be_placed_is_left_out() -> None:
    rows = [trial(1, 500, 0.8, None), trial(2, 0, None, -0.1), {"number": 3}]
    assert [p.kind for p in points({"full": FULL, "search": {"trials": rows}})] == []


def test_baselines_are_compared_on_their_own_rows() -> None:
    models = [
        {"name": "full", "bytes": 1000, "metrics": {"auc": 0.60}},
        {"name": "pruned", "bytes": 90, "metrics": {"auc": 0.59}},
        {"name": "narrower dense", "bytes": 95, "fits": True, "metrics": {"auc": 0.58}},
        {"name": "int8 alone", "bytes": 300, "fits": False, "metrics": {"auc": 0.61}},
        {"name": "minimum count", "bytes": 990, "fits": False, "metrics": {}},
    ]
    report = {"full": FULL, "baselines": {"budget": 100, "models": models}}
    found = {p.label: p for p in points(report)}
    assert set(found) == {"full", "pruned", "narrower dense", "int8 alone"}
    assert found["narrower dense"].difference == pytest.approx(-0.02)
    assert found["int8 alone"].difference == pytest.approx(0.01)
    assert (found["narrower dense"].filled, found["int8 alone"].filled) == (True, False)
    assert found["pruned"].chosen
    # Beside trials, the pruned model is the chosen trial and stands there once.
    report["search"] = {"trials": [trial(0, 90, 0.7, -0.01, chosen=True)]}
    assert [p.label for p in points(report) if p.chosen] == ["0"]
    assert "pruned" not in {p.label for p in points(report)}


def test_rounds_stand_in_for_trials(make_report) -> None:
    found = points(make_report())
    assert [p.label for p in found] == ["full", "1", "2", "3", "4", "5"]
    assert [p.chosen for p in found].index(True) == 4
    assert all(p.on_front for p in found)


@pytest.mark.parametrize(
    "report", [{}, {"search": None}, {"search": {"trials": []}}, {"search": 3}]
)
def test_no_trial_is_no_point(report: dict) -> None:
    assert points(report) == []
    assert budget_lines(report) == []
    assert front_section(report, {}).empty


def test_a_budget_is_met_limit_by_limit() -> None:
    budget = {"bytes": 200, "latency_us": 5.0, "params": 70, "max_drop": {"auc": 0.002}}
    chosen = trial(4, 150, 0.7, -0.001, chosen=True, latency_us=6.0)
    report = {
        "full": FULL,
        "pruned": {"bytes": 150, "params": 80, "metrics": {"auc": 0.699, "logloss": 0.5}},
        "search": {"budget": budget, "trials": [chosen]},
    }
    assert budget_lines(report) == [
        "Size: 150 B of at most 200 B: met",
        "Latency: 6.00 µs of at most 5.00 µs: not met",
        "Parameters: 80 of at most 70: not met",
        "AUC drop on test rows: 0.0010 of at most 0.002: met",
    ]
    # A log loss that rises is a drop; a limit that nothing was measured against is neither.
    report["search"]["budget"] = {"latency_us": 5.0, "max_drop": {"logloss": 0.01, "auc": None}}
    report["pruned"]["metrics"]["logloss"] = 0.52
    del chosen["latency_us"]
    assert budget_lines(report) == [
        "Latency: not measured of at most 5.00 µs",
        "Log loss drop on test rows: 0.0200 of at most 0.01: not met",
    ]


def test_the_section_says_what_the_search_was(make_report) -> None:
    report = searched(make_report())
    section = front_section(report, {})
    assert (
        section.points[0]
        == "The search took 3 min 32 s for 48 trials: 4.2 times one full training."
    )
    assert "moves AUC by about 0.0009" in section.points[1]
    assert "quick form" in section.points[1]
    assert "quick form" in section.points[2]
    assert "Why this one: It is the best model" in section.lead
    assert [len(t.rows) for t in section.tables] == [48, 7]
    del report["seed_noise"]["quick"], report["baselines"]["quick"]
    assert "quick" not in " ".join(front_section(report, {}).points)


def test_a_budget_that_no_baseline_meets_is_told(make_report) -> None:
    report = searched(make_report())
    report["baselines"] = {"budget": 50, "models": [], "quick": True, "note": "At least 9 <b>."}
    points = front_section(report, {}).points
    assert "There are no baselines: At least 9 <b>." in points
    assert not any("baselines are in their quick form" in point for point in points)


def test_the_way_back_says_what_was_not_tried(make_report) -> None:
    report = searched(make_report())
    assert "quick form" in bring_back_section(report, {}).lead
    assert "not tried" not in bring_back_section(report, {}).lead
    back = report["cost_to_bring_back"]
    del back[2:4]
    assert "the least important 2 were not tried" in bring_back_section(report, {}).lead
    # Where no field was brought back at all, nothing is said of fields.
    report["cost_to_bring_back"] = [r for r in back if r["unit"] != "field"]
    assert "not tried" not in bring_back_section(report, {}).lead


@pytest.mark.parametrize("std", [None, -0.1, float("nan")])
def test_noise_that_was_not_measured_is_none(std: float | None) -> None:
    assert seed_noise({"seed_noise": {"seeds": 3, "auc_std": std}}) is None


def test_models_of_a_comparison_go_by_their_names() -> None:
    rows = [{"label": "runs/small", "bytes": 300, "difference": -0.001, "latency_us": 4.0}]
    model, full = points({"full": {**FULL, "latency_us": {"1": 9.0}}, "models": rows})
    assert (model.kind, model.label, model.on_front) == ("model", "runs/small", False)
    assert model.lines[0] == "runs/small"
    assert model.lines[2] == "AUC −0.0010 on the same rows"
    assert full.latency_us == 9.0
