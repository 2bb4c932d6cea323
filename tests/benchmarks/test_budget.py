"""The benchmark of budgets: who is compared with whom, its errors, and that a stopped run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks._common import Claim
from tests.planted import small_data

from benchmarks import _budget_cells, _contestants, budget
from recprune.data import Dataset
from recprune.evaluation import verdict
from recprune.evaluation.intervals import t_quantile
from recprune.evaluation.paired import Rows, intervals
from recprune.metrics import auc
from recprune.pipeline import Effort

SEEDS = 3


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(1_500)


@pytest.fixture
def runs(data: Dataset, tmp_path: Path) -> list[dict[str, dict[str, Any]]]:
    """Scores that are the label with noise: of ours 1.0 times, of near and far more."""
    draws, label = np.random.default_rng(0), data.test.label
    facts = dict.fromkeys((*budget.FACTS, *budget.OUR_FACTS), 1)
    out = []
    for seed in range(SEEDS):
        noise, run = draws.normal(0, 1, len(label)), {}
        for name, share in ((budget.OURS, 1.0), ("near", 1.1), ("far", 2.0), ("once", 0.1)):
            if name == "once" and seed == 1:
                continue
            file = tmp_path / f"{name}-{seed}.npy"
            own = share * noise + 0.1 * draws.normal(0, 1, len(label))
            np.save(file, (label + own).astype(np.float32))
            run[name] = {"logits": str(file), **facts}
        out.append(run)
    return out


def test_ours_is_compared_with_the_best_that_every_seed_reached(
    data: Dataset, runs: list[dict[str, dict[str, Any]]]
) -> None:
    claim = budget.gap("g", data, runs, {"budget_bytes": [1]})
    label = data.test.label
    ours, near, far = (
        np.mean([auc(label, np.load(run[name]["logits"])) for run in runs])
        for name in (budget.OURS, "near", "far")
    )
    assert ours > near > far
    assert (claim.id, claim.unit, claim.peer) == ("g", "AUC", "near")
    assert claim.value == pytest.approx(ours - near)
    assert list(claim.detail["contestants"]) == [budget.OURS, "near", "far"]
    assert claim.detail["contestants"]["far"]["auc"] == pytest.approx(far)
    assert claim.detail["budget_bytes"] == [1]
    # Better than ours, but a seed could not make it.
    assert "once" in claim.detail["not_reached"]
    assert "dims_svd" in claim.detail["not_reached"]
    assert "near" not in claim.detail["not_reached"]


def test_the_error_is_the_verdicts(data: Dataset, runs: list[dict[str, dict[str, Any]]]) -> None:
    claim = budget.gap("g", data, runs, {})
    near, ours = (
        np.stack([np.load(run[name]["logits"]) for run in runs]) for name in ("near", budget.OURS)
    )
    low, high = verdict(data.test.label, near, ours, draws=budget.DRAWS).ci
    (way,) = intervals(Rows.checked(data.test.label, near, ours), budget.DRAWS, 0).values()
    assert claim.detail["se"] * t_quantile(0.95, way.freedom) == pytest.approx((high - low) / 2)


def test_a_search_that_found_none_is_a_constant(
    data: Dataset, runs: list[dict[str, dict[str, Any]]]
) -> None:
    del runs[1][budget.OURS]
    claim = budget.gap("g", data, runs, {})
    assert claim.detail["contestants"][budget.OURS]["auc"] == 0.5
    assert claim.value == pytest.approx(0.5 - claim.detail["contestants"]["near"]["auc"])
    assert budget.OURS in claim.detail["not_reached"]
    assert not claim.detail["at_least_minus_one_se"]


def test_the_same_model_is_no_gap(data: Dataset, runs: list[dict[str, dict[str, Any]]]) -> None:
    twins = [{budget.OURS: run[budget.OURS], "twin": run[budget.OURS]} for run in runs]
    claim = budget.gap("g", data, twins, {})
    assert (claim.value, claim.detail["se"], claim.detail["at_least_minus_one_se"]) == (0, 0, True)


def test_the_mean_takes_a_sets_budgets_for_one() -> None:
    def claim(name: str, value: float, se: float) -> Claim:
        detail = {"se": se, "at_least_minus_one_se": value >= -se}
        return Claim(f"gap_to_best_other_{name}", value, "AUC", None, detail)

    mean = budget.mean_gap(
        [
            claim("a_b_quarter", 0.01, 0.003),
            claim("a_b_eighth", -0.005, 0.003),
            claim("c_quarter", 0.03, 0.004),
            claim("c_eighth", 0.01, 0.004),
        ]
    )
    assert mean.id == "gap_mean"
    assert mean.value == pytest.approx(0.045 / 4)
    assert mean.detail["se"] == pytest.approx((0.006**2 + 0.008**2) ** 0.5 / 4)
    assert (mean.detail["at_least_minus_one_se"], mean.detail["of"]) == (3, 4)
    assert mean.detail["worst"] == "gap_to_best_other_a_b_eighth"


def test_contestants_keep_the_bytes_and_a_stopped_run_goes_on(
    data: Dataset,
    small_settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_budget_cells, "parameters_task", lambda name, quick: data)
    monkeypatch.setattr(_budget_cells, "results", lambda benchmark, quick: tmp_path)
    for module in (_budget_cells, _contestants):
        monkeypatch.setattr(module, "EFFORT", Effort(epochs=1))
    monkeypatch.setattr(_budget_cells, "BUDGETS", {"half": 2, "hundredth": 100})
    part = ("small", 0, ("dims_svd", "bits_int4_row"), True)
    found = _budget_cells.contest({"small": small_settings}, part, np.random.default_rng())
    half, hundredth = found["budgets"].values()
    assert {"search", "dims_svd", "bits_int4_row", "narrower dense"} <= half.keys()
    assert not hundredth.keys()
    for one in half.values():
        assert one["bytes"] <= found["full"]["bytes"] / 2
        assert len(np.load(one["logits"])) == len(data.test)
    assert half["search"]["met"] is (half["search"]["outcome"] == "PASS")
    inside = [c for c in half["search"]["candidates"] if c["fits"]]
    inside = [c for c in inside if c["outcome"] == "PASS"] or inside
    assert half["search"]["tune"] == pytest.approx(max(c["tune"] for c in inside))

    def never(*args: object) -> None:
        raise AssertionError("It is known already.")

    for name in ("scored", "find_small", "trivial", "single"):
        monkeypatch.setattr(_budget_cells, name, never)
    again = _budget_cells.contest({"small": small_settings}, part, np.random.default_rng())
    assert again == found
