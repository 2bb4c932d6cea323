"""``recprune rank``: which fields matter."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recprune.cli._options import (
    Drop,
    Json,
    Model,
    OnBadRows,
    Schema,
    Seed,
    Split,
    Sql,
    SqlUrlFile,
    TableOrSql,
    chosen_rows,
    counted,
    emit,
    open_model,
)


def command(
    model: Model,
    table: TableOrSql = None,
    method: Annotated[
        str,
        typer.Option("--method", help="permutation, gradient, l1_logistic, dropout or random."),
    ] = "permutation",
    drop: Drop = None,
    schema: Schema = None,
    split: Split = None,
    seed: Seed = None,
    on_bad_rows: OnBadRows = "error",
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Rank a saved model's fields by importance on held-out rows of the table."""
    from recprune.importance import rank_fields

    source, bad = chosen_rows(table, sql, sql_url_file, on_bad_rows)
    ranker, data = open_model(model, source, drop, schema, split, seed, bad)
    rows = data.train if method == "dropout" else data.tune
    ranking = rank_fields(ranker, rows, method, seed or 0)
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
