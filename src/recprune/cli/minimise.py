"""``recprune minimise``: which personal columns need not be collected?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recprune.cli._options import Json, Model, counted, emit
from recprune.cli._records import Trained
from recprune.errors import ParameterError

if TYPE_CHECKING:
    from rich.console import Group

    from recprune.pipeline import Minimisation


def command(
    model: Model,
    trained: Trained,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", help="Column to ask about; repeat for more. Default: sensitive ones."
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest drop of AUC that passes.")
    ] = 0.002,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train each model from the start: exact, and slower.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Page (.html) or picture (.png) to write."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Find personal columns that need not be collected, overall and for each group.

    Exit 3 when the test rows do not confirm what the gate rows let go.
    """
    if output is not None and output.suffix not in (".html", ".png"):
        raise ParameterError.of("--output", "minimise", "a file .html or .png", str(output))
    from recprune.pipeline import minimise
    from recprune.report import write_minimisation

    ranker, data, bad = trained.opened(model)
    found = minimise(
        ranker,
        data,
        columns=column or (),
        tolerance=tolerance,
        retrain=retrain,
        seed=trained.seed or 0,
    )
    result: dict[str, Any] = {**found.to_json(), **counted(bad)}
    if output is not None:
        write_minimisation(output, result, data.name or str(model))
        result["output"] = str(output)
    emit(result, as_json, _shown(found))
    return 0 if found.confirmed else 3


def _shown(found: Minimisation) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head, *rows = found.cells()
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 1))
    for number, name in enumerate(head):
        words = number in (0, 4)  # names are folded, figures are not
        side: Literal["left", "right"] = "left" if words or number == 1 else "right"
        table.add_column(name, justify=side, no_wrap=not words, overflow="fold")
    for row in rows:
        # Text, never a string: names come from the user, and a string would be read as markup.
        table.add_row(*(Text(cell) for cell in row))
    return Group(table, *(Text(line) for line in found.findings()))
