"""How often the verdict is wrong, how often it is reached, and how many rows it asks for.

The truth is known exactly, see :mod:`benchmarks._crossed_world`: users and items hang together, are
unequally active and popular, and most scores are tied. For each number of rows:

- ``false_pass_rate_*``: of runs whose true drop is the tolerance to the last digit, the share that
  pass. A rule of 5 % gives at most 0.05, within the binomial error of the runs (``bound``).
- ``power_*``: of runs without any drop that are INCONCLUSIVE, the share that pass on as many fresh
  rows as the verdict asked for. It should be 0.8.
- ``rows_asked_over_needed_*``: the median of the rows asked for, over those that are needed: with
  which 80 % of such differences lie 1.645 of their true standard deviations above −tolerance. That
  standard deviation is the one seen over the runs.

The tolerance is 0.002 for 100,000 rows, the default, and larger by the root of the rows for fewer:
so each size has a decision to make that about as many rows can just not make with 80 % power.

``*_selected``: four candidates, whose true drops are unlike, were judged on as many validation rows
before, and the best of them is the one that the test rows judge. The tolerance is its own true drop,
which is known whichever it is. Validation and test rows share neither users nor items: luck on the
one is none on the other. ``selected_on_test_rows`` in the detail is what comes of selecting on the
test rows themselves.

``*_seeds``: the procedure verdict on five seeds whose true drops spread about the tolerance.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks._common import Claim, main
from benchmarks._crossed_world import Drawn, World
from recprune.evaluation import Verdict, verdict
from recprune.executor import Executor
from recprune.metrics import auc

RUNS, FULL_RUNS, QUICK_RUNS = 1000, 2000, 40
#: Those of 1,000 rows, whose runs ask for few.
QUICK_SCENARIOS = 2
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
DEFAULT_ROWS, DEFAULT_TOLERANCE = 100_000, 0.002
#: Drops of the candidates, in tolerances.
CANDIDATES = (0.8, 0.9, 1.0, 1.1)
SEEDS, SEED_SPREAD = 5, 0.3
#: Rows up to which it is tried what selecting on the test rows does.
MOST_PEEKED = 10_000
#: Runs of one part of the work.
BLOCK = 20
Z95, Z80 = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(0.80)


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Args:
        name: the end of the claims' ids.
        rows: of the test set.
        world: how they come about.
        selected: the best of several candidates on other rows is judged.
    """

    name: str
    rows: int
    world: World
    selected: bool = False

    @property
    def tolerance(self) -> float:
        """The default's, larger by the root of the rows."""
        return DEFAULT_TOLERANCE * float(np.sqrt(DEFAULT_ROWS / self.rows))


def scenarios(quick: bool) -> list[Scenario]:
    """Return all of them, those of few rows first, which are the ones of a quick run."""
    world = World()
    out = [Scenario(name, rows, world) for name, rows in SIZES.items()]
    out += [Scenario(f"{name}_selected", rows, world, True) for name, rows in SIZES.items()]
    out.sort(key=lambda each: each.rows)
    return out[:QUICK_SCENARIOS] if quick else out


def judge(drawn: Drawn, which: int, tolerance: float, seed: int) -> Verdict:
    """Return the verdict on one of the pruned models."""
    return verdict(
        drawn.label,
        drawn.full[0],
        drawn.pruned[which],
        users=drawn.users,
        items=drawn.items,
        tolerance=tolerance,
        seed=seed,
    )


def best(drawn: Drawn) -> int:
    """Return the candidate with the highest AUC on these rows."""
    return int(np.argmax([auc(drawn.label, score) for score in drawn.pruned]))


def at_tolerance(scenario: Scenario, runs: int, draws: np.random.Generator) -> list[list[float]]:
    """Return (passed, failed, passed if selected on the test rows) of runs at the tolerance.

    The last is of selected scenarios of few rows alone, else NaN.
    """
    world, n, tolerance = scenario.world, scenario.rows, scenario.tolerance
    drops = [share * tolerance for share in (CANDIDATES if scenario.selected else (1.0,))]
    pruned = [world.pruned_rho(drop) for drop in drops]
    out = []
    for run in range(runs):
        chosen = best(world.draw(draws, n, pruned)) if scenario.selected else 0
        test = world.draw(draws, n, pruned)
        found = judge(test, chosen, drops[chosen], run)
        peeked = float("nan")
        if scenario.selected and n <= MOST_PEEKED:
            peek = best(test)
            peeked = float(judge(test, peek, drops[peek], run).outcome == "PASS")
        out.append([found.outcome == "PASS", found.outcome == "FAIL", peeked])
    return out


