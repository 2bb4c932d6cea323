"""``recprune compare``: is the small model no worse than the full one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import (
    Drop,
    Json,
    Model,
    OnBadRows,
    Part,
    Schema,
    Seed,
    Split,
    Sql,
    SqlUrlFile,
    TableOrSql,
    chosen_rows,
    counted,
    emit,
)
from recprune.cli._options import open_scored as scored


def command(
    full: Model,
    pruned: Annotated[Path, typer.Argument(help="The pruned model's folder.")],
    table: TableOrSql = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop of AUC that passes.")
    ] = 0.002,
    part: Part = "test",
    drop: Drop = None,
    schema: Schema = None,
    split: Split = None,
    seed: Seed = None,
    on_bad_rows: OnBadRows = "error",
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Judge a pruned model against the full one on the same rows; exit 3 when not PASS."""
    from recprune.artifact import read_artifact, stored_size
    from recprune.evaluation import verdict

    source, bad = chosen_rows(table, sql, sql_url_file, on_bad_rows)
    _, logits, label, rows = scored([full, pruned], source, part, drop, schema, split, seed, bad)
    decision = verdict(
        label,
        *logits,
        users=rows.users,
        items=rows.items,
        tolerance=tolerance,
        seed=seed or 0,
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
