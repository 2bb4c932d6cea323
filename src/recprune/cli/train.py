"""``recprune train``: fit a full model and save it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._launched import speaking_once
from recprune.cli._options import Json, Output, emit, keep_bad_rows
from recprune.cli._records import Job, Workplace
from recprune.errors import InputError

Epsilon = Annotated[
    float | None,
    typer.Option("--dp-epsilon", help="Train differentially private: ε of a user's rows together."),
]
Delta = Annotated[float | None, typer.Option("--dp-delta", help="δ of --dp-epsilon; default 1e-5.")]
Clip = Annotated[
    float | None,
    typer.Option("--dp-clip", help="Norm to which a user's gradient is cut; default 1."),
]
RowsPerUser = Annotated[
    int | None, typer.Option("--rows-per-user", help="Most rows of a user in one step; default 20.")
]


def command(
    job: Job,
    workplace: Workplace,
    output: Output = Path("runs/full"),
    epsilon: Epsilon = None,
    delta: Delta = None,
    clip: Clip = None,
    rows_per_user: RowsPerUser = None,
    as_json: Json = False,
) -> int:
    """Fit a ranker on a table's training rows and save the artefact. Stopped and started again, it
    goes on where it was. With --dp-epsilon it starts anew, and no two trainings are alike: noise
    comes from the operating system. Several --workers, or processes started
    by torchrun, share every batch.
    """
    from recprune.models import PrivacyBudget
    from recprune.pipeline import train_model

    further = {"delta": delta, "max_grad_norm": clip, "rows_per_user": rows_per_user}
    given = {name: value for name, value in further.items() if value is not None}
    if given and epsilon is None:
        raise InputError("--dp-delta, --dp-clip and --rows-per-user go with --dp-epsilon.")
    if workplace.engine == "ray" and workplace.workers == 1:
        raise InputError(
            "One process trains here, be there a cluster or not. Add --workers 2 or more, which share "
            "every batch, or leave --engine and --address out."
        )
    privacy = None if epsilon is None else PrivacyBudget(epsilon, **given)  # type: ignore[arg-type]
    with speaking_once() as group:
        ready = job.ready()
        with workplace.executor() as executor:
            ranker, size = train_model(ready.data, output, ready.config, privacy, group, executor)
        if group is not None and group.rank:
            return 0
        keep_bad_rows(ready.bad, output)
        best = ranker.training.best_of(ranker.history)
        spent = ranker.privacy
        result = {
            "model": ready.config.model,
            "artifact": str(output),
            "bytes": size,
            "params": ranker.params,
            f"{ranker.metric}_tune": best.score,
            "epochs": len(ranker.history) - 1,
            "best_epoch": best.epoch,
            "fields": list(ranker.encoder.schema.names),
            **({} if spent is None else {"privacy": spent.to_json(), "stated": spent.sentence()}),
            "processes": workplace.workers if group is None else group.size,
        }
        emit(result, as_json)
    return 0
