"""What a page is made of. Plain values: the template decides how each looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recprune.report.style import Picture

__all__ = ["Cell", "Column", "Group", "Section", "Table"]

Cell = str | Sequence[str]


@dataclass(frozen=True)
class Column:
    """A table's column. ``kind``: text, note (long text), number, code, outcome, list."""

    label: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows; ``folded`` = behind a disclosure."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


@dataclass(frozen=True)
class Group:
    """Names with what became of them."""

    title: str
    names: Sequence[str]
    look: str


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    id: str
    title: str
    lead: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    points: Sequence[str] = ()
    groups: Sequence[Group] = ()
    parts: Sequence[Section] = ()
    code: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show but the lead."""
        found = (self.pictures, self.points, self.groups, self.parts, self.code)
        return not any(found) and not any(t.rows for t in self.tables)
