"""One set, one seed: a full model, and what each way of pruning makes of it at falling budgets.

Nothing here looks at a test label: a way goes on to the next budget unless its gate rows have lost
more than :data:`HOPELESS`; test rows are scored, and the scores are kept for the verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from benchmarks._cells import Cells, Record
from benchmarks._contestants import Bench, results, scored, trivial
from benchmarks._full_models import Settings
from benchmarks._parameters_tasks import parameters_task
from benchmarks._parameters_ways import single
from recprune.pipeline import Effort
from recprune.pipeline.budget import Sizes
from recprune.pipeline.descent import Course, CutModel, Descent
from recprune.pipeline.trial import Rough

__all__ = ["BUDGETS", "DEFAULT", "Part", "levels"]

#: Bytes by the full model's.
BUDGETS = tuple(1 / n for n in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128))
#: A quick run takes each fourth of them.
THINNED = 4
#: The descent that `recprune run` takes, by bytes alone: there, speed counts too, and fine-tuning is
#: shorter.
DEFAULT = "combined"
#: AUC that gate rows may lose before a way is given up.
HOPELESS = 0.006
#: Set, seed, ways, and whether all is small.
Part = tuple[str, int, tuple[str, ...], bool]


def levels(shared: dict[str, Settings], part: Part, draws: np.random.Generator) -> Record:
    """Return what each way reached on a set with one seed, at each budget that it was tried at."""
    name, seed, ways, quick = part
    torch.set_num_threads(1)
    cells = Cells(results("parameters", quick), f"{name}-{seed}")
    bench = Bench(parameters_task(name, quick), shared[name], seed)
    found: dict[str, list[Record]] = {}
    full = cells.get("full", lambda: scored(cells, "full", bench.full, bench.data))
    reference = cells.get(
        "reference", lambda: scored(cells, "reference", bench.reference, bench.data)
    )
    shares = BUDGETS[::THINNED] if quick else BUDGETS
    limits = [int(full["bytes"] * share) for share in shares]
    for way in ways:
        steps = _trivial if way == "trivial" else _combined if way == DEFAULT else _single
        for number, record in steps(cells, bench, way, limits, reference["gate"]):
            found.setdefault(record.pop("contestant", way), []).append({"budget": number, **record})
    logits = {
        way: [{**r, "logits": str(cells.file.parent / r["logits"])} for r in records]
        for way, records in found.items()
    }
    at = str(cells.file.parent / reference["logits"])
    return {
        "set": name,
        "seed": seed,
        "full": full,
        "reference": {**reference, "logits": at},
        "ways": logits,
    }


Steps = Iterator[tuple[int, Record]]


def _combined(cells: Cells, bench: Bench, way: str, limits: list[int], gate: float) -> Steps:
    """Steps of the descent, each finished at the budgets that it is the first to keep."""
    path: Iterator[CutModel] | None = None
    step = None
    stops = [Sizes(bytes=limit) for limit in limits]
    for number, stop in enumerate(stops):
        key = f"{way} {number}"
        if key not in cells.known:
            if path is None:
                short = Effort(epochs=1).tuning(bench.full, bench.data)
                course = Course(stops, seed=bench.seed)
                path = iter(Descent(bench.reference, bench.data, short, course))
            while step is None or not step.trial.sizes.within(stop):
                step = next(path, None)
                if step is None:
                    return
            model = bench.finished(Rough(step.label, step.model, step.bits))
        record = cells.get(key, lambda: scored(cells, key, model, bench.data))  # noqa: B023 (called at once)
        yield number, dict(record)
        if record["gate"] < gate - HOPELESS:
            return


def _single(cells: Cells, bench: Bench, way: str, limits: list[int], gate: float) -> Steps:
    """One unit by one method, or fewer bits alone, at each budget that it can reach."""
    cut = None
    for number, limit in enumerate(limits):
        key = f"{way} {number}"
        if key not in cells.known:
            cut = cut or single(bench.reference, bench.data, way, bench.seed)
            small = cut(limit)
            if small is None:
                return
            model = bench.finished(small)
        record = cells.get(key, lambda: scored(cells, key, model, bench.data))  # noqa: B023 (called at once)
        yield number, dict(record)
        if record["gate"] < gate - HOPELESS:
            return


def _trivial(cells: Cells, bench: Bench, way: str, limits: list[int], gate: float) -> Steps:
    """The trivial baselines, each until it is hopeless."""
    alive: set[str] | None = None
    for number, limit in enumerate(limits):
        key = f"{way} {number}"
        made = partial(trivial, cells, key, bench, bench.full, limit, alive)
        models = cells.get(key, made)["models"]
        for name, one in models.items():
            yield number, {"contestant": name, **one}
        # Where nothing is chosen, every budget is the same.
        alive = {
            name
            for name, one in models.items()
            if one["gate"] >= gate - HOPELESS and name != "int8 alone"
        }
        if not alive:
            return
