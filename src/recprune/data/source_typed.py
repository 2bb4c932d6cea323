"""Tables from files that know the types of their columns: Parquet, Arrow IPC and JSON lines."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl

from recprune.data.source_bytes import missing, read_bytes, read_utf8
from recprune.errors import DataError

__all__ = ["DAMAGED", "read_arrow", "read_json_lines", "read_parquet", "unsound"]

#: Polars panics on some damage, and a panic is no Exception.
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"


def read_parquet(path: Path) -> pl.DataFrame:
    """Return the table of a Parquet file.

    Raises:
        DataError: the file is missing, empty, without rows, cut short or damaged.
    """
    if not path.exists():
        raise missing(path)
    if not path.stat().st_size:
        raise DataError(f"File {str(path)!r} is empty. It needs columns and rows.")
    try:
        frame = pl.read_parquet(path)
    except DAMAGED as error:
        raise unsound(path, "Parquet", str(error)) from error
    return _with_rows(path, frame)


def read_arrow(path: Path) -> pl.DataFrame:
    """Return the table of an Arrow IPC file (Feather version 2) or stream.

    Raises:
        DataError: the file is missing, empty, without rows, cut short or damaged.
    """
    data = read_bytes(path)
    if not data:
        raise DataError(f"File {str(path)!r} is empty. It needs columns and rows.")
    if data.startswith(b"FEA1"):
        raise DataError(
            f"File {str(path)!r} is Feather version 1; version 2 is read. Write it again with a "
            "current pandas: pandas.read_feather(…).to_feather(…)."
        )
    stream = data.startswith(STREAM_END[:4])
    # A stream cut between two batches reads without an error: only its end mark tells.
    if stream and not data.endswith(STREAM_END):
        raise unsound(path, "Arrow", "the end mark of the stream is absent")
    try:
        read = pl.read_ipc_stream if stream else pl.read_ipc
        frame = read(io.BytesIO(data))
    except DAMAGED as error:
        raise unsound(path, "Arrow", str(error)) from error
    return _with_rows(path, frame)


def read_json_lines(path: Path) -> pl.DataFrame:
    """Return the table of a file with one JSON object a line; absent keys are null.

    Integers that 64 bits do not hold are text.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.read_utf8`; also a line that is no JSON
            object, and a key whose values have no type in common.
    """
    data = read_utf8(path)
    try:
        frame = pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise _broken_line(path, data) or DataError(
            f"File {str(path)!r} cannot be read as JSON lines: {str(error).splitlines()[0]}. Give "
            "each key values of one type: numbers, text, or true and false."
        ) from error
    if not frame.width:
        raise DataError(f"File {str(path)!r} has no key in any line. Each needs its columns.")
    return _narrow(frame)


def _broken_line(path: Path, data: bytes) -> DataError | None:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            return DataError(
                f"File {str(path)!r}, line {number}: no sound JSON ({error}). Each line must be one "
                "whole object; correct the line, or fetch the file again if it is the last."
            )
        if not isinstance(value, dict):
            return DataError(
                f"File {str(path)!r}, line {number}: a JSON {type(value).__name__}, but each line "
                'must be an object such as {"user": 1, "clicked": 0}.'
            )
    return None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON; a missing number is null")


def unsound(path: Path, form: str, reason: str) -> DataError:
    """Return the error for a file that is cut short or damaged."""
    first = (reason.splitlines() or ["unreadable"])[0]
    return DataError(
        f"File {str(path)!r} is no sound {form} file ({first}): it is cut short or damaged. Write "
        "or fetch it again."
    )


def _with_rows(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    if not len(frame):
        raise DataError(f"File {str(path)!r} has columns and no rows.")
    return _narrow(frame)


def _narrow(frame: pl.DataFrame) -> pl.DataFrame:
    """Spell out integers of 128 bits, as CSV does: NumPy has none, and rounded ids would merge."""
    wide = [name for name, kind in frame.schema.items() if str(kind) in ("Int128", "UInt128")]
    return frame.with_columns(pl.col(wide).cast(pl.String))
