"""``recprune train``: fit a full model and save it."""

from __future__ import annotations

from pathlib import Path

from recprune.cli._options import Json, Output, emit, keep_bad_rows
from recprune.cli._records import Job


def command(
    job: Job,
    output: Output = Path("runs/full"),
    as_json: Json = False,
) -> int:
    """Fit a ranker on a table's training rows and save the artefact. Stopped and started again, it
    goes on where it was.
    """
    from recprune.pipeline import train_model

    ready = job.ready()
    ranker, size = train_model(ready.data, output, ready.config)
    keep_bad_rows(ready.bad, output)
    best = ranker.training.best_of(ranker.history)
    result = {
        "model": ready.config.model,
        "artifact": str(output),
        "bytes": size,
        "params": ranker.params,
        f"{ranker.metric}_tune": best.score,
        "epochs": len(ranker.history) - 1,
        "best_epoch": best.epoch,
        "fields": list(ranker.encoder.schema.names),
    }
    emit(result, as_json)
    return 0
