"""The run's summary on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recprune.report.facts import at, headline, summary_rows, verdict_line
from recprune.report.wording import clean

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["summary"]

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def summary(report: Mapping[str, Any]) -> Group:
    """Return one table (quality, size, speed: full, pruned, change) and the verdict line.

    Args:
        report: the report dictionary of a run; nulls print as a dash.

    Returns:
        A Rich renderable: ``rich.console.Console().print(summary(report))``.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title_justify="left", header_style="bold", row_styles=["none"])
    # Text, never a string: a string would be read as Rich markup, and names come from data.
    table.title = Text(clean(at(report, "dataset", "name") or "Pruned against full"))
    table.add_column("")
    for name in ("full", "pruned", "change"):
        table.add_column(name, justify="right")
    previous = None
    for row in summary_rows(report):
        if previous not in (None, row.group):
            table.add_section()
        previous = row.group
        table.add_row(*(Text(cell) for cell in (row.label, row.full, row.pruned, row.change)))
    outcome = str(at(report, "verdict", "outcome"))
    line = Text(clean(verdict_line(report)), style=_STYLES.get(outcome, "bold"))
    reasons = at(report, "verdict", "reasons") or ()
    notes = [Text(f"  {clean(reason)}") for reason in reasons]
    return Group(table, line, Text(headline(report)), *notes)
