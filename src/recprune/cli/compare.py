"""``recprune compare``: is the small model no worse than the full one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import Json, Model, Part, counted, emit
from recprune.cli._records import Trained


def command(
    full: Model,
    pruned: Annotated[Path, typer.Argument(help="The pruned model's folder.")],
    trained: Trained,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop of AUC that passes.")
    ] = 0.002,
    part: Part = "test",
    as_json: Json = False,
) -> int:
    """Judge a pruned model against the full one on the same rows; exit 3 when not PASS."""
    from recprune.artifact import read_artifact, stored_size
    from recprune.evaluation import verdict

    _, logits, label, rows, bad = trained.scored([full, pruned], part)
    decision = verdict(
        label,
        *logits,
        users=rows.users,
        items=rows.items,
        tolerance=tolerance,
        seed=trained.seed or 0,
    )
    sizes = [stored_size(read_artifact(path)) for path in (full, pruned)]
    result = {
        "verdict": decision.to_json(),
        "bytes": {"full": sizes[0], "pruned": sizes[1]},
        "compression": sizes[0] / sizes[1],
        **counted(bad),
    }
    emit(result, as_json)
    return 0 if decision.outcome == "PASS" else 3
