"""From options and a configuration to a split table: what ``run``, ``train`` and ``tune`` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from recprune.cli._options import chosen_negatives, chosen_rows, read_config, read_data
from recprune.errors import InputError

if TYPE_CHECKING:
    from recprune.data import Dataset
    from recprune.data.bad_rows import BadRows
    from recprune.pipeline import RunConfig

__all__ = ["ModelName", "OnBadRows", "Run", "prepared"]

ModelName = Annotated[
    str | None, typer.Option("--model", help="Class of the full model, as DeepFM, DCNv2 or LR.")
]
OnBadRows = Annotated[
    str | None,
    typer.Option(
        "--on-bad-rows",
        help="error (the default), or skip: leave out rows of CSV and TSV that cannot be read, and "
        "count them.",
    ),
]


class Run(NamedTuple):
    """A configuration and its data, split.

    Its fields: the settings, the split table, what the report calls the rows, and the bad rows.
    """

    config: RunConfig
    data: Dataset
    name: str
    bad: BadRows


def prepared(
    table: Path | None,
    sql: tuple[str | None, Path | None],
    config: Path | None,
    settings: Sequence[str] | None,
    **given: Any,
) -> Run:
    """Read the configuration (file, then ``--set``, then options that were given) and the table.

    Args:
        table: the table; None = the rows of a query.
        sql: the query, and the file that holds its database's URL.
        config: file of settings.
        settings: ``name=value`` of ``--set``.
        given: settings from options of their own; None = not given.
    """
    given = {name: value for name, value in given.items() if value != []}
    chosen = read_config(config, settings, **given)
    rows, bad = chosen_rows(table, *sql, chosen.on_bad_rows)
    drawn = chosen_negatives(chosen.negatives, chosen.negatives_per_positive)
    if config is not None and chosen.schema_file and not Path(chosen.schema_file).is_file():
        raise InputError(
            f"The schema file {chosen.schema_file!r} that {str(config)!r} names is not there. Start "
            "from the folder that the run was started from, or name another with --schema."
        )
    roles = {"user": chosen.user, "item": chosen.item, "time": chosen.time}
    schema = Path(chosen.schema_file) if chosen.schema_file else None
    data = read_data(
        rows, chosen.label, roles, chosen.drop, schema, bad, chosen.label_threshold, drawn
    )
    return Run(chosen, data.split(by=chosen.split, seed=chosen.seed), rows.name, bad)
