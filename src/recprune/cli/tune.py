"""``recprune tune``: search better settings of a ranker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import Json, Output, emit, keep_bad_rows
from recprune.cli._records import Job

if TYPE_CHECKING:
    from rich.console import Group

    from recprune.pipeline import Tuned

#: Columns of the trials that are no settings.
ABOUT = ("trial", "state", "epoch", "seconds", "error")


def command(
    job: Job,
    trials: Annotated[int, typer.Option("--trials", help="How many settings to try.")] = 50,
    output: Output = Path("runs/tuned"),
    as_json: Json = False,
) -> int:
    """Search a ranker's settings; ``recprune train --config OUTPUT/run.toml`` trains with the best.
    Stopped and started again, or with more trials, it goes on where it was.
    """
    from recprune.pipeline import tune

    ready = job.ready()
    found = tune(ready.config, ready.data, trials=trials, storage=output)
    keep_bad_rows(ready.bad, output)
    states = found.trials["state"].to_list()
    result: dict[str, Any] = {
        "output": str(output),
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "given": _trial(found, states.index(next(s for s in states if s != "failed"))),
        "best": _trial(found, found.best),
        "train": f"recprune train TABLE --config {output / 'run.toml'}",
    }
    emit(result, as_json, _summary(result))
    return 0


def _trial(found: Tuned, number: int) -> dict[str, Any]:
    row = found.trials.row(number, named=True)
    return {name: value for name, value in row.items() if name not in ABOUT}


def _summary(result: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    counts = ", ".join(f"{count} {state}" for state, count in result["trials"].items())
    shown = RichTable("", "as given", "best", title=f"Trials: {counts}", title_justify="left")
    for name, best in result["best"].items():
        values = (result["given"][name], best)
        texts = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
        shown.add_row(name.replace("_", " "), *texts)
    return Group(shown, Text(f"Train with the best: {result['train']}"))
