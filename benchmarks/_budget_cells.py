"""One set, one seed: what the search finds at each budget, and what every rival makes of it.

All begin from one full model, the one that the search fine-tunes first, and get the same fine-tuning
after their cut. Nothing here looks at a test label: test rows are scored, and the scores are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from benchmarks._cells import Cells, Record
from benchmarks._contestants import EFFORT, Bench, results, scored, trivial
from benchmarks._full_models import Settings
from benchmarks._parameters_tasks import parameters_task
from benchmarks._parameters_ways import single
from recprune.models import Ranker
from recprune.pipeline.budget import Budget
from recprune.pipeline.config import RunConfig
from recprune.pipeline.search_result import Search
from recprune.pipeline.searching import Means, find_small, fit_reference
from recprune.pipeline.trial import Candidate, Rough
from recprune.pipeline.trial_store import TrialStore

__all__ = ["BUDGETS", "OURS", "Part", "contest"]

#: Name → what the full model's bytes are divided by.
BUDGETS = {"quarter": 4, "eighth": 8, "sixteenth": 16}
OURS = "search"
#: Set, seed, single units by one method each, and whether all is small.
Part = tuple[str, int, tuple[str, ...], bool]


@dataclass(frozen=True, eq=False)
class _Bench(Bench):
    """Trials are kept, so that budgets share them, and a stopped run goes on."""

    means: Means

    @cached_property
    def reference(self) -> Ranker:
        """The full model that the search begins from."""
        config = RunConfig.of(seed=self.seed)
        return fit_reference(self.full, self.data, config, self.means)[0]


def contest(shared: dict[str, Settings], part: Part, draws: np.random.Generator) -> Record:
    """Return each contestant's record by budget, where it keeps that; see :data:`Part`."""
    name, seed, ways, quick = part
    torch.set_num_threads(1)
    cells = Cells(results("budget", quick), f"{name}-{seed}")
    means = Means(EFFORT, store=TrialStore(cells.file.with_suffix(".trials")))
    bench = _Bench(parameters_task(name, quick), shared[name], seed, means)
    full = cells.get("full", lambda: scored(cells, "full", bench.full, bench.data))
    whole = cells.get("reference", lambda: scored(cells, "reference", bench.reference, bench.data))
    found: dict[str, dict[str, Record]] = {budget: {} for budget in BUDGETS}
    for budget, parts in BUDGETS.items():
        limit = full["bytes"] // parts
        found[budget][OURS] = cells.get(
            f"{OURS} {budget}",
            lambda limit=limit, budget=budget: _searched(cells, f"{OURS} {budget}", bench, limit),  # type: ignore[misc]
        )
        found[budget] |= cells.get(
            f"trivial {budget}",
            lambda limit=limit, budget=budget: trivial(  # type: ignore[misc]
                cells, f"trivial {budget}", bench, bench.reference, limit
            ),
        )["models"]
    for way in ways:
        for budget, record in _single(cells, bench, way, full["bytes"]):
            found[budget][way] = record
    folder = cells.file.parent
    return {
        "set": name,
        "seed": seed,
        "full": full,
        "reference": {**whole, "logits": str(folder / whole["logits"])},
        "budgets": {
            budget: {
                contestant: {**one, "logits": str(folder / one["logits"])}
                for contestant, one in records.items()
                if one.get("fits", True)
            }
            for budget, records in found.items()
        },
    }


def _searched(cells: Cells, key: str, bench: _Bench, limit: int) -> Record:
    """Search at a budget; of what keeps its bytes take the best on tune rows, if gate rows pass none."""
    config = RunConfig.of(budget=Budget(bytes=limit), seed=bench.seed)
    found = find_small(bench.full, bench.data, config, bench.means)
    inside = [c for c in found.candidates if c.trial.sizes.within(found.budget.limit)]
    chosen = found.small if found.met else max(inside, key=lambda c: c.auc_tune, default=None)
    facts: Record = {
        "met": found.met,
        "trials": len(found.trials),
        "search_s": round(found.seconds, 1),
        "candidates": [_told(c, found) for c in found.candidates[1:]],
    }
    if chosen is None:
        return {"fits": False, "logits": "", **facts}
    told = {"label": chosen.label, "bits": chosen.bits, "outcome": chosen.outcome}
    return {**scored(cells, key, chosen.model, bench.data), **told, **facts}


def _told(candidate: Candidate, found: Search) -> Record:
    """Return what is known of a finished model without a test row."""
    return {
        "label": candidate.label,
        "bytes": candidate.bytes,
        "fits": candidate.trial.sizes.within(found.budget.limit),
        "tune": candidate.auc_tune,
        **candidate.judged(),
    }


def _single(cells: Cells, bench: _Bench, way: str, full: int) -> Iterator[tuple[str, Record]]:
    """Yield what one unit by one method, or fewer bits alone, makes of each budget."""
    cut: Callable[[int], Rough | None] | None = None
    for budget, parts in BUDGETS.items():
        key = f"{way} {budget}"

        def made(key: str = key, limit: int = full // parts) -> Record:
            nonlocal cut
            cut = cut or single(bench.reference, bench.data, way, bench.seed)
            small = cut(limit)
            if small is None:
                return {"fits": False, "logits": ""}
            return scored(cells, key, bench.finished(small), bench.data)

        yield budget, cells.get(key, made)
