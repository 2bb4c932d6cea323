"""RecBole's atomic files: tables whose header names each column's type."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recprune.data.frames import check_names
from recprune.data.source_bytes import read_lines, read_rows
from recprune.data.source_folder import attach
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["is_recbole", "read_recbole", "recbole_kinds"]

TYPES = ("token", "token_seq", "float", "float_seq")


def is_recbole(path: Path) -> bool:
    """Tell whether a path is an ``.inter`` file, or a folder that has one."""
    return any(path.glob("*.inter")) if path.is_dir() else path.suffix == ".inter"


def read_recbole(path: Path) -> pl.DataFrame:
    """Return the interactions joined with ``.user`` and ``.item`` of the same name.

    Columns of type float become numbers; tokens and sequences are text.

    Args:
        path: the ``.inter`` file, or a folder with one.

    Raises:
        DataError: a folder with several ``.inter`` files; a header without types; a line with too
            many or too few fields, or with text in a column of numbers; a user or item that comes
            twice.
    """
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        if len(found) > 1:
            raise DataError(
                f"Folder {str(path)!r} has {len(found)} .inter files: "
                f"{', '.join(repr(f.name) for f in found[:4])}. Name the one to read."
            )
        path = found[0]
    frame = _read(path)
    for suffix in (".user", ".item"):
        file = path.with_suffix(suffix)
        if file.is_file():
            side = _read(file)
            frame = attach(frame, file, side, _key(file, side, frame))
    return frame


def recbole_kinds(frame: pl.DataFrame) -> dict[str, Kind]:
    """Return what the columns of :func:`read_recbole` hold: float is numeric, a token is a category.

    >>> recbole_kinds(pl.DataFrame({"rating": [4.0], "age": ["24"]}))
    {'rating': 'numeric', 'age': 'categorical'}
    """
    return {n: "numeric" if t == pl.Float64 else "categorical" for n, t in frame.schema.items()}


def _read(path: Path) -> pl.DataFrame:
    lines = read_lines(path)
    number, header = lines.row(0)
    types = {}
    cells = header.split("\t")
    names = [cell.rpartition(":")[0] or cell for cell in cells]
    check_names(names, f"File {str(path)!r}")
    for name, cell in zip(names, cells, strict=True):
        types[name] = cell.rpartition(":")[2] if ":" in cell else ""
        if types[name] not in TYPES:
            got = f"the unknown type {types[name]!r}" if types[name] else "no type"
            raise DataError(
                f"File {str(path)!r}, line {number}: column {name!r} has {got} in the header. Known "
                f"types: {', '.join(TYPES)}. Write it as, for example, {name}:token, with a tab "
                "between columns."
            )
    if len(lines) == 1:
        raise DataError(f"File {str(path)!r} has a header and no rows.")
    frame = read_rows(path, lines[1:], "\t", names)
    floats = [name for name, kind in types.items() if kind == "float"]
    numbers = frame.with_columns(pl.col(floats).str.strip_chars().cast(pl.Float64, strict=False))
    for name in floats:
        bad = (numbers[name].is_null() & frame[name].is_not_null()).arg_true()
        if len(bad):
            raise DataError(
                f"File {str(path)!r}, line {lines['line'][bad[0] + 1]}: column {name!r} is float by "
                f"the header, but holds {frame[name][bad[0]]!r}. Correct it, or declare {name}:token."
            )
    return numbers


def _key(file: Path, side: pl.DataFrame, frame: pl.DataFrame) -> str:
    usual = f"{file.suffix[1:]}_id"
    shared = [name for name in (usual, side.columns[0]) if name in side and name in frame]
    if not shared:
        raise DataError(
            f"File {str(file)!r} cannot be joined: the interactions have neither its first column "
            f"{side.columns[0]!r} nor {usual!r}. They have {frame.columns}. Give the id one name."
        )
    return shared[0]
