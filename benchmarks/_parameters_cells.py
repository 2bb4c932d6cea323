"""One set, one seed: a full model, and what each way of pruning makes of it at falling budgets.

Nothing here looks at a test label: a way goes on to the next budget unless its gate rows have lost
more than :data:`HOPELESS`; test rows are scored, and the scores are kept for the verdicts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._cells import RESULTS, Cells, Record, code_version
from benchmarks._parameters_tasks import parameters_task
from benchmarks._parameters_ways import cut_to
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.metrics import auc
from recprune.models import DeepFM, Penalty, Ranker, Training
from recprune.pipeline import Effort, baselines
from recprune.pipeline.descent import Course, CutModel, Descent
from recprune.pruning import BITS, FineTuning, encode

__all__ = ["BUDGETS", "DEFAULT", "Part", "levels", "results", "tuned"]

#: Bytes by the full model's.
BUDGETS = tuple(1 / n for n in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128))
#: The descent that `recprune run` takes, by bytes alone: there, speed counts too, and fine-tuning is
#: shorter.
DEFAULT = "combined"
#: What every contestant gets after its cut, and the full model too.
EFFORT = Effort(epochs=10, pace=0.3, anew=True)
#: AUC that gate rows may lose before a way is given up.
HOPELESS = 0.006
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
CODE = ("data", "models", "importance", "pruning", "evaluation", "metrics", "pipeline")
#: Set, seed, ways, and whether all is small.
Part = tuple[str, int, tuple[str, ...], bool]
Settings = dict[str, Any]


def results(quick: bool) -> Path:
    """Return the folder of results of this code."""
    here = Path(__file__).parent
    files = [
        here / f"{name}.py"
        for name in ("_parameters_cells", "_parameters_tasks", "_parameters_ways", "_tasks")
    ]
    return RESULTS / f"parameters-{code_version(CODE, tuple(files))}{'-quick' if quick else ''}"


def tuned(shared: None, part: tuple[str, bool], draws: np.random.Generator) -> Record:
    """Return the full model's settings on a set: what validation rows say is best.

    Training's settings are chosen at one size; then the smallest dim, then the smallest hidden
    layers, within :data:`AS_GOOD` of the best validation AUC, by the mean of :data:`SIZE_SEEDS`.
    """
    name, quick = part
    torch.set_num_threads(1)
    cells, data = Cells(results(quick), f"{name}-full"), parameters_task(name, quick)

    def valid(settings: Settings, seeds: int = 1) -> float:
        scores = []
        for seed in range(seeds):
            key = f"{settings} {seed}"
            record = cells.get(key, lambda seed=seed: {"valid": _valid(data, settings, seed)})  # type: ignore[misc]
            scores.append(record["valid"])
        return statistics.fmean(scores)

    best: Settings = {**START, "unseen_rare": True, "unknown_rate": 50.0, "l2": 0.3, "rate": 3e-3}
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


def levels(shared: dict[str, Settings], part: Part, draws: np.random.Generator) -> Record:
    """Return what each way reached on a set with one seed, at each budget that it was tried at."""
    name, seed, ways, quick = part
    torch.set_num_threads(1)
    cells = Cells(results(quick), f"{name}-{seed}")
    bench = _Bench(parameters_task(name, quick), shared[name], seed)
    found: dict[str, list[Record]] = {}
    full = cells.get("full", lambda: _scored(cells, "full", bench.full, bench))
    reference = cells.get("reference", lambda: _scored(cells, "reference", bench.reference, bench))
    for way in ways:
        steps = _trivial if way == "trivial" else _combined if way == DEFAULT else _single
        for number, record in steps(cells, bench, way, full["bytes"], reference["gate"]):
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


@dataclass(frozen=True, eq=False)
class _Bench:
    """A set's full model of one seed, made when it is first needed."""

    data: Dataset
    settings: Settings
    seed: int

    @cached_property
    def full(self) -> Ranker:
        return _model(self.settings, self.seed).fit(self.data.train, self.data.tune)

    @cached_property
    def tuning(self) -> FineTuning:
        return EFFORT.tuning(self.full, self.data)

    @cached_property
    def reference(self) -> Ranker:
        """The full model with the effort that every contestant gets."""
        return EFFORT.given_to(self.full, self.tuning)

    def finished(self, model: Ranker, bits: str = "int8") -> Ranker:
        """Return a cut model as it ships."""
        return encode(EFFORT.given_to(model, self.tuning), *BITS[bits])


