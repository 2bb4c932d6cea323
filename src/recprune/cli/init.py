"""``recprune init``: a config to begin with, from a table."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recprune.cli._columns import column_table
from recprune.cli._expand import expanded
from recprune.cli._options import Json, Query, chosen_negatives, emit
from recprune.cli._records import Stated
from recprune.errors import InputError

if TYPE_CHECKING:
    from rich.console import Group

    from recprune.pipeline import Described

#: Options of ``run`` by the names of the settings that they set, where these differ.
RENAMED = {"schema": "schema_file"}


def command(
    stated: Stated,
    output: Annotated[Path, typer.Option("-o", "--output", help="TOML file to write.")] = Path(
        "recprune.toml"
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Write a config for run from a table: which column is what, by name and content, with reasons,
    and every setting with its default. What is not sure is left as a comment; options state it.
    """
    if output.exists() and not force:
        raise InputError(
            f"Output {str(output)!r} is there already; it is left as it is. Name another file with "
            "-o, or write over it with --force."
        )
    from recprune.folders import file_written_whole
    from recprune.pipeline import RunConfig, config_text

    described, typed = _described(stated)
    helps, elsewhere = _options_of_run(RunConfig.model_fields)
    following = f"recprune run {typed} --config {shlex.quote(str(output))}"
    text = config_text(described, helps, elsewhere, following)
    with file_written_whole(output) as file:
        file.write_text(text, "utf-8")
    result = {"config": str(output), "next": following, **described.to_json()}
    emit(result, as_json, None if as_json else _summary(described, output, following))
    return 0


def _described(stated: Stated) -> tuple[Described, str]:
    """Return what the table holds, and how it is named at the command line."""
    from recprune.data.erased import Erased
    from recprune.data.opening import Opened, open_table
    from recprune.data.spec import read_spec
    from recprune.data.sql import read_query
    from recprune.pipeline import describe

    rows, bad = stated.chosen()
    said: dict[str, Any] = {
        **{name: getattr(stated, name) for name in ("label", "user", "item", "time")},
        "label_threshold": stated.label_threshold,
        "negatives": stated.negatives,
        "negatives_per_positive": stated.negatives_per_positive,
        "drop": tuple(stated.drop) if stated.drop else None,
        "schema_file": None if stated.schema is None else str(stated.schema),
        "split": stated.split,
        "seed": stated.seed,
        "on_bad_rows": stated.on_bad_rows,
    }
    spec = read_spec(stated.schema).with_roles(
        tuple(stated.drop or ()),
        threshold=stated.label_threshold,
        negatives=chosen_negatives(stated.negatives, stated.negatives_per_positive),
        **{name: said[name] for name in ("label", "user", "item", "time")},
    )
    if isinstance(rows, Query):
        opened = Opened(read_query(rows.text, rows.url()), spec, False, {})
        typed = f"--sql {shlex.quote(rows.text)}"
        if rows.url_file is not None:
            typed += f" --sql-url-file {shlex.quote(str(rows.url_file))}"
    else:
        opened, typed = open_table(rows, spec, bad), shlex.quote(str(rows))
    name = "a query" if isinstance(rows, Query) else str(rows)
    return describe(opened, name, said, bad, Erased.by_default()), typed


def _options_of_run(settings: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the help of run's options: of those that set a setting, and of all others."""
    from recprune.cli.run import command as run

    helps: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for name, parameter in inspect.signature(expanded(run)).parameters.items():
        option = parameter.annotation.__metadata__[0]
        if (setting := RENAMED.get(name, name)) in settings:
            helps[setting] = option.help
        elif isinstance(option, typer.models.OptionInfo):
            # In an annotation, the first name stands where a default would.
            names = [str(option.default), *(option.param_decls or ())]
            elsewhere[", ".join(names)] = option.help or ""
    return helps, elsewhere


def _summary(described: Described, output: Path, following: str) -> Group:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    roles = RichTable(title=f"{output}: look at the guesses", title_justify="left")
    for heading in ("role", "column", "why"):
        roles.add_column(heading, overflow="fold")
    for role, guess in described.guesses.items():
        # Names come from the table: as Text, rich reads no mark-up in them.
        why = [guess.reason, *(f"or {name!r}: {reason}" for name, reason in guess.candidates)]
        roles.add_row(role, Text(guess.column or "not sure"), Text("\n".join(why)))
    return Group(roles, column_table(described.checked.columns), Text(f"Next: {following}"))
