"""Tables from files that know the types of their columns: Parquet and Arrow IPC."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.data.source_bytes import missing, read_bytes
from recprune.data.stream import DAMAGED, Stream, batches_of
from recprune.errors import DataError

__all__ = [
    "common_type",
    "narrow",
    "read_arrow",
    "read_parquet",
    "stream_arrow",
    "stream_parquet",
]

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
        raise _unsound(path, "Parquet", str(error)) from error
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
        raise _unsound(path, "Arrow", "the end mark of the stream is absent")
    try:
        read = pl.read_ipc_stream if stream else pl.read_ipc
        frame = read(io.BytesIO(data))
    except DAMAGED as error:
        raise _unsound(path, "Arrow", str(error)) from error
    return _with_rows(path, frame)


def stream_parquet(path: Path) -> Stream:
    """Return the rows of :func:`read_parquet`, batch by batch."""
    if not path.stat().st_size:
        raise DataError(f"File {str(path)!r} is empty. It needs columns and rows.")
    return _stream(path, "Parquet", pl.scan_parquet)


def stream_arrow(path: Path) -> Stream:
    """Return the rows of :func:`read_arrow`, batch by batch; of Arrow's stream form all at once."""
    with path.open("rb") as file:
        head = file.read(6)
    if head != b"ARROW1":  # a stream, damaged, or of another version
        frame = read_arrow(path)
        return Stream(path, tuple(frame.columns), lambda bad: iter([frame]))
    return _stream(path, "Arrow", pl.scan_ipc)


def common_type(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """Return the type that holds the values of both, as ``pl.concat`` finds it; None = there is none.

    >>> common_type(pl.Int64(), pl.Float32()), common_type(pl.Int64(), pl.List(pl.Int64))
    (Float64, None)
    """
    if one == other:
        return one
    frames = [pl.DataFrame(schema={"x": kind}) for kind in (one, other)]
    try:
        return pl.concat(frames, how="vertical_relaxed").schema["x"]
    except pl.exceptions.PolarsError:
        return None


def _stream(path: Path, form: str, scan: Callable[..., pl.LazyFrame]) -> Stream:
    rows = scan(path, glob=False)
    try:
        names = tuple(rows.collect_schema().names())
    except DAMAGED as error:
        raise _unsound(path, form, str(error)) from error

    def read(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        seen = 0
        try:
            for batch in batches_of(rows):
                seen += len(batch)
                yield narrow(batch)
        except DAMAGED as error:
            raise _unsound(path, form, str(error), seen) from error
        if not seen:
            raise DataError(f"File {str(path)!r} has columns and no rows.")

    return Stream(path, names, read)


def _unsound(path: Path, form: str, reason: str, rows: int = 0) -> DataError:
    """Return the error for a file that is cut short or damaged."""
    after = f" after row {rows}" if rows else ""
    first = (reason.splitlines() or ["unreadable"])[0]
    return DataError(
        f"File {str(path)!r} is no sound {form} file ({first}){after}: it is cut short or damaged. Write "
        "or fetch it again."
    )


def _with_rows(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    if not len(frame):
        raise DataError(f"File {str(path)!r} has columns and no rows.")
    return narrow(frame)


def narrow(frame: pl.DataFrame) -> pl.DataFrame:
    """Spell out integers of 128 bits, as CSV does: NumPy has none, and rounded ids would merge."""
    wide = [name for name, kind in frame.schema.items() if str(kind) in ("Int128", "UInt128")]
    return frame.with_columns(pl.col(wide).cast(pl.String))
