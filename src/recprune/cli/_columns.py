"""A table's columns on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["column_table"]

#: So many columns are listed.
MOST_COLUMNS = 60


def column_table(columns: Sequence[Mapping[str, Any]]) -> RichTable | str:
    """Return the columns' roles, kinds and counts; of very many, where they are listed.

    Args:
        columns: as :class:`recprune.data.check.Checked` has them.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    if len(columns) > MOST_COLUMNS:
        return f"--json lists the {len(columns):,} columns."
    listed = RichTable(title="Columns", title_justify="left")
    for heading in ("column", "role", "kind", "missing", "distinct values"):
        right = heading in ("missing", "distinct values")
        listed.add_column(heading, justify="right" if right else "left")
    for c in columns:
        about = (c["name"], c["role"], c["kind"] or "", f"{c['missing']:,}", f"{c['distinct']:,}")
        listed.add_row(*map(Text, about))  # names come from the table: no mark-up is read in them
    return listed
