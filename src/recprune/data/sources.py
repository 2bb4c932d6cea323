"""Tables from files: CSV, TSV and Parquet, text also gzipped. Every failure names file and line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recprune.data.frames import check_names
from recprune.errors import DataError

__all__ = ["read_table"]

TEXT = {".csv": ",", ".tsv": "\t", ".txt": ","}
PARQUET = (".parquet", ".pq")


def read_table(path: str | Path) -> tuple[pl.DataFrame, bool]:
    """Return the file's table, and whether its columns are text whose types are still to be read.

    CSV and TSV columns come as strings, empty cells as null. A ``.csv`` or ``.txt`` whose header
    holds no comma is read with the semicolon or tab that it does hold.

    Raises:
        DataError: the file is missing, empty, of an unknown type, cut short, not UTF-8, or has a
            row with more cells than the header.
    """
    path = Path(path)
    zipped = path.suffix.lower() == ".gz"
    kind = Path(path.stem).suffix.lower() if zipped else path.suffix.lower()
    if kind in PARQUET and not zipped:
        return _parquet(path), False
    if kind not in TEXT:
        raise DataError(
            f"File {str(path)!r} has an unknown type. Known: .csv, .tsv, .txt (each also .gz) and "
            ".parquet. Rename it, or read it yourself and use Dataset.from_frame."
        )
    return _text(path, _bytes(path, zipped), TEXT[kind]), True


def _bytes(path: Path, zipped: bool) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror}.") from error
    if not zipped or not data:
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"File {str(path)!r} is no sound gzip file ({error}): it is cut short or damaged. "
            "Fetch it again."
        ) from error


def _text(path: Path, data: bytes, separator: str) -> pl.DataFrame:
    data = data.removeprefix(codecs.BOM_UTF8)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not data.strip():
        raise DataError(f"File {str(path)!r} is empty. It needs a header line and rows.")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"File {str(path)!r}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. Convert "
            f"the file, for example with: iconv -f {'utf-16' if wide else 'latin1'} -t utf-8 {path.name}"
        ) from error
    header = data.lstrip(b"\r\n ").split(b"\n", 1)[0].decode()
    if separator not in header:
        separator = next((s for s in ",;\t" if s in header), separator)
    try:
        names = next(csv.reader(_lines(data), delimiter=separator))
    except csv.Error as error:
        raise DataError(
            f"File {str(path)!r}: its header line cannot be read ({error}). Check its quotes, and "
            "that its lines end in a line feed."
        ) from error
    check_names([n for n in names if n], f"File {str(path)!r}")
    names = [n or f"column_{i}" for i, n in enumerate(names, 1)]
    try:
        frame = pl.read_csv(
            io.BytesIO(data), separator=separator, infer_schema=False, new_columns=names
        )
    except pl.exceptions.PolarsError as error:
        raise _ragged(path, data, separator, len(names)) or DataError(
            f"File {str(path)!r} cannot be read as a table separated by {separator!r}: "
            f"{str(error).splitlines()[0]}. Check its quotes."
        ) from error
    if not len(frame):
        raise DataError(f"File {str(path)!r} has a header and no rows.")
    return frame


def _lines(data: bytes) -> Iterator[str]:
    """Return the lines as text from the first that is not blank; one is decoded at a time."""
    lines = (line.decode() for line in io.BytesIO(data))
    return itertools.dropwhile(lambda line: not line.strip("\r\n "), lines)


def _ragged(path: Path, data: bytes, separator: str, width: int) -> DataError | None:
    """Find the first row with more cells than the header: Polars tells that, but not where."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator)
    try:
        for row in reader:
            if len(row) > width:
                return DataError(
                    f"File {str(path)!r}, line {reader.line_num}: {len(row)} cells, but the header "
                    f"has {width} columns. Quote cells that hold {separator!r}, or remove the rest."
                )
    except csv.Error as error:
        return DataError(f"File {str(path)!r}, line {reader.line_num}: {error}.")
    return None


def _parquet(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise _missing(path)
    if not path.stat().st_size:
        raise DataError(f"File {str(path)!r} is empty. It needs columns and rows.")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"File {str(path)!r} is no sound Parquet file ({str(error).splitlines()[0]}): it is cut "
            "short or damaged. Write or fetch it again."
        ) from error
    if not len(frame):
        raise DataError(f"File {str(path)!r} has columns and no rows.")
    return frame


def _missing(path: Path) -> DataError:
    folder = path.absolute().parent
    if not folder.is_dir():
        return DataError(f"File {str(path)!r} does not exist, nor does its folder. Check the path.")
    near = sorted(p.name for p in folder.glob(f"{path.name.split('.')[0]}*"))[:3]
    hint = f" The folder holds {', '.join(map(repr, near))}." if near else ""
    return DataError(f"File {str(path)!r} does not exist. Check the path.{hint}")