def without_drop(scenario: Scenario, runs: int, draws: np.random.Generator) -> list[list[float]]:
    """Return (difference, rows asked for or 0, then passed, difference then) of runs without drop."""
    world, n, tolerance = scenario.world, scenario.rows, scenario.tolerance
    same = [world.rho] * (len(CANDIDATES) if scenario.selected else 1)
    out = []
    for run in range(runs):
        chosen = best(world.draw(draws, n, same)) if scenario.selected else 0
        pilot = judge(world.draw(draws, n, same), chosen, tolerance, run)
        asked = pilot.rows_needed or 0
        if not asked:
            out.append([pilot.difference, 0, 0, 0])
            continue
        again = judge(world.draw(draws, asked, same[:1]), 0, tolerance, run)
        out.append([pilot.difference, asked, again.outcome == "PASS", again.difference])
    return out


def of_seeds(scenario: Scenario, runs: int, draws: np.random.Generator) -> list[list[bool]]:
    """Return (passed, failed) of procedures whose mean true drop is the tolerance."""
    world, n, tolerance = scenario.world, scenario.rows, scenario.tolerance
    out = []
    for run in range(runs):
        drops = tolerance * (1 + SEED_SPREAD * draws.standard_normal(SEEDS))
        drawn = world.draw(draws, n, [world.pruned_rho(drop) for drop in drops], SEEDS)
        found = verdict(
            drawn.label,
            drawn.full,
            drawn.pruned,
            users=drawn.users,
            items=drawn.items,
            tolerance=tolerance,
            seed=run,
        )
        out.append([found.outcome == "PASS", found.outcome == "FAIL"])
    return out


def simulated(work: Any, scenario: Scenario, runs: int, executor: Executor) -> np.ndarray:
    """Return what ``work`` says of each run, shape ``(runs, …)``."""
    parts = [BLOCK] * (runs // BLOCK)
    text = f"{work.__name__} {scenario.name}"
    return np.concatenate(executor.map(work, parts, shared=scenario, text=text)).astype(float)


def false_passes(name: str, passed: np.ndarray, **detail: Any) -> Claim:
    """Return the claim on runs whose true drop is the tolerance."""
    runs = len(passed)
    bound = 0.05 + Z95 * float(np.sqrt(0.05 * 0.95 / runs))
    value = float(passed.mean())
    detail |= {"runs": runs, "bound": bound, "holds": value <= bound}
    return Claim(f"false_pass_rate_{name}", value, "share", None, detail)


def claims(scenario: Scenario, runs: int, executor: Executor) -> list[Claim]:
    """Return the three claims of one scenario."""
    name, tolerance = scenario.name, scenario.tolerance
    wrong = simulated(at_tolerance, scenario, runs, executor)
    facts = {"rows": scenario.rows, "tolerance": tolerance, "failed": float(wrong[:, 1].mean())}
    if scenario.selected and scenario.rows <= MOST_PEEKED:
        facts["selected_on_test_rows"] = float(wrong[:, 2].mean())
    right = simulated(without_drop, scenario, runs, executor)
    first, asked, passed, later = right.T
    more = asked > 0
    # Differences of any number of rows on one scale: their spread falls with the root.
    scaled = np.concatenate([first * np.sqrt(scenario.rows), (later * np.sqrt(asked))[more]])
    needed = ((Z95 + Z80) * float(np.sqrt(np.mean(scaled**2))) / tolerance) ** 2
    median = float(np.median(asked[more]))
    power = float(passed[more].mean())
    error = float(np.sqrt(0.8 * 0.2 / more.sum()))
    return [
        false_passes(name, wrong[:, 0], **facts),
        Claim(
            f"power_{name}",
            power,
            "share",
            None,
            {"runs": runs, "inconclusive": int(more.sum()), "error": error},
        ),
        Claim(
            f"rows_asked_over_needed_{name}",
            median / needed,
            "ratio",
            None,
            {
                "asked": median,
                "asked_quartiles": np.quantile(asked[more], [0.25, 0.75]).tolist(),
                "needed": needed,
            },
        ),
    ]


def measure(quick: bool, full: bool = False) -> list[Claim]:
    """Return all claims."""
    runs = QUICK_RUNS if quick else FULL_RUNS if full else RUNS
    # Of few runs most of the time would be the starting of processes.
    executor = Executor(1 if quick else os.cpu_count() or 1)
    found: list[Claim] = []
    for scenario in scenarios(quick):
        found += claims(scenario, runs, executor)
    seeds = Scenario("10k_seeds", SIZES["10k"], World())
    passed, failed = simulated(of_seeds, seeds, runs, executor).T
    found.append(false_passes(seeds.name, passed, seeds=SEEDS, failed=float(failed.mean())))
    return found


if __name__ == "__main__":
    main("verdict", measure, full=f"{FULL_RUNS:,} runs each; some 20 minutes")
