"""``recprune check``: what a person should know about a table before it is believed."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from recprune.cli._options import (
    Drop,
    Item,
    Json,
    Label,
    LabelThreshold,
    NegativesBy,
    NegativesPerPositive,
    OnBadRows,
    Schema,
    Seed,
    Split,
    Sql,
    SqlUrlFile,
    TableOrSql,
    Time,
    User,
    chosen_negatives,
    chosen_rows,
    emit,
    read_data,
)

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def command(
    table: TableOrSql = None,
    label: Label = None,
    label_threshold: LabelThreshold = None,
    negatives: NegativesBy = None,
    negatives_per_positive: NegativesPerPositive = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    drop: Drop = None,
    schema: Schema = None,
    split: Split = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 2 if there is a warning or an error.")
    ] = False,
    seed: Seed = None,
    on_bad_rows: OnBadRows = "error",
    sql: Sql = None,
    sql_url_file: SqlUrlFile = None,
    as_json: Json = False,
) -> int:
    """Check a table: leaks, drift, repeats, missing values, and what run will do about them."""
    from recprune.data.bad_rows import BadRows
    from recprune.data.checks import check

    bad = BadRows.of(on_bad_rows)
    rows = chosen_rows(table, sql, sql_url_file)
    drawn = chosen_negatives(negatives, negatives_per_positive)
    roles = {"user": user, "item": item, "time": time}
    data = read_data(rows, label, roles, drop, schema, bad, label_threshold, drawn)
    found = check(data, split or "auto", seed or 0)
    counts = Counter(f.severity for f in found)
    result: dict[str, Any] = {
        "rows": len(data.whole_table.label),
        "columns": len(data.schema.names),
        "label_rate": float(data.whole_table.label.mean()),
        "findings": [f.to_json() for f in found],
    }
    emit(result, as_json, None if as_json else _summary(result))
    return 2 if strict and (counts["error"] or counts["warning"]) else 0


def _summary(result: dict[str, Any]) -> Any:
    from rich.table import Table as RichTable

    title = f"{result['rows']:,} rows, {result['columns']} fields, label rate {result['label_rate']:.4f}"
    shown = RichTable(title=title, title_justify="left")
    for heading in ("severity", "kind", "column", "rows", "what run does"):
        shown.add_column(heading, justify="right" if heading == "rows" else "left")
    for f in result["findings"]:
        cells = (f["kind"], f["column"], f"{f['rows']:,}", f["action"])
        shown.add_row(f["severity"], *cells, style=STYLES[f["severity"]])
    if not result["findings"]:
        shown.caption = "Nothing was found."
    return shown
