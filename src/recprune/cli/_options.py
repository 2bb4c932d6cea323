"""Options that several verbs share, and what they have in common."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from recprune._support import plain
from recprune.errors import InputError, ParameterError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from recprune.data import Dataset, Spec
    from recprune.data.bad_rows import BadRows
    from recprune.data.negatives import Negatives
    from recprune.pipeline import RunConfig

__all__ = [
    "Address",
    "Config",
    "Drop",
    "EngineName",
    "Item",
    "Json",
    "Label",
    "LabelThreshold",
    "MasterKeyFile",
    "Model",
    "ModelName",
    "NegativesBy",
    "NegativesPerPositive",
    "OnBadRows",
    "Output",
    "Part",
    "Query",
    "Schema",
    "Seed",
    "Set",
    "Split",
    "SplitAgain",
    "Sql",
    "SqlUrlFile",
    "Strict",
    "Table",
    "TableOrSql",
    "Time",
    "User",
    "Workers",
    "chosen_negatives",
    "chosen_rows",
    "counted",
    "emit",
    "keep_bad_rows",
    "pairs",
    "read_config",
    "read_data",
    "typed_command",
]

#: The environment's variable for the database's URL. Arguments are seen by every process of a
#: machine, and the report quotes them, so that a password may not stand there.
SQL_URL = "RECPRUNE_SQL_URL"

Table = Annotated[
    Path, typer.Argument(help="A table in any form that is read, or a folder that ingest wrote.")
]
TableOrSql = Annotated[
    Path | None,
    typer.Argument(
        help="A table in any form that is read, or a folder that ingest wrote; or use --sql."
    ),
]
Sql = Annotated[
    str | None,
    typer.Option(
        "--sql",
        help=f"SELECT of a PostgreSQL database in the table's place; its URL is in ${SQL_URL}.",
    ),
]
SqlUrlFile = Annotated[
    Path | None, typer.Option("--sql-url-file", help="File that holds the database's URL.")
]
OnBadRows = Annotated[
    str | None,
    typer.Option(
        "--on-bad-rows",
        help="error (the default), or skip: leave out rows of CSV and TSV that cannot be read, and "
        "count them.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 2 if the table has a warning or an error.")
]
Label = Annotated[str | None, typer.Option("--label", help="Column to predict: 0/1, or yes/no.")]
LabelThreshold = Annotated[
    float | None,
    typer.Option("--label-threshold", help="From this value up the label is 1, as for ratings."),
]
NegativesBy = Annotated[
    str | None,
    typer.Option(
        "--negatives",
        help="popularity or uniform: for rows that are all 1, draw items that the user did not take.",
    ),
]
NegativesPerPositive = Annotated[
    int | None,
    typer.Option("--negatives-per-positive", help="How many for each item taken; default 4."),
]
User = Annotated[str | None, typer.Option("--user", help="Column of user ids.")]
Item = Annotated[str | None, typer.Option("--item", help="Column of item ids; none = rank rows.")]
Time = Annotated[str | None, typer.Option("--time", help="Column that orders the rows in time.")]
Drop = Annotated[
    list[str] | None, typer.Option("--drop", help="Column to leave out; repeat for more.")
]
Schema = Annotated[
    Path | None, typer.Option("--schema", help="schema.toml that overrides guesses.")
]
Split = Annotated[
    str | None,
    typer.Option("--split", help="auto, time, user, last-n (as last-1), random or stratified."),
]
SplitAgain = Annotated[
    str | None,
    typer.Option("--split", help="Another way to split than for training; it is warned of."),
]
Config = Annotated[Path | None, typer.Option("--config", help="TOML of settings, as run.toml.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, as tolerance=0.001; repeat for more.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of everything drawn; default 0.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Class of the full model, as DeepFM, DCNv2 or LR.")
]
Model = Annotated[Path, typer.Argument(help="Folder of a saved model.")]
Part = Annotated[str, typer.Option("--part", help="Rows to use: test, or all rows of the table.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="Parts at once; the result is the same.")
]
EngineName = Annotated[
    str,
    typer.Option("--engine", help="Where parts run: processes of this machine, or ray."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Of --engine ray: local (an instance of our own), or a cluster's host:port.",
    ),
]
MasterKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--master-key-file", help="File of the master key; default: $RECPRUNE_MASTER_KEY."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class Query(NamedTuple):
    """Rows of a database; it is asked when they are read."""

    text: str
    url_file: Path | None

    @property
    def name(self) -> str:
        """What the report calls the rows."""
        return "query"

    def url(self) -> str:
        """Return the database's URL, from the file or else the environment."""
        if self.url_file is None:
            url = os.environ.get(SQL_URL, "").strip()
            if not url:
                raise InputError(
                    f"--sql needs the database's URL. Set the environment variable {SQL_URL}, or name "
                    "a file that holds it with --sql-url-file."
                )
            return url
        try:
            url = self.url_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InputError(
                f"File {str(self.url_file)!r} of --sql-url-file cannot be read: {error.strerror}."
            ) from error
        except UnicodeDecodeError:
            raise InputError(
                f"File {str(self.url_file)!r} of --sql-url-file is not text. It must hold one URL."
            ) from None
        if not url:
            raise InputError(
                f"File {str(self.url_file)!r} of --sql-url-file is empty. It must hold one URL."
            )
        return url


