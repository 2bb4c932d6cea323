"""``recprune ingest``: a table of any size to a folder of columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recprune.cli._options import Item, Json, Label, Output, Table, Time, User, emit

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def command(
    table: Table,
    label: Label = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    output: Output = Path("data.rp"),
    as_json: Json = False,
) -> int:
    """Write a table of any size to a folder of columns, which the other verbs read in its place."""
    from recprune.data import ingest
    from recprune.data.columns import ColumnStore

    folder = ingest(table, output, label=label, user=user, item=item, time=time)
    store = ColumnStore(folder)
    columns = [
        {
            "name": c.name,
            "content": c.content,
            "texts": len(store.counts(c.name)) if c.content == "text" else None,
            "missing": c.missing,
        }
        for c in store.columns.values()
    ]
    result = {
        "data": str(folder),
        "rows": store.n_rows,
        "bytes": sum(f.stat().st_size for f in folder.iterdir()),
        "roles": store.roles,
        "columns": columns,
        "findings": [f.to_json() for f in store.findings],
    }
    emit(result, as_json, None if as_json else _summary(result))
    return 0


def _summary(result: Mapping[str, Any]) -> RichTable:
    from rich.table import Table as RichTable

    title = f"{result['data']}: {result['rows']:,} rows, {result['bytes'] / 1e6:,.1f} MB"
    shown = RichTable(title=title, title_justify="left")
    for heading in ("column", "content", "distinct texts", "missing", "role"):
        shown.add_column(
            heading, justify="right" if heading in ("distinct texts", "missing") else "left"
        )
    roles = {column: role for role, column in result["roles"].items()}
    for column in result["columns"]:
        texts = "" if column["texts"] is None else f"{column['texts']:,}"
        name = column["name"]
        shown.add_row(name, column["content"], texts, f"{column['missing']:,}", roles.get(name, ""))
    for finding in result["findings"]:
        shown.caption = f"{shown.caption or ''}{finding['column']}: {finding['rows']:,} rows {finding['action']}. "
    return shown
