"""Tables from CSV and TSV text."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recprune.data.frames import check_names
from recprune.data.source_bytes import read_utf8
from recprune.data.source_clicks import CRITEO, is_criteo
from recprune.errors import DataError

__all__ = ["read_csv"]


def read_csv(path: Path, separator: str) -> pl.DataFrame:
    """Return a table with a header line as columns of text; empty cells are null.

    A file of Criteo, which has no header, is known by its first row.

    Args:
        path: the file.
        separator: unless the header lacks it and holds a comma, semicolon or tab.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.read_utf8`; also a header that cannot be
            read, a row with more cells than the header, and a file without rows.
    """
    data = read_utf8(path)
    header = data.lstrip(b"\r\n ").split(b"\n", 1)[0].decode()
    if separator not in header:
        separator = next((s for s in ",;\t" if s in header), separator)
    bare = is_criteo(header)
    try:
        names = list(CRITEO) if bare else next(csv.reader(_lines(data), delimiter=separator))
    except csv.Error as error:
        raise DataError(
            f"File {str(path)!r}: its header line cannot be read ({error}). Check its quotes, and "
            "that its lines end in a line feed."
        ) from error
    check_names([n for n in names if n], f"File {str(path)!r}")
    names = [n or f"column_{i}" for i, n in enumerate(names, 1)]
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=not bare,
            separator=separator,
            infer_schema=False,
            new_columns=names,
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
