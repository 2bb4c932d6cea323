"""``recprune prune --budget``: the best model that keeps a budget, or what could be had instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from recprune.cli._options import (
    Config,
    Set,
    Workers,
    emit,
    keep_bad_rows,
    read_config,
    typed_command,
)
from recprune.cli._records import Trained
from recprune.errors import BudgetError

__all__ = ["ToBudget", "unmet"]

#: What only the main job shows, unless it is asked for with ``--set``.
LEFT_OUT = ("techniques=false", "baselines=false", "bring_back=false", "noise_seeds=0")


@dataclass(frozen=True)
class ToBudget:
    """What a search for a budget is told."""

    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="Limits, as bytes=200kB,latency_us=50,params=20000,max_drop.auc=0.002.",
        ),
    ] = None
    config: Config = None
    settings: Set = None
    workers: Workers = 1

    def prune(self, model: Path, trained: Trained, output: Path, as_json: bool) -> int:
        """Search, write the folder, and print; return the exit code."""
        from recprune.executor import Executor
        from recprune.pipeline import prune_to_budget
        from recprune.report import summary

        settings = [*LEFT_OUT, *(self.settings or ())]
        config = read_config(self.config, settings, budget=self.budget, seed=trained.seed)
        rows, _ = trained.chosen()
        ranker, data, bad = trained.opened(model)
        try:
            report = prune_to_budget(
                ranker,
                data,
                output,
                config,
                training_seconds=_training_seconds(model),
                name=rows.name,
                command=typed_command(),
                executor=Executor(self.workers),
            )
        except BudgetError as error:
            if not as_json:
                raise
            return unmet(error)
        keep_bad_rows(bad, output)
        emit(_told(report, output), as_json, summary(report))
        return 0 if report["verdict"]["outcome"] == "PASS" else 3


def unmet(error: BudgetError) -> int:
    """Print what could be had instead of a budget, as JSON; return the exit code."""
    emit({"met": False, "reason": str(error), "nearest": list(error.nearest)}, True)
    return error.exit_code


def _training_seconds(model: Path) -> float | None:
    """Return how long a saved model's training took, where its folder says so."""
    import polars as pl

    try:
        return float(pl.read_parquet(model / "history.parquet")["seconds"].sum())
    except (OSError, pl.exceptions.PolarsError):
        return None


def _told(report: dict[str, Any], output: Path) -> dict[str, Any]:
    search = report["search"]
    chosen = search["trials"][search["chosen"]]
    return {
        "artifact": str(output),
        "met": search["met"],
        "budget": search["budget"],
        "bytes": {"before": report["full"]["bytes"], "after": report["pruned"]["bytes"]},
        "compression": report["compression"],
        "latency_us": chosen["latency_us"],
        "params": {"before": report["full"]["params"], "after": report["pruned"]["params"]},
        "verdict": {n: report["verdict"][n] for n in ("outcome", "metric", "difference", "ci")},
        "why": search["why"],
        "search_cost": search["cost"]["over_full_training"],
        "seconds": report["seconds"],
        "trials": len(search["trials"]),
        "front": [t for t in search["trials"] if t["on_front"]],
        "report": report["report"],
    }
