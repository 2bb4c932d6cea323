"""``recprune prune --budget``: the best model that keeps a budget, or what could be had instead."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import (
    Config,
    Set,
    emit,
    keep_bad_rows,
    read_config,
    typed_command,
)
from recprune.cli._records import Trained, Workplace
from recprune.errors import BudgetError, ParameterError, RecpruneWarning, nearest

if TYPE_CHECKING:
    from recprune.data import Dataset
    from recprune.pipeline import RunConfig

__all__ = ["ToBudget", "unmet"]

#: What only the main job shows, unless it is asked for with ``--set``.
LEFT_OUT = ("techniques=false", "baselines=false", "bring_back=false", "noise_seeds=0")


#: Settings of what a report shows beside the search.
BESIDE = ("techniques", "baselines", "bring_back", "noise_seeds", "ranking_users")
VERDICT = ("outcome", "metric", "difference", "ci", "tolerance", "reasons")


@dataclass(frozen=True)
class ToBudget(Workplace):
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

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were typed, but for the budget itself."""
        typed = {"--config": self.config, "--set": self.settings}
        return (*(option for option, value in typed.items() if value), *self.moved)

    def prune(self, model: Path, trained: Trained, output: Path, as_json: bool) -> int:
        """Search, write the folder, and print; return the exit code."""
        from recprune.pipeline import prune_to_budget
        from recprune.report import summary

        config = self._config(model, trained)
        # Split as it was for training, or what the model learned from would judge it.
        trained = replace(trained, split=trained.split or config.split, seed=config.seed)
        rows, _ = trained.chosen()
        ranker, data, bad = trained.opened(model)
        _warn_of_other_rows(model, data)
        try:
            with self.executor() as executor:
                report = prune_to_budget(
                    ranker,
                    data,
                    output,
                    config,
                    history=_history(model),
                    name=rows.name,
                    command=typed_command(),
                    executor=executor,
                )
        except BudgetError as error:
            if not as_json:
                raise
            return unmet(error)
        keep_bad_rows(bad, output)
        emit(_told(report, output), as_json, summary(report))
        return 0 if report["verdict"]["outcome"] == "PASS" else 3

    def _config(self, model: Path, trained: Trained) -> RunConfig:
        """Return the settings: the file's, or those that the model was trained with; then what was typed."""
        from recprune.pipeline import Budget
        from recprune.pipeline.pruned import SEARCH_SETTINGS

        for setting in self.settings or ():
            name = setting.partition("=")[0].strip()
            if name not in (*SEARCH_SETTINGS, *BESIDE):
                known = nearest(name, [*SEARCH_SETTINGS, *BESIDE])
                raise ParameterError(f"--set {name} does nothing in prune.{known}")
        budget = Budget.parse(self.budget or "")
        given: dict[str, Any] = {"budget": budget, "seed": trained.seed, "split": trained.split}
        if "auc" in budget.max_drop:
            given["tolerance"] = budget.max_drop["auc"]
        file = self.config
        if file is None and (model / "run.toml").is_file():
            file = model / "run.toml"
        left_out = () if self.config is not None else LEFT_OUT
        return read_config(file, [*left_out, *(self.settings or ())], **given)


def unmet(error: BudgetError) -> int:
    """Print what could be had instead of a budget, as JSON; return the exit code."""
    emit({"met": False, "reason": str(error), "nearest": list(error.nearest)}, True)
    return error.exit_code


def _history(model: Path) -> list[dict[str, Any]]:
    """Return the epochs of a saved model's training, where its folder holds them."""
    import polars as pl

    try:
        return pl.read_parquet(model / "history.parquet").to_dicts()
    except (OSError, pl.exceptions.PolarsError):
        return []


def _warn_of_other_rows(model: Path, data: Dataset) -> None:
    """Warn where a saved model was trained on another table, or on another split of this one."""
    from recprune.data.split import GIVEN
    from recprune.pipeline.run_folder import data_hash

    if data.split_by == GIVEN:  # warned of where the table was split
        return
    try:
        known = json.loads((model / "run.json").read_text("utf-8"))["data"]["hash"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    if known != data_hash(data):
        warnings.warn(
            "These are not the rows, or not the split, that the model was trained on. If it has "
            "learned from rows that judge it here, the verdict means little: name the table of its "
            "training, and --split and --seed where the model does not tell them.",
            RecpruneWarning,
            stacklevel=2,
        )


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
        "verdict": {name: report["verdict"][name] for name in VERDICT},
        "why": search["why"],
        "search_cost": search["cost"]["over_full_training"],
        "seconds": report["seconds"],
        "trials": len(search["trials"]),
        "front": [t for t in search["trials"] if t["on_front"]],
        "report": report["report"],
    }
