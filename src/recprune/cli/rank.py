"""``recprune rank``: which fields matter."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recprune.cli._options import Json, Model, counted, emit
from recprune.cli._records import Trained


def command(
    model: Model,
    trained: Trained,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="How fields are scored, as shark; a name that is none lists all."
        ),
    ] = "permutation",
    as_json: Json = False,
) -> int:
    """Rank a saved model's fields by importance on held-out rows of the table."""
    from recprune.importance import rank_fields

    ranker, data, bad = trained.opened(model)
    ranking = rank_fields(ranker, data, method, trained.seed or 0)
    result = {
        "method": method,
        "fields": [
            {"field": f, "score": float(s), "std": float(e)}
            for f, s, e in zip(ranking.fields, ranking.scores, ranking.std, strict=True)
        ],
        **counted(bad),
    }
    emit(result, as_json, _table(result))
    return 0


def _table(result: dict[str, Any]) -> Any:
    from rich.table import Table as RichTable

    table = RichTable("field", "importance", "± standard error", title=result["method"])
    for row in result["fields"]:
        table.add_row(row["field"], f"{row['score']:.5f}", f"{row['std']:.5f}")
    return table
