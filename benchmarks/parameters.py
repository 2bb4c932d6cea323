"""How few bytes keep the promise: the combined default, single methods, and trivial baselines.

The full model is no larger than it must be: its training is tuned, and then the smallest dim and the
smallest hidden layers are taken that validation rows find as good (:mod:`benchmarks._full_models`).
At falling shares of its bytes each way makes a model; each gets the same fine-tuning, and so does
the full one. The *procedure* is judged on test rows, with a pair of models for every seed
(:func:`recprune.evaluation.verdict`), from the largest budget on, and the first that does not PASS
ends a way: a fixed sequence needs no correction. What counts is the smallest that passes, by the
mean of its bytes.

The margin is fixed before test rows are opened: 0.002, or, where the gate rows tell that so many
rows and seeds cannot decide that, the smallest that they can, up to 0.005.

- ``bytes_cut_SET``: share of the full model's bytes (fp32) that the combined default cuts;
- ``bytes_cut_SET_METHOD``: that a trivial baseline cuts, or, of ``--full``, a single unit by one
  method (:mod:`benchmarks.budget` compares with those);
- ``bytes_vs_best_trivial_SET``: bytes of the smallest passing trivial baseline by ours.

Results are kept (:mod:`benchmarks._cells`); a run that was stopped goes on. The chart is
``benchmarks/results/parameters.png``.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._cells import RESULTS, Record
from benchmarks._common import Claim, main
from benchmarks._full_models import full_models
from benchmarks._parameters_cells import BUDGETS, DEFAULT, levels
from benchmarks._parameters_tasks import QUICK_SETS, SETS, parameters_task
from benchmarks._parameters_ways import FEW, MANY, WAYS
from benchmarks._tasks import look_for
from recprune.data import Dataset, Split
from recprune.evaluation import Verdict, verdict
from recprune.executor import Executor
from recprune.metrics import auc

WORKERS = 2
SEEDS, FULL_SEEDS = 3, 5
LEAST_MARGIN, MOST_MARGIN, STEP = 0.002, 0.005, 0.0005
#: Ticks of the chart.
TIMES = (2, 4, 8, 16, 32, 64, 128)
TRIVIAL = ("narrower dense", "minimum count", "random fields", "global magnitude", "int8 alone")


@dataclass(frozen=True, eq=False)
class Level:
    """A way at one budget, by all seeds."""

    bytes: float
    verdict: Verdict
    auc: float
    sizes: Record

    def detail(self) -> Record:
        """Return what a claim tells of it."""
        low, high = self.verdict.ci
        return {
            "bytes": self.bytes,
            "outcome": self.verdict.outcome,
            "difference": self.verdict.difference,
            "ci": [low, high],
            "auc": self.auc,
            **self.sizes,
        }


def measure(quick: bool, full: bool = False) -> list[Claim]:
    """Return all claims; see the module."""
    workers, sets = Executor(WORKERS), QUICK_SETS if quick else SETS
    look_for(sets)
    settings = full_models(workers, sets, quick, full)
    ways = (DEFAULT, "trivial", *((*WAYS, *MANY) if full else FEW if quick else ()))
    seeds = range(2 if quick else FULL_SEEDS if full else SEEDS)
    parts = [(name, seed, ways, quick) for seed, name in itertools.product(seeds, reversed(sets))]
    chosen = {name: found["settings"] for name, found in settings.items()}
    found = workers.map(levels, parts, shared=chosen, text="sets and seeds")
    claims: list[Claim] = []
    judged: dict[str, Judged] = {}
    for name in sets:
        runs = [run for run in found if run["set"] == name]
        judged[name] = _judged(parameters_task(name, quick), runs)
        claims += _claims(name, settings[name], runs, judged[name])
    chart(judged, {n: _full_bytes([r for r in found if r["set"] == n]) for n in sets})
    return claims


@dataclass(frozen=True, eq=False)
class Judged:
    """All ways of a set at all their budgets, and the margin that they were judged by."""

    margin: float
    decidable: float
    ways: Mapping[str, Sequence[Level]]

    def smallest(self, way: str) -> Level | None:
        """Return the last level that passed before the first that did not."""
        passed = itertools.takewhile(lambda level: level.verdict.outcome == "PASS", self.ways[way])
        return min(passed, key=lambda level: level.bytes, default=None)


def _judged(data: Dataset, runs: Sequence[Record]) -> Judged:
    decidable = _decidable(data, runs)
    margin = min(max(LEAST_MARGIN, math.ceil(decidable / STEP) * STEP), MOST_MARGIN)
    full = _stack(run["reference"]["logits"] for run in runs)
    ways = {}
    for way in sorted({way for run in runs for way in run["ways"]}):
        ways[way] = list(
            _levels(data.test, full, [run["ways"].get(way, []) for run in runs], margin)
        )
    return Judged(margin, decidable, ways)


def _levels(
    test: Split, full: NDArray[Any], runs: Sequence[Sequence[Record]], margin: float
) -> Iterator[Level]:
    """Yield the budgets that every seed reached, in falling order, with their verdicts."""
    by_budget = [{record["budget"]: record for record in run} for run in runs]
    for budget in sorted(set.intersection(*(set(each) for each in by_budget))):
        records = [each[budget] for each in by_budget]
        small = _stack(record["logits"] for record in records)
        decision = verdict(
            test.label, full, small, users=test.users, items=test.items, tolerance=margin
        )
        size = statistics.fmean(record["bytes"] for record in records)
        sizes = {
            key: [record[key] for record in records]
            for key in ("fields", "rows", "dims", "neurons")
        }
        value = statistics.fmean(auc(test.label, each) for each in small)
        yield Level(size, decision, value, {"budget": BUDGETS[budget], **sizes})


def _decidable(data: Dataset, runs: Sequence[Record]) -> float:
    """Return the drop that so many test rows and seeds can rule out, as gate rows tell.

    It is asked of the smallest of the default's models that gate rows find as good as the full one:
    pairs of models that hardly differ would promise more than can be kept.
    """
    gate, test = data.gate, data.test
    wholes = [run["reference"] for run in runs]
    known = [{record["budget"]: record for record in run["ways"][DEFAULT]} for run in runs]
    widths: list[float] = []
    for budget in sorted(set.intersection(*map(set, known))):
        smalls = [each[budget] for each in known]
        full, small = (
            _stack(Path(r["logits"]).parent / r["gate_logits"] for r in records)
            for records in (wholes, smalls)
        )
        decision = verdict(gate.label, full, small, users=gate.users, items=gate.items)
        if not widths or decision.difference > -LEAST_MARGIN:
            widths.append((decision.ci[1] - decision.ci[0]) / 2)
    return widths[-1] * math.sqrt(len(gate) / len(test))


def _stack(files: Any) -> NDArray[np.float32]:
    return np.stack([np.load(file) for file in files])


def _full_bytes(runs: Sequence[Record]) -> float:
    return statistics.fmean(run["full"]["bytes"] for run in runs)


def _claims(name: str, settings: Record, runs: Sequence[Record], judged: Judged) -> Iterator[Claim]:
    whole = _full_bytes(runs)
    facts = {
        "full_bytes": whole,
        "full_settings": settings["settings"],
        "full_auc_valid": settings["valid"],
        "margin": judged.margin,
        "decidable": judged.decidable,
        "seeds": len(runs),
    }
    for way, found in judged.ways.items():
        best = judged.smallest(way)
        cut = 0.0 if best is None else 1 - best.bytes / whole
        id = f"bytes_cut_{name}" + ("" if way == DEFAULT else f"_{way.replace(' ', '_')}")
        detail = {
            "smallest": best.detail() if best else None,
            "levels": [level.detail() for level in found],
        }
        yield Claim(id, cut, "share", None, {**facts, **detail} if way == DEFAULT else detail)
    ours = judged.smallest(DEFAULT)
    trivial = {way: judged.smallest(way) for way in TRIVIAL if way in judged.ways}
    passing = {way: level for way, level in trivial.items() if level is not None}
    rival = min(passing, key=lambda way: passing[way].bytes, default=None)
    ratio = passing[rival].bytes / ours.bytes if rival is not None and ours is not None else 0.0
    yield Claim(
        f"bytes_vs_best_trivial_{name}",
        ratio,
        "ratio",
        rival,
        {"ours": ours.bytes if ours else None, "trivial": {w: x.bytes for w, x in passing.items()}},
    )


def chart(judged: Mapping[str, Judged], full: Mapping[str, float]) -> None:
    """Draw each set's ways: the difference of AUC by how many times smaller a model is."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    for (name, found), axis in zip(judged.items(), axes.flat, strict=False):
        for way, levels_of in found.ways.items():
            times = [full[name] / level.bytes for level in levels_of]
            drops = [level.verdict.difference for level in levels_of]
            style = {"lw": 3, "color": "black"} if way == DEFAULT else {"lw": 1}
            dash = "--" if way in TRIVIAL else "-"
            axis.plot(times, drops, dash, marker=".", label=way, **style)
        axis.axhline(-found.margin, color="grey", lw=1, ls=":")
        axis.set(title=name, xscale="log", xlabel="times smaller", ylabel="test AUC, pruned − full")
        axis.set(ylim=(-0.012, 0.004), xlim=(2, 128), xticks=TIMES, xticklabels=TIMES)
        axis.minorticks_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "parameters.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main("parameters", measure, full="all methods and five seeds; some three hours")