def chosen_rows(
    table: Path | None, sql: str | None, url_file: Path | None, on_bad_rows: str
) -> tuple[Path | Query, BadRows]:
    """Return the table or the query, of which exactly one is given, and what collects bad rows."""
    from recprune.data.bad_rows import BadRows

    bad = BadRows.of(on_bad_rows)
    if sql is None and url_file is not None:
        raise InputError("--sql-url-file goes with --sql, which is not given.")
    if sql is None and table is None:
        raise InputError('Missing rows. Name a table, or a query with --sql "select …".')
    if sql is not None and table is not None:
        raise InputError(f"Both the table {str(table)!r} and --sql are given. Leave one out.")
    if table is not None:
        return table, bad
    if bad.skip:
        raise InputError("--on-bad-rows goes with a CSV or TSV file, not with --sql.")
    return Query(str(sql), url_file), bad


def chosen_negatives(by: str | None, per_positive: int | None) -> Negatives | None:
    """Return how negatives are drawn; None = not at all."""
    if by is None and per_positive is not None:
        raise InputError("--negatives-per-positive goes with --negatives, which is not given.")
    if by is None:
        return None
    from recprune.data.negatives import Negatives

    # A wrong word is refused by the record itself.
    how: dict[str, Any] = {"by": by}
    return Negatives(**how) if per_positive is None else Negatives(per_positive, **how)


def read_data(
    table: Path | Query,
    label: str | None,
    columns: Mapping[str, str | None],
    drop: Sequence[str] | None,
    schema: Path | Spec | None,
    bad: BadRows | None = None,
    threshold: float | None = None,
    negatives: Negatives | None = None,
) -> Dataset:
    """Read a table or a query's rows; ``columns`` names the user, item and time columns.

    ``threshold`` and ``negatives`` are those of :meth:`recprune.Dataset.read`; ``bad`` collects a
    table's bad rows (:class:`recprune.data.bad_rows.BadRows`). Users on this machine's list of
    erased ones are left out.
    """
    from recprune.data import Dataset
    from recprune.data.erased import Erased

    stated: dict[str, Any] = {**columns, "drop": tuple(drop or ()), "schema": schema}
    stated["erased"] = Erased.by_default()
    stated |= {"threshold": threshold, "negatives": negatives}
    if isinstance(table, Query):
        return Dataset.read_sql(table.text, table.url(), label=label, **stated)
    return Dataset.read(table, label=label, on_bad_rows=bad or "error", **stated)


def keep_bad_rows(bad: BadRows, output: Path) -> None:
    """Write the rows that were left out beside the output folder, if they were to be left out."""
    from recprune.data.bad_rows import bad_rows_file

    if bad.skip:
        bad.write(bad_rows_file(output))


def counted(bad: BadRows) -> dict[str, int]:
    """Return how many rows were left out, for the result of a verb without an output folder."""
    return {"bad_rows": len(bad.skipped)} if bad.skip else {}


def read_config(file: Path | None, settings: Sequence[str] | None, **given: Any) -> RunConfig:
    """Build the configuration: the file, then ``--set``, then options that were given."""
    from recprune.pipeline import RunConfig

    overrides: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise ParameterError.of("--set", "recprune", "name=value", setting)
        overrides[name.strip()] = _value(value.strip())
    overrides |= {k: v for k, v in given.items() if v is not None}
    return RunConfig.read(file, **overrides) if file is not None else RunConfig.of(**overrides)


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Split ``name=value`` options."""
    out = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not value:
            raise ParameterError.of(option, "recprune", "unit=value", each)
        if name.strip() in out:
            raise InputError(f"{option} names {name.strip()!r} twice. Leave one out.")
        out[name.strip()] = value.strip()
    return out


def emit(result: Mapping[str, Any], as_json: bool, renderable: Any = None) -> None:
    """Print one JSON object, or the summary for people."""
    if as_json:
        print(json.dumps(plain(result), ensure_ascii=False))
        return
    from rich.console import Console

    # Names and values come from data: nothing in them is markup, or a word for an emoji.
    shown = Console(markup=False, emoji=False)
    shown.print(renderable if renderable is not None else _table(result))


def _table(result: Mapping[str, Any]) -> RichTable:
    from rich.table import Table as RichTable

    shown = RichTable(show_header=False, title_justify="left")
    for name, value in result.items():
        shown.add_row(name.replace("_", " "), _shown(value))
    return shown


def _shown(value: Any) -> str:
    """Return a value for people: lists side by side, dictionaries line by line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "\n".join(f"{k}: {_shown(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        if any(isinstance(v, Mapping) for v in value):
            return "\n".join(", ".join(f"{k} {_shown(x)}" for k, x in v.items()) for v in value)
        return ", ".join(map(_shown, value))
    return "" if value is None else str(value)


def typed_command() -> str:
    """Return the command as typed, for the report."""
    return shlex.join(["recprune", *sys.argv[1:]])


def _value(text: str) -> Any:
    """Read a setting's value as JSON, or else as a word; commas make a list of words."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return tuple(text.split(",")) if "," in text else text
