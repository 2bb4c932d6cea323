"""``recprune evaluate``: the metrics of a saved model on a table."""

from __future__ import annotations

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
    model: Model,
    table: TableOrSql = None,
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
    """Score a table with a saved model and print accuracy, recall, AUC, log loss and more."""
    from recprune.evaluation import evaluate

    source, bad = chosen_rows(table, sql, sql_url_file, on_bad_rows)
    artifact, (logits,), label, _ = scored([model], source, part, drop, schema, split, seed, bad)
    result = {
        "artifact": str(model),
        "rows": len(label),
        "metrics": evaluate(logits, label, float(artifact.meta.get("threshold", 0.5))),
        **counted(bad),
    }
    emit(result, as_json)
    return 0
