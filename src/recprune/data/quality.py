"""What was found wrong with a table, and what was done about it: nothing is repaired in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from recprune.errors import DataError

__all__ = [
    "Finding",
    "Severity",
    "duplicate_columns",
    "fingerprint",
    "grave",
    "merged",
    "refuse_grave",
]

Severity = Literal["info", "warning", "error"]
#: The gravest first.
ORDER = ("error", "warning", "info")
#: As many findings are named in an error.
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing found in a table.

    Args:
        kind: what, in one word: ``constant``, ``missing``, ``mixed``, ``infinite``, …
        column: the column's name; ``""`` = the whole table. Of two columns that are alike, the
            later one; ``message`` names both.
        severity: ``"error"`` for what ``run`` refuses or must not use as it is, ``"warning"`` for
            what the user should look at, else ``"info"``.
        rows: how many rows it touches (users or items where ``message`` says so).
        action: what was done, or is done by ``run``.
        message: what was found, in words; ``""`` where kind and action say it all.
        value: the number that was measured and compared with a threshold, or None.
    """

    kind: str
    column: str
    severity: Severity
    rows: int
    action: str
    message: str = ""
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, with all keys always there."""
        return asdict(self)


def merged(*groups: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return all findings, the gravest first, then by column and kind; one that is in several
    groups (the same kind, column and rows) once, as the earliest group has it.

    >>> a, b = Finding("x", "c", "info", 1, "did"), Finding("x", "c", "warning", 1, "will do")
    >>> c = Finding("y", "c", "error", 1, "")
    >>> [(f.kind, f.action) for f in merged([a], [b, c])]
    [('y', ''), ('x', 'did')]
    """
    kept: dict[tuple[str, str, int], Finding] = {}
    for finding in (f for group in groups for f in group):
        kept.setdefault((finding.kind, finding.column, finding.rows), finding)
    return tuple(
        sorted(kept.values(), key=lambda f: (ORDER.index(f.severity), f.column.strip(), f.kind))
    )


def grave(found: Iterable[Finding]) -> list[Finding]:
    """Return the warnings and errors: what ``--strict`` refuses."""
    return [f for f in found if f.severity != "info"]


def refuse_grave(found: Iterable[Finding]) -> None:
    """Refuse a table that has a warning or an error.

    Raises:
        DataError: counts them, names the first ones, and says how to go on.
    """
    serious = grave(found)
    if serious:
        first = ", ".join(f"{f.kind} of {f.column or 'the table'!r}" for f in serious[:SHOWN])
        more = ", …" if len(serious) > SHOWN else ""
        raise DataError(
            f"The table has {len(serious)} warnings and errors, and strict is set: {first}{more}. See "
            "them with recprune check; then repair the table, leave columns out with drop=, state "
            "them in the schema, or leave strict out."
        )


def duplicate_columns(columns: Iterable[tuple[str, pl.Series]]) -> list[Finding]:
    """Report columns that equal an earlier one value by value.

    >>> a = pl.Series([1, 2]); b = pl.Series([2, 1])
    >>> [f.column for f in duplicate_columns([("a", a), ("b", b), ("c", a.clone())])]
    ['c']
    """
    found: list[Finding] = []
    seen: dict[tuple[str, bytes], str] = {}
    for name, series in columns:
        twin = seen.setdefault(fingerprint(series), name)
        if twin != name:
            action = f"kept, though it equals column {twin!r} in every row"
            message = f"{name!r} and {twin!r} hold the same values in the same rows."
            found.append(Finding("duplicate", name, "warning", len(series), action, message))
    return found


def fingerprint(series: pl.Series) -> tuple[str, bytes]:
    """Return what two columns have in common exactly when they are equal value by value.

    >>> fingerprint(pl.Series([1, 0])) == fingerprint(pl.Series([True, False]))
    True
    """
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        series = series.cast(pl.Float64) + 0.0  # 1, 1.0 and true are one value; so are ±0
    return str(series.dtype), hashlib.sha256(series.hash(seed=0).to_numpy().tobytes()).digest()
