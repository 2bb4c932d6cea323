"""What was found wrong with a table, and what was done about it: nothing is repaired in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

__all__ = ["Finding", "Severity", "duplicate_columns"]

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing found in a table.

    Args:
        kind: what, in one word: ``constant``, ``missing``, ``mixed``, ``infinite``, …
        column: the column's name.
        severity: ``"error"`` for what must not be used as it is, ``"warning"`` for what the user
            should look at, else ``"info"``.
        rows: how many rows it touches.
        action: what was done, or is done by ``run``.
    """

    kind: str
    column: str
    severity: Severity
    rows: int
    action: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def duplicate_columns(columns: Iterable[tuple[str, pl.Series]]) -> list[Finding]:
    """Report columns that equal an earlier one value by value.

    >>> a = pl.Series([1, 2]); b = pl.Series([2, 1])
    >>> [f.column for f in duplicate_columns([("a", a), ("b", b), ("c", a.clone())])]
    ['c']
    """
    found: list[Finding] = []
    seen: dict[tuple[str, bytes], str] = {}
    for name, series in columns:
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            series = series.cast(pl.Float64) + 0.0  # 1, 1.0 and true are one value; so are ±0
        digest = hashlib.sha256(series.hash(seed=0).to_numpy().tobytes()).digest()
        twin = seen.setdefault((str(series.dtype), digest), name)
        if twin != name:
            action = f"kept, though it equals column {twin!r} in every row"
            found.append(Finding("duplicate", name, "warning", len(series), action))
    return found
