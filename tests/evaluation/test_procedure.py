"""The verdict on a procedure: several seeds on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation import verdict
from recprune.executor import Executor
from recprune.metrics import auc

N, SEEDS = 4000, 5


def seeds(
    spread: float = 0.0, drop: float = 0.0, rows: float = 0.2, n_seeds: int = SEEDS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return rows with pairs of models: noise ``rows`` is the pruned models' in common, and
    ``drop``, by seed more or less by ``spread``, is what they lose of the signal.
    """
    draws = np.random.default_rng(seed)
    label = (draws.random(N) < 0.3).astype(float)
    users = draws.integers(0, 400, N)
    full = label + draws.normal(size=N) + 0.1 * draws.normal(size=(n_seeds, N))
    lost = drop + spread * draws.normal(size=n_seeds)
    pruned = full - lost[:, None] * label + rows * draws.normal(size=N)
    return {"label": label, "full": full, "pruned": pruned, "users": users}


def test_the_difference_is_the_mean_and_both_variances_count() -> None:
    world = seeds(spread=0.2)
    found = verdict(**world, tolerance=0.05)
    each = [
        auc(world["label"], p) - auc(world["label"], f)
        for f, p in zip(world["full"], world["pruned"], strict=True)
    ]
    assert found.difference == pytest.approx(np.mean(each))
    assert found.crosscheck["differences"] == pytest.approx(each)
    assert (found.estimand, found.n_seeds) == ("procedure", SEEDS)
    assert "procedure" in str(found)
    # The seeds differ far more than resamples of the rows do: nearly a t test on five numbers.
    alone = stats.t.ppf(0.95, SEEDS - 1) * np.std(each, ddof=1) / np.sqrt(SEEDS)
    assert (found.ci[1] - found.ci[0]) / 2 == pytest.approx(alone, rel=0.1)


def test_seeds_that_agree_leave_the_error_of_the_rows() -> None:
    world = seeds()
    procedure = verdict(**world, tolerance=0.05)
    pair = {**world, "full": world["full"][0], "pruned": world["pruned"][0]}
    artefacts = verdict(**pair, tolerance=0.05)
    assert (artefacts.estimand, artefacts.n_seeds) == ("artefacts", 1)
    widths = [v.ci[1] - v.ci[0] for v in (procedure, artefacts)]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


def test_more_seeds_narrow_what_seeds_widen() -> None:
    few, many = (verdict(**seeds(spread=0.2, n_seeds=n), tolerance=0.05) for n in (3, 30))
    assert few.ci[1] - few.ci[0] > 3 * (many.ci[1] - many.ci[0])
    assert few.outcome == "INCONCLUSIVE"
    assert few.rows_needed is None
    assert few.reasons == ("3 seeds differ too much: more seeds would tell, not rows",)
    assert many.reasons == ()


def test_planted_outcomes() -> None:
    assert verdict(**seeds(rows=0.05), tolerance=0.01).outcome == "PASS"
    assert verdict(**seeds(drop=0.3, spread=0.02), tolerance=0.01).outcome == "FAIL"
    world = seeds(rows=0.5, drop=-0.1)
    unsure = verdict(**world, tolerance=1e-4)
    assert unsure.outcome == "INCONCLUSIVE"


def test_the_procedure_is_the_same_wherever_the_resamples_run() -> None:
    world = seeds(spread=0.05)
    items = np.arange(N) % 50
    here = verdict(**world, items=items)
    assert verdict(**world, items=items, executor=Executor(2)) == here
    assert here.method in ("user bootstrap", "users and items")
    order = np.random.default_rng(1).permutation(SEEDS)
    turned = {**world, "full": world["full"][order], "pruned": world["pruned"][order]}
    assert verdict(**turned, items=items).ci == pytest.approx(here.ci)


def test_scores_of_one_seed_or_of_unlike_numbers_are_refused() -> None:
    world = seeds()
    for change in (
        {"full": world["full"][:1], "pruned": world["pruned"][:1]},
        {"pruned": world["pruned"][:3]},
        {"full": world["full"][0]},
        {"full": world["full"][:, :10]},
    ):
        with pytest.raises(ParameterError, match="of shape"):
            verdict(**{**world, **change})


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1])
def test_a_mean_drop_of_the_tolerance_passes_one_time_in_twenty(spread: float) -> None:
    # The signal is normal within each class, so that the mean true drop is an integral.
    drop, rows, runs = 0.05, 0.1, 300
    node, weight = np.polynomial.hermite_e.hermegauss(40)

    def area(lost: np.ndarray | float, noise: float) -> np.ndarray:
        return stats.norm.cdf((1 - lost) / np.sqrt(2 * (1 + 0.01 + noise**2)))

    mean = weight @ area(drop + spread * node, rows) / weight.sum()
    tolerance = float(area(0.0, 0.0) - mean)
    outcomes = [
        verdict(**seeds(spread, drop, rows, seed=10 + run), tolerance=tolerance, draws=150).outcome
        for run in range(runs)
    ]
    for wrong in ("PASS", "FAIL"):  # six numbers: three standard errors
        assert outcomes.count(wrong) / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5, wrong
