"""``recprune ingest``: a table of any size to a folder of columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._options import Drop, Item, Json, Label, Output, Query, Schema, Time, User, emit
from recprune.cli._records import Rows
from recprune.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from recprune.data.erased import Erased


def command(
    source: Rows,
    label: Label = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    drop: Drop = None,
    schema: Schema = None,
    output: Output = Path("data.rp"),
    pseudonymise_users: Annotated[
        bool,
        typer.Option(
            "--pseudonymise-users",
            help="Keyed hashes in the place of user ids; the key is in $RECPRUNE_PSEUDONYM_KEY.",
        ),
    ] = False,
    pseudonym_key_file: Annotated[
        Path | None, typer.Option("--pseudonym-key-file", help="File that holds the key.")
    ] = None,
    erased: Annotated[
        Path | None,
        typer.Option(
            "--erased",
            help="File of erased users, an id or pseudonym a line, left out beside this machine's.",
        ),
    ] = None,
    erasure_key_file: Annotated[
        Path | None,
        typer.Option(
            "--erasure-key-file",
            help="File that holds the key of the list that forget wrote; else $RECPRUNE_ERASURE_KEY.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a table of any size to a folder of columns, which the other verbs read in its place."""
    from recprune.crypto import Pseudonymiser
    from recprune.data import ingest, ingest_sql

    rows, _ = source.chosen()
    if pseudonym_key_file is not None and not pseudonymise_users:
        raise InputError("--pseudonym-key-file goes with --pseudonymise-users, which is not given.")
    options: dict[str, Any] = {
        "label": label,
        "user": user,
        "item": item,
        "time": time,
        "drop": tuple(drop or ()),
        "schema": schema,
        "pseudonyms": Pseudonymiser.read(pseudonym_key_file) if pseudonymise_users else None,
        "erased": _listed(erased, erasure_key_file),
    }
    if isinstance(rows, Query):
        folder = ingest_sql(rows.text, rows.url(), output, **options)
    else:
        folder = ingest(rows, output, on_bad_rows=source.on_bad_rows or "error", **options)
    result = _result(folder)
    emit(result, as_json, None if as_json else _summary(result))
    return 0


def _listed(file: Path | None, key_file: Path | None) -> Erased:
    """Return who is left out: users of the file, and those of this machine's list."""
    from recprune.data.erased import Erased

    listed = Erased.by_default(key_file)
    return listed if file is None else listed | Erased.read(file, key_file)


def _result(folder: Path) -> dict[str, Any]:
    from recprune.data.columns import ColumnStore

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
    return {
        "data": str(folder),
        "rows": store.n_rows,
        "bytes": sum(f.stat().st_size for f in folder.iterdir()),
        "roles": store.roles,
        "pseudonyms": store.pseudonyms,
        "columns": columns,
        "findings": [f.to_json() for f in store.findings],
    }


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
    lines = [f"{f['column'] or 'rows'}: {f['rows']:,} {f['action']}" for f in result["findings"]]
    if lines:
        shown.caption, shown.caption_justify = "\n".join(lines), "left"
    return shown
