"""``recprune compare``: are small models no worse than the full one?"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recprune.cli._opening import open_part, rule_of
from recprune.cli._options import Json, Part, counted, emit
from recprune.cli._records import AsTrainedOn, Workplace
from recprune.errors import InputError, ParameterError, RecpruneWarning, nearest

if TYPE_CHECKING:
    from rich.console import Group

    from recprune.data import Dataset
    from recprune.pipeline import Comparison

METRICS = ("auc", "logloss", "accuracy")
USAGE = "recprune compare FULL PRUNED… TABLE"


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FULL PRUNED... TABLE",
            help="Folders of saved models, the full one first; then the table (not with --sql).",
        ),
    ],
    trained: AsTrainedOn,
    workplace: Workplace,
    metric: Annotated[str, typer.Option("--metric", help=f"{', '.join(METRICS)}.")] = "auc",
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop that passes.")
    ] = 0.002,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Column whose values are slices; repeat for more."),
    ] = None,
    part: Part = "test",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page (.html) to write.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Judge pruned models against the full one on the same rows; exit 3 when not all PASS."""
    if metric not in METRICS:
        raise ParameterError(f"There is no verdict by {metric!r}.{nearest(metric, METRICS)}")
    if output is not None and output.suffix != ".html":
        raise ParameterError.of("--output", "compare", "a file .html", str(output))
    models, table = _told_apart(paths, trained.sql is not None)
    rows, bad = trained.rows_of(table, "error")
    from recprune.artifact import read_artifact
    from recprune.data import Dataset
    from recprune.pipeline import compare

    data = open_part(read_artifact(models[0]), trained.again(rows, bad), part)
    if isinstance(data, Dataset):
        _warn_of_other_splits(data, models[1:])
    options: dict[str, Any] = {"metric": metric, "tolerance": tolerance, "by": by or ()}
    options["seed"] = trained.seed or 0
    with workplace.executor() as executor:
        found = compare(models[0], models[1:], data, executor=executor, **options)
    result = {**found.to_json(), **counted(bad)}
    if output is not None:
        from recprune.report import write_comparison

        write_comparison(output, result, "" if table is None else table.name)
        result["output"] = str(output)
    emit(result, as_json, _shown(found))
    return 0 if found.passed else 3


def _warn_of_other_splits(data: Dataset, others: list[Path]) -> None:
    """Warn of models that were trained on another split than the one whose test rows judge."""
    from recprune.artifact import read_artifact

    rule = data.split_rule
    for folder in others:
        other = rule_of(read_artifact(folder))
        if other is not None and not other.deals_as(rule):
            warnings.warn(
                f"{str(folder)!r} was trained on a split by {other.by!r} with seed {other.seed}, the "
                f"rows are split by {rule.by!r} with seed {rule.seed} here: it may have learned from "
                "rows that judge it. Compare on rows that are new to all, with --part all.",
                RecpruneWarning,
                stacklevel=2,
            )


def _told_apart(paths: list[Path], sql: bool) -> tuple[list[Path], Path | None]:
    """Return the models' folders, of which there are two or more, and the table."""
    models, table = (paths, None) if sql else (paths[:-1], paths[-1])
    if table is not None and (table / "config.json").is_file():
        raise InputError(
            f"The last argument of compare is the table; {str(table)!r} is a model's folder. "
            f"Usage: {USAGE}"
        )
    if len(models) < 2:
        given = "without a table" if sql else "and the table"
        raise InputError(
            f"compare needs the full model's folder, one or more pruned models' {given}. "
            f"Got {' '.join(map(str, paths))!r}. Usage: {USAGE}"
        )
    return models, table


def _shown(found: Comparison) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head, *rows = found.cells()
    # Eighty columns hold all but long names, which are folded.
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for number, name in enumerate(head):
        side: Literal["left", "right"] = "left" if number in (0, len(head) - 1) else "right"
        table.add_column(name, justify=side, no_wrap=number > 0, overflow="fold")
    for row in rows:
        # Text, never a string: names come from the user, and a string would be read as markup.
        table.add_row(*(Text(cell) for cell in row))
    return Group(table, *(Text(note) for note in found.notes()))