def _model(settings: Settings, seed: int) -> Ranker:
    training = replace(
        TRAINING,
        learning_rate=settings["rate"],
        unseen_rare=settings["unseen_rare"],
        unknown_rate=settings["unknown_rate"],
        penalty=Penalty(l2=settings["l2"]),
    )
    return DeepFM(settings["dim"], tuple(settings["hidden"]), training=training, seed=seed)


def _valid(data: Dataset, settings: Settings, seed: int) -> float:
    model = _model(settings, seed).fit(data.train, data.tune)
    return auc(data.valid.label, model.logits(data.valid.rows))


def _scored(
    cells: Cells, key: str, model: Ranker, bench: _Bench, size: int | None = None
) -> Record:
    gate, test = (model.aligned(part) for part in (bench.data.gate, bench.data.test))
    return {
        "bytes": stored_size(model.artifact()) if size is None else size,
        "gate": auc(gate.label, model.logits(gate.rows)),
        "gate_logits": cells.keep(f"{key} gate", model.logits(gate.rows)),
        "logits": cells.keep(key, model.logits(test.rows)),
        "fields": len(model.encoder.schema.names),
        "rows": sum(model.encoder.sizes),
        "dims": sum(len(d) for d in model.net.shape.dims),
        "neurons": list(model.neurons),
    }


Steps = Iterator[tuple[int, Record]]


def _combined(cells: Cells, bench: _Bench, way: str, full: int, gate: float) -> Steps:
    """Steps of the descent, each finished at the budgets that it is the first to keep."""
    path: Iterator[CutModel] | None = None
    step = None
    stops = [int(full * share) for share in BUDGETS]
    for number, stop in enumerate(stops):
        key = f"{way} {number}"
        if key not in cells.known:
            if path is None:
                short = Effort(epochs=1).tuning(bench.full, bench.data)
                course = Course(stops, seed=bench.seed)
                path = iter(Descent(bench.reference, bench.data, short, course))
            while step is None or step.bytes > stop:
                step = next(path, None)
                if step is None:
                    return
            model = bench.finished(step.model, step.bits)
        record = cells.get(key, lambda: _scored(cells, key, model, bench))  # noqa: B023 (called at once)
        yield number, dict(record)
        if record["gate"] < gate - HOPELESS:
            return


def _single(cells: Cells, bench: _Bench, way: str, full: int, gate: float) -> Steps:
    """One unit by one method, or fewer bits alone, at each budget that it can reach."""
    unit, _, method = way.partition("_")
    cut = None
    for number, share in enumerate(BUDGETS):
        key = f"{way} {number}"
        if key not in cells.known:
            cut = cut or cut_to(bench.reference, bench.data, unit, method, bench.seed)
            small = cut(int(full * share))
            if small is None:
                return
            model = bench.finished(small, method if unit == "bits" else "int8")
        record = cells.get(key, lambda: _scored(cells, key, model, bench))  # noqa: B023 (called at once)
        yield number, dict(record)
        if record["gate"] < gate - HOPELESS:
            return


def _trivial(cells: Cells, bench: _Bench, way: str, full: int, gate: float) -> Steps:
    """The trivial baselines, each until it is hopeless."""
    alive: set[str] | None = None
    for number, share in enumerate(BUDGETS):
        key = f"{way} {number}"
        made = partial(_baselines, cells, bench, key, int(full * share), alive)
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


def _baselines(
    cells: Cells, bench: _Bench, key: str, budget: int, kinds: set[str] | None
) -> Record:
    try:
        found = baselines(
            bench.data,
            bytes=budget,
            full=bench.full,
            effort=EFFORT,
            draws=1,
            kinds=kinds,
            seed=bench.seed,
        )
    except ParameterError:  # fewer bytes than any of them can have
        return {"models": {}}
    models = {}
    for one in found:
        if one.model is not None:
            name = one.name.removesuffix(" 1")  # the only draw of fields
            models[name] = _scored(cells, f"{key} {name}", one.model, bench, one.bytes)
    return {"models": models}
