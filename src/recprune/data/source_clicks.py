"""The two logs of clicks that benchmarks use: Criteo without a header, Avazu with packed hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["CRITEO", "click_kinds", "is_avazu", "is_criteo", "read_hours"]

#: Columns of Criteo's files, which have no header.
CRITEO = ("label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27)))
AVAZU = ("id", "click", "hour", "site_id")


def is_criteo(line: str) -> bool:
    """Tell a row of Criteo: 40 cells between tabs, a label first, then 13 integers or blanks.

    >>> is_criteo("\\t".join(["1", *["-2"] * 13, *["68fd1e64"] * 26]))
    True
    """
    cells = line.rstrip("\r\n").split("\t")
    whole = all(c.removeprefix("-").isdecimal() for c in cells[1:14] if c)
    return len(cells) == len(CRITEO) and cells[0] in ("0", "1") and whole


def is_avazu(frame: pl.DataFrame) -> bool:
    """Tell a table of Avazu by its columns and its first hour."""
    if not set(AVAZU) <= set(frame.columns):
        return False
    return (frame["hour"][0] or "").isdecimal() and len(frame["hour"][0]) == 8


def click_kinds(names: Sequence[str]) -> dict[str, Kind]:
    """Return what the columns of the two logs hold, by their names; {} for other tables.

    Avazu's codes look like numbers (C14 = 15706), and so may Criteo's hashes (68510223).

    >>> click_kinds(CRITEO)["I1"], click_kinds(CRITEO)["C1"], click_kinds(["id", "C1"])
    ('numeric', 'categorical', {})
    """
    if tuple(names) == CRITEO:
        return {n: "numeric" if n[0] == "I" else "categorical" for n in CRITEO[1:]}
    if set(AVAZU) <= set(names):
        return {n: "categorical" for n in names if n not in ("click", "hour")}
    return {}


def read_hours(path: Path, frame: pl.DataFrame, before: int = 0) -> pl.DataFrame:
    """Return Avazu's table with ``hour`` (YYMMDDHH) as times; all other columns stay text.

    Args:
        path: for the error.
        frame: rows of the file.
        before: rows of the file that came before them.

    Raises:
        DataError: an hour of another form.
    """
    hours = (pl.col("hour") + "00").str.to_datetime("%y%m%d%H%M", strict=False)
    read = frame.with_columns(hours)
    bad = (read["hour"].is_null() & frame["hour"].is_not_null()).arg_true()
    if len(bad):
        raise DataError(
            f"File {str(path)!r}, row {before + bad[0] + 1}: hour {frame['hour'][bad[0]]!r} is not of the form "
            "YYMMDDHH, as the first row's is. Correct or remove the row."
        )
    return read
