"""Full models that are no larger than they must be: what validation rows say is best.

``python -m benchmarks._full_models`` prints what :data:`SETTLED` is to be, some five minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._cells import RESULTS, Cells, Record, code_version
from benchmarks._parameters_tasks import SETS, parameters_task
from recprune.data import Dataset
from recprune.executor import Executor
from recprune.metrics import auc
from recprune.models import DeepFM, Penalty, Ranker, Training

__all__ = ["Settings", "full_model", "full_models", "tuned"]

#: Training's settings that are tried, one after the other, each from what was best before.
TRAINING = Training(epochs=30, learning_rate=3e-3, batch_size=1024)
RARE, UNKNOWN_RATES = (True, False), (50.0, 5.0)
L2, RATES = (0.1, 0.3, 1.0, 3.0), (1e-3, 3e-3)
START = {"dim": 8, "hidden": (64, 32)}
#: Sizes that are tried, from the smallest.
DIMS = (2, 4, 8, 16)
WIDTHS = ((16, 8), (32, 16), (64, 32), (128, 64))
#: A smaller size is taken if its validation AUC is at most so far below the best.
AS_GOOD = 0.0005
SIZE_SEEDS = 2
#: Folders of the package that results come from.
CODE = ("data", "models", "metrics")
Settings = dict[str, Any]
#: What :func:`tuned` found, and the validation AUC; a run with ``--full`` finds it again.
SETTLED: dict[str, Record] = {
    "ml100k": {
        "settings": {
            "dim": 16,
            "hidden": (64, 32),
            "unseen_rare": True,
            "unknown_rate": 5.0,
            "l2": 1.0,
            "rate": 0.003,
        },
        "valid": 0.792098,
    },
    "online_retail": {
        "settings": {
            "dim": 4,
            "hidden": (64, 32),
            "unseen_rare": False,
            "unknown_rate": 50.0,
            "l2": 0.3,
            "rate": 0.003,
        },
        "valid": 0.719264,
    },
    "book_crossing": {
        "settings": {
            "dim": 4,
            "hidden": (32, 16),
            "unseen_rare": True,
            "unknown_rate": 5.0,
            "l2": 3.0,
            "rate": 0.001,
        },
        "valid": 0.743323,
    },
    "demo": {
        "settings": {
            "dim": 4,
            "hidden": (64, 32),
            "unseen_rare": True,
            "unknown_rate": 50.0,
            "l2": 1.0,
            "rate": 0.003,
        },
        "valid": 0.776642,
    },
}


def full_models(
    workers: Executor, sets: Sequence[str], quick: bool, full: bool
) -> dict[str, Record]:
    """Return the record of each set's full model: what it is to be, and its validation AUC."""
    if not quick and not full:
        return {name: SETTLED[name] for name in sets}
    found = workers.map(tuned, [(name, quick) for name in reversed(sets)], text="full models")
    return {one["set"]: one for one in found}


def tuned(shared: None, part: tuple[str, bool], draws: np.random.Generator) -> Record:
    """Return the full model's settings on a set: what validation rows say is best.

    Training's settings are chosen at one size; then the smallest dim, then the smallest hidden
    layers, within :data:`AS_GOOD` of the best validation AUC, by the mean of :data:`SIZE_SEEDS`.
    A quick run takes the settings that it would begin with.
    """
    name, quick = part
    torch.set_num_threads(1)
    cells, data = Cells(_results(quick), name), parameters_task(name, quick)

    def valid(settings: Settings, seeds: int = 1) -> float:
        scores = []
        for seed in range(seeds):
            key = f"{settings} {seed}"
            record = cells.get(key, lambda seed=seed: {"valid": _valid(data, settings, seed)})  # type: ignore[misc]
            scores.append(record["valid"])
        return statistics.fmean(scores)

    best: Settings = {**START, "unseen_rare": True, "unknown_rate": 50.0, "l2": 0.3, "rate": 3e-3}
    if quick:
        return {"set": name, "settings": best, "valid": valid(best)}
    # The two that keep rare rows from learning by heart act on each other.
    both = [{"unknown_rate": k, "l2": l2} for k in UNKNOWN_RATES for l2 in L2]
    rare, rates = (
        [{name: v} for v in values] for name, values in (("unseen_rare", RARE), ("rate", RATES))
    )
    for tries in (both, rare, rates):
        best = max(({**best, **one} for one in tries), key=valid)
    for key, sizes in (("dim", DIMS), ("hidden", WIDTHS)):
        reached = [valid({**best, key: size}, SIZE_SEEDS) for size in sizes]
        enough = next(i for i, v in enumerate(reached) if v >= max(reached) - AS_GOOD)
        best = {**best, key: sizes[enough]}
    return {"set": name, "settings": best, "valid": valid(best, SIZE_SEEDS)}


def full_model(settings: Settings, seed: int) -> Ranker:
    """Return a full model of such settings, not fitted yet."""
    training = replace(
        TRAINING,
        learning_rate=settings["rate"],
        unseen_rare=settings["unseen_rare"],
        unknown_rate=settings["unknown_rate"],
        penalty=Penalty(l2=settings["l2"]),
    )
    return DeepFM(settings["dim"], tuple(settings["hidden"]), training=training, seed=seed)


def _valid(data: Dataset, settings: Settings, seed: int) -> float:
    model = full_model(settings, seed).fit(data.train, data.tune)
    return auc(data.valid.label, model.logits(data.valid.rows))


def _results(quick: bool) -> Path:
    """Return the folder of results of this code, the same for all benchmarks of these models."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ("_full_models", "_parameters_tasks", "_tasks")]
    return RESULTS / f"full-{code_version(CODE, tuple(files))}{'-quick' if quick else ''}"


if __name__ == "__main__":
    for name, found in full_models(Executor(2), SETS, quick=False, full=True).items():
        told = {"settings": found["settings"], "valid": round(found["valid"], 6)}
        print(f"    {name!r}: {told},")
