"""What was removed, and what was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Forgotten", "Removed", "Trace"]


@dataclass(frozen=True)
class Removed:
    """One thing that was removed.

    Args:
        path: of the folder or file.
        what: in words.
        count: how many of it.
    """

    path: str
    what: str
    count: int


@dataclass(frozen=True)
class Trace:
    """One place where a name was found.

    Args:
        path: of the folder or file.
        what: the place in it, in words.
        count: how often.
        sure: False where a short id may mean something else.
    """

    path: str
    what: str
    count: int
    sure: bool = True


@dataclass(frozen=True)
class Forgotten:
    """What :func:`recprune.erasure.forget` did.

    Args:
        removed: what was removed where; empty = the user was nowhere.
        left: what was still found afterwards, in files that are not recprune's, or that may mean
            something else.
        remains: what no removal reaches, in words.
        listed: entries that are new on the list of erased users.
        list_file: that list.
    """

    removed: tuple[Removed, ...]
    left: tuple[Trace, ...]
    remains: tuple[str, ...]
    listed: int
    list_file: Path = field(default_factory=Path)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; the user is not named."""
        return {
            "removed": [asdict(r) for r in self.removed],
            "left": [asdict(t) for t in self.left],
            "remains": list(self.remains),
            "listed": self.listed,
            "list": str(self.list_file),
        }
