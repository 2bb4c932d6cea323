"""A table like Criteo's whose truth is planted, a DeepFM trained on it, and its pruned version.

39 categorical fields, ids skewed (a value's frequency goes as one over its rank), from 4 to some
hundred thousand values each. 34 fields matter, of unlike weight; the others are noise. The logit is

    Σ_f a_f + ½ (|Σ_f u_f|² − Σ_f |u_f|²) + |Σ_f b_f|

(each term to a scale of its own), where a value draws a_f, u_f (two numbers) and b_f once. So first-order weights, pairs of fields and
a bend that is neither of the two all carry signal.

It is pruned as a service would ask, to a budget of latency and bytes. A quick run has no budget.

Training takes minutes: it is done by a process of its own, on all cores, also for who times with one
thread; what came of it is kept under ``$XDG_CACHE_HOME/recprune/benchmarks``, by a hash of this file,
of the profile and of the package's code, and used again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks._common import ROOT
from benchmarks._kept import PROFILE, kept
from recprune import Dataset
from recprune.data import Split
from recprune.evaluation import verdict
from recprune.metrics import auc
from recprune.models import LR, Ranker
from recprune.pipeline import search
from recprune.pipeline.config import RunConfig
from recprune.pruning import cut

__all__ = ["FIELDS", "TOLERANCE", "trained"]

FIELDS, INFORMATIVE, DIM, HIDDEN = 39, 34, 16, (400, 400, 400)
ROWS, VOCABULARY, TOLERANCE = 700_000, 1_000_000, 0.002
#: By the host's profile, 1,000 rows take the full model 9,442 µs; it has 43 MB.
BUDGET = "latency_us=240,bytes=300000"
#: Of a quick run; its search in seconds, and the fields whose drop is measured.
QUICK_ROWS, QUICK_HIDDEN, QUICK_SEARCH, QUICK_DROPS = 20_000, (64, 64, 64), 2.0, 4
#: A rank is size^(u^SKEW), u uniform: 1 = a value's frequency goes as one over its rank.
SKEW = 1.5
#: Rows that are kept, encoded, to be scored.
KEPT = 20_000


def trained(quick: bool) -> Path:
    """Return the folder with ``full`` and ``pruned``, ``rows.npz`` and ``facts.json``.

    Args:
        quick: few rows, small layers and a short search, for development.
    """
    name = "planted-quick" if quick else "planted"
    command = [sys.executable, "-m", "benchmarks._planted", name]
    # Of a quick run others use the cores, too, and threads that wait for each other take long then.
    environment = {k: v for k, v in os.environ.items() if quick or not k.endswith("_THREADS")}

    def make(folder: Path) -> None:
        subprocess.run([*command, str(folder)], cwd=ROOT, env=environment, check=True)

    return kept(name, (), make, (Path(__file__), PROFILE))


def _table(rows: int) -> pl.DataFrame:
    draws = np.random.default_rng(0)
    weights = np.geomspace(1, 3000, FIELDS)
    sizes = np.maximum((weights / weights.sum() * VOCABULARY).astype(int), 4)
    # Fields that matter most and least are spread over small and large ones alike.
    strength = draws.permutation(np.geomspace(0.5, 1.5, INFORMATIVE))
    strength = np.append(strength, np.zeros(FIELDS - INFORMATIVE))[draws.permutation(FIELDS)]
    columns: dict[str, pl.Series] = {}
    sums = np.zeros((4, rows))
    squares = np.zeros(rows)
    for i, size in enumerate(sizes):
        rank = np.minimum((size ** draws.random(rows) ** SKEW).astype(np.int64), size) - 1
        effect = strength[i] * draws.normal(0, 1, (4, size))
        sums += effect[:, rank]
        squares += np.square(effect[1:3]).sum(axis=0)[rank]
        columns[f"f{i}"] = pl.Series(rank)
    root = np.sqrt(np.square(strength).sum())
    pairs = 0.5 * (np.square(sums[1:3]).sum(axis=0) - squares) / root**2
    logit = 1.6 * sums[0] / root + 1.6 * pairs + 1.2 * (np.abs(sums[3]) / root - 0.8) - 1.0
    label = (draws.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    frame = pl.DataFrame(columns).select(
        pl.format("v{}", pl.col(name)).alias(name) for name in columns
    )
    return frame.with_columns(label=pl.Series(label))


def _train(folder: Path, quick: bool) -> None:
    start = time.perf_counter()
    data = Dataset.from_frame(_table(QUICK_ROWS if quick else ROWS), label="label").split(
        by="random", valid=0.12, test=0.15, seed=0
    )
    config = RunConfig(dim=DIM, hidden=QUICK_HIDDEN if quick else HIDDEN, epochs=2, patience=1)
    ranker = config.ranker().fit(data.train, data.tune)
    asked = {"search_seconds": QUICK_SEARCH} if quick else {"budget": BUDGET}
    found = search(ranker, data, profile=PROFILE, tolerance=TOLERANCE, tuning_epochs=1, **asked)
    linear = LR(replace(config.training(), learning_rate=1e-2, epochs=4)).fit(data.train, data.tune)
    full, pruned, test = found.reference, found.small.model, data.test
    score = _logits(full, test)
    judged = verdict(test.label, score, _logits(pruned, test), tolerance=TOLERANCE)
    auc_full = auc(test.label, score)
    drops = {
        name: auc_full - auc(test.label, _logits(_without(full, name, data.tune), test))
        for name in full.encoder.schema.names[: QUICK_DROPS if quick else None]
    }
    kept = test.take(slice(0, KEPT))
    for name, model in (("full", full), ("pruned", pruned)):
        model.save(folder / name)
    np.savez(
        folder / "rows.npz",
        full=full.aligned(kept).rows.codes,
        pruned=pruned.aligned(kept).rows.codes,
    )
    facts = {
        "rows": {k: len(getattr(data, k)) for k in ("train", "valid", "test")},
        "vocabulary": {
            "full": sum(full.encoder.sizes),
            "pruned": sum(pruned.encoder.sizes),
        },
        "auc": {"full": auc_full, "LR": auc(test.label, linear.logits(test.rows))},
        "fields": {"all": FIELDS, "pruned": len(pruned.encoder.sizes)},
        "fields_that_cost_0.0005": sum(d >= 0.0005 for d in drops.values()),
        "drops": {k: round(d, 5) for k, d in sorted(drops.items(), key=lambda x: -x[1])},
        "neurons": pruned.neurons,
        "dims": sorted({a.size for a in pruned.layout.of_unit("dim")}),
        "bytes": {
            "full": found.candidates[0].bytes,
            "pruned": found.small.bytes,
        },
        "latency_us": {
            "full": found.candidates[0].trial.sizes.latency_us,
            "pruned": found.small.trial.sizes.latency_us,
        },
        "budget": None if quick else BUDGET,
        "met": found.met,
        "path": found.to_json()["trials"],
        "verdict": judged.to_json(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _logits(model: Ranker, split: Split) -> Any:
    return model.logits(model.aligned(split).rows)


def _without(model: Ranker, field: str, split: Split) -> Ranker:
    """Return the model with one field dropped, what it adds on average folded into the biases."""
    names = tuple(n for n in model.encoder.schema.names if n != field)
    return cut(model, split, {"fields": names})


if __name__ == "__main__":
    _train(Path(sys.argv[2]), quick=sys.argv[1] == "planted-quick")
