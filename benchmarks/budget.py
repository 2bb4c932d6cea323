"""A search under a budget against whatever else has the same bytes: which loses least?

The sets and full models are those of :mod:`benchmarks.parameters`. At a quarter, an eighth and a
sixteenth of a full model's bytes (fp32), the search's model stands against one unit by one method
each and against the trivial baselines, all with the same fine-tuning
(:mod:`benchmarks._budget_cells`). Where gate rows let none of these bytes pass, the search's best on
tune rows stands for it: the question is of quality at equal bytes.

- ``gap_to_best_other_SET_BUDGET``: test AUC of ours − the best other's, mean over seeds. The best
  other is chosen by its mean test AUC over seeds, which is to its advantage. The standard error is
  of test rows, clustered by user and item, and of seeds, as in :func:`recprune.evaluation.verdict`.
- ``gap_mean``: mean of all of these.

A model that does not keep a budget with every seed is not in its contest. Should the search find
none, a constant stands for it, AUC ½. Results are kept (:mod:`benchmarks._cells`); a run that was
stopped goes on.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks._budget_cells import BUDGETS, OURS, contest
from benchmarks._cells import Record
from benchmarks._common import Claim, main
from benchmarks._full_models import full_models
from benchmarks._parameters_tasks import QUICK_SETS, SETS, parameters_task
from benchmarks._parameters_ways import FEW, WAYS
from benchmarks._tasks import look_for
from recprune.data import Dataset
from recprune.evaluation.paired import Rows, intervals
from recprune.executor import Executor
from recprune.metrics import auc
from recprune.pipeline.equal_bytes import KINDS

WORKERS = 2
SEEDS, FULL_SEEDS = 2, 3
#: Resamples of users for a standard error.
DRAWS = 400
#: What is told of a contestant beside its AUC.
FACTS = ("bytes", "tune", "gate", "fields", "rows", "dims", "neurons")
OUR_FACTS = ("label", "bits", "met", "outcome", "trials", "search_s", "candidates")


def measure(quick: bool, full: bool = False) -> list[Claim]:
    """Return all claims; see the module."""
    workers, sets = Executor(WORKERS), QUICK_SETS if quick else SETS
    look_for(sets)
    found = full_models(workers, sets, quick, full)
    settings = {name: one["settings"] for name, one in found.items()}
    # The largest set first.
    seeds = range(FULL_SEEDS if full else SEEDS)
    ways = WAYS if full else FEW
    parts = [(name, seed, ways, quick) for seed, name in itertools.product(seeds, reversed(sets))]
    runs = workers.map(contest, parts, shared=settings, text="sets and seeds")
    claims: list[Claim] = []
    for name in sets:
        of_set = [run for run in runs if run["set"] == name]
        claims += _claims(name, parameters_task(name, quick), of_set, ways)
    return [*claims, mean_gap(claims)]


def _claims(
    name: str, data: Dataset, runs: Sequence[Record], ways: Sequence[str]
) -> Iterator[Claim]:
    for budget, parts in BUDGETS.items():
        records = [run["budgets"][budget] for run in runs]
        told = {
            "budget_bytes": [run["full"]["bytes"] // parts for run in runs],
            "full_bytes": [run["full"]["bytes"] for run in runs],
            "full_auc": statistics.fmean(
                auc(data.test.label, np.load(run["reference"]["logits"])) for run in runs
            ),
        }
        yield gap(f"gap_to_best_other_{name}_{budget}", data, records, told, ways)


def gap(
    id: str,
    data: Dataset,
    runs: Sequence[Mapping[str, Record]],
    detail: Record,
    ways: Sequence[str] = FEW,
) -> Claim:
    """Return the claim of one set and budget.

    Args:
        id: of the claim.
        data: the set, whose test rows decide.
        runs: of each seed, contestant → its record, with the file of its logits of the test rows.
        detail: what else the claim tells.
        ways: single units that were tried.
    """
    test = data.test
    there = set.intersection(*(set(run) for run in runs))
    logits = {name: np.stack([np.load(run[name]["logits"]) for run in runs]) for name in there}
    logits.setdefault(OURS, np.zeros((len(runs), len(test)), np.float32))
    scores = {name: [auc(test.label, one) for one in each] for name, each in logits.items()}
    means = {name: statistics.fmean(each) for name, each in scores.items()}
    best = max((name for name in means if name != OURS), key=lambda name: means[name])
    pair = Rows.checked(test.label, logits[best], logits[OURS], test.users, test.items)
    # The method with the widest interval decides, as in a verdict.
    interval = max(intervals(pair, DRAWS, 0).values(), key=lambda way: way.width)
    contestants = {
        name: {
            "auc": means[name],
            "aucs": scores[name],
            **{fact: [run[name][fact] for run in runs] for fact in FACTS if name in there},
        }
        for name in sorted(means, key=lambda name: -means[name])
    }
    told = {
        "se": interval.error,
        "at_least_minus_one_se": interval.difference >= -interval.error,
        "seeds": len(runs),
        "contestants": contestants,
        "not_reached": sorted({OURS, *ways, *KINDS, *itertools.chain(*runs)} - there),
        "ours": [{fact: run.get(OURS, {}).get(fact) for fact in OUR_FACTS} for run in runs],
    }
    return Claim(id, interval.difference, "AUC", best, {**detail, **told})


def mean_gap(claims: Sequence[Claim]) -> Claim:
    """Return the mean of gaps, with a standard error on the safe side.

    Budgets of a set share its rows and seeds: their errors are taken as one; those of sets as
    independent of each other.
    """
    by_set: dict[str, list[Claim]] = {}
    for claim in claims:
        by_set.setdefault(claim.id.rpartition("_")[0], []).append(claim)
    sums = [sum(claim.detail["se"] for claim in each) for each in by_set.values()]
    error = math.sqrt(sum(each**2 for each in sums)) / len(claims)
    worst = min(claims, key=lambda claim: claim.value + claim.detail["se"])
    passed = sum(claim.detail["at_least_minus_one_se"] for claim in claims)
    detail = {"se": error, "at_least_minus_one_se": passed, "of": len(claims), "worst": worst.id}
    return Claim("gap_mean", statistics.fmean(c.value for c in claims), "AUC", None, detail)


if __name__ == "__main__":
    main("budget", measure, full="nine single units and three seeds; some 50 minutes")
