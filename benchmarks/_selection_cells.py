"""One set on one split: rank its fields, keep some, train anew, test. Every result is kept on disk,
in a file for each set and seed (:mod:`benchmarks._cells`)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tests.planted import planted_frame

from benchmarks._cells import RESULTS, Cells, Record, code_version
from benchmarks._common import ROOT
from benchmarks._selection_tasks import Task, selection_task
from recprune._support import stream
from recprune.data import Dataset
from recprune.evaluation import choose_fields
from recprune.importance import METHODS, rank_fields
from recprune.metrics import auc
from recprune.models import DeepFM, Ranker, Training

__all__ = ["SHARES", "TOLERANCE", "Part", "kept_of_planted", "measured", "results"]

#: Of the fields that are not planted; at 1 a perfect ranking keeps these and no noise.
SHARES = (0.25, 0.5, 0.75, 1.0)
TOLERANCE = 0.002
TRAINING = Training(epochs=20, patience=2, learning_rate=3e-3, batch_size=1024)
#: What is not left at its default: one training a field is dear enough.
OPTIONS: dict[str, dict[str, Any]] = {"drop_and_retrain": {"seeds": 1}}
#: Folders of the package that results come from.
CODE = ("data", "models", "importance", "evaluation", "metrics")
PLANTED_ROWS, PLANTED_NOISE = 60_000, 28
#: Set, seed, methods, whether the automatic mode runs too, and whether all is small.
Part = tuple[str, int, tuple[str, ...], bool, bool]


class _Split:
    """A set's split with its full model, both made when they are first needed."""

    def __init__(self, name: str, seed: int, quick: bool) -> None:
        self.name, self.seed, self.quick = name, seed, quick

    @cached_property
    def task(self) -> Task:
        return selection_task(self.name, self.seed, self.quick)

    @cached_property
    def full(self) -> Ranker:
        return _fitted(self.task.data, self.seed)

    def facts(self) -> Record:
        """Return the fields, and which of them are planted."""
        data = self.task.data
        rows = {part: len(getattr(data, part)) for part in ("train", "tune", "gate", "test")}
        return {"fields": list(data.schema.names), "noise": list(self.task.noise), "rows": rows}

    def ranked(self, method: str) -> Record:
        model = self.full if METHODS[method].needs_model else None
        start = time.perf_counter()
        ranking = rank_fields(model, self.task.data, method, self.seed, **OPTIONS.get(method, {}))
        return {"fields": list(ranking.fields), "ranking_s": time.perf_counter() - start}

    def chosen(self) -> Record:
        data = self.task.data
        return {"fields": _automatic(self.full, data, self.seed)}

    def trained(self, fields: Sequence[str], seed: int) -> Record:
        data = self.task.data.only(fields)
        whole = len(fields) == len(self.task.data.schema.names) and seed == self.seed
        model = self.full if whole else _fitted(data, seed)
        return {"test": auc(data.test.label, model.logits(data.test.rows))}


def measured(shared: None, part: Part, draws: np.random.Generator) -> Record:
    """Return all that is measured on one split; see :data:`Part`."""
    name, seed, methods, automatic, quick = part
    cells, split = Cells(results(quick), f"{name}-{seed}"), _Split(name, seed, quick)
    facts = cells.get("facts", split.facts)
    everything, noise = facts["fields"], facts["noise"]
    n_real = len(everything) - len(noise)

    def test(fields: Sequence[str], run: int) -> float:
        kept = sorted(fields)
        # Fields in the data's order: a set of fields is trained once, whoever chose it.
        mark = hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]
        seconds_seed = seed + 100 * run
        key = f"trained {mark} {seconds_seed}"
        return float(cells.get(key, lambda: split.trained(kept, seconds_seed))["test"])

    full = test(everything, 0)
    counts = [max(1, round(share * n_real)) for share in SHARES]
    curves = {}
    for method in methods:
        ranked = cells.get(f"ranked {method}", lambda method=method: split.ranked(method))  # type: ignore[misc]
        areas = [test(ranked["fields"][:k], 0) for k in counts]
        curves[method] = {"test": areas, "seconds": ranked["ranking_s"]}
    found = {"set": name, "seed": seed, "full": full, "counts": counts, "curves": curves, **facts}
    if automatic:
        chosen = cells.get("chosen", split.chosen)
        kept = chosen["fields"]
        pairs = [(test(kept, run), test(everything, run)) for run in range(2)]
        found["automatic"] = {
            "kept": kept,
            "noise_kept": [f for f in kept if f in noise],
            "gap": float(np.mean([small - large for small, large in pairs])),
            "seconds": chosen["seconds"],
        }
    return found


def kept_of_planted(shared: None, part: tuple[int, bool], draws: np.random.Generator) -> list[str]:
    """Return what the automatic mode keeps of the planted set, in one order of its rows."""
    seed, quick = part

    def chosen() -> Record:
        frame = planted_frame(PLANTED_ROWS // (10 if quick else 1), PLANTED_NOISE)
        order = stream(seed, "row order").permutation(len(frame))
        data = Dataset.from_frame(frame[order], label="y").split(seed=seed)
        model = _fitted(data, seed)
        return {"fields": _automatic(model, data, seed)}

    return list(Cells(results(quick), "planted").get(f"chosen {seed}", chosen)["fields"])


def _automatic(model: Ranker, data: Dataset, seed: int) -> list[str]:
    ranking = rank_fields(model, data, seed=seed)
    return list(choose_fields(model, ranking, data.train, data.tune, data.gate, TOLERANCE))


def _fitted(data: Dataset, seed: int) -> Ranker:
    model = DeepFM(8, (64, 32), training=TRAINING, seed=seed)
    return model.fit(data.train, data.tune)


def results(quick: bool) -> Path:
    """Return the folder of results of this code."""
    here = Path(__file__).parent
    own = ("_selection_cells", "_selection_tasks", "_tasks")
    files = [*(here / f"{name}.py" for name in own), ROOT / "tests" / "planted.py"]
    return RESULTS / f"selection-{code_version(CODE, tuple(files))}{'-quick' if quick else ''}"
