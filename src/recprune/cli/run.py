"""``recprune run``: the main job on your table."""

from __future__ import annotations

from pathlib import Path

from recprune.cli._options import Json, Output, Strict, emit, keep_bad_rows, typed_command
from recprune.cli._records import Job, Workplace
from recprune.cli._to_budget import unmet
from recprune.errors import BudgetError


def command(
    job: Job,
    workplace: Workplace,
    output: Output = Path("runs/run"),
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Train, rank, prune, prove, recommend and report, on a table of your own. Stopped while it
    trains and started again, it goes on where it was.
    """
    from recprune.pipeline import run
    from recprune.report import summary

    ready = job.ready(strict=strict or None)
    try:
        with workplace.executor() as executor:
            report = run(
                ready.data,
                output,
                ready.config,
                name=ready.name,
                command=typed_command(),
                executor=executor,
            )
    except BudgetError as error:
        if not as_json:
            raise
        return unmet(error)
    keep_bad_rows(ready.bad, output)
    emit(report, as_json, summary(report))
    return 0 if report["verdict"]["outcome"] == "PASS" else 3
