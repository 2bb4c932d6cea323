"""The header of a text table, and where such a file is at fault: read line by line."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from recprune.data.frames import check_names
from recprune.errors import DataError

__all__ = ["locate_fault", "read_header"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ","}


def read_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the separator and the column names of a text table, its first line that is not blank.

    Raises:
        DataError: the file is missing, empty, of an unknown type, not UTF-8, or names a column
            twice.
    """
    owner = f"File {str(path)!r}"
    kind = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    separator = SEPARATORS[kind.lower()]
    lines = (line for line in _lines(path) if line.strip("\r\n "))
    first = next(lines, None)
    if first is None:
        raise DataError(f"{owner} is empty. It needs a header line and rows.")
    if separator not in first:
        separator = next((s for s in ",;\t" if s in first), separator)
    names = next(csv.reader(_from(first, lines), delimiter=separator))
    check_names([n for n in names if n], owner)
    return separator, tuple(n or f"column_{i}" for i, n in enumerate(names, 1))


def locate_fault(path: Path, separator: str, width: int) -> DataError | None:
    """Return what is wrong with the first line that is no UTF-8 or has too many cells.

    None: no line is. Reads the file up to there, in constant memory.
    """
    reader = csv.reader(_lines(path), delimiter=separator)
    try:
        for row in reader:
            if len(row) > width:
                return DataError(
                    f"File {str(path)!r}, line {reader.line_num}: {len(row)} cells, but the header "
                    f"has {width} columns. Quote cells that hold {separator!r}, or remove the rest."
                )
    except csv.Error as error:
        return DataError(f"File {str(path)!r}, line {reader.line_num}: {error}.")
    except DataError as error:
        return error
    return None


def _from(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines as text; byte order mark removed."""
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"File {str(path)!r}, line {number}: byte 0x{line[error.start]:02x} is not "
                        "UTF-8. Convert the file, for example with: iconv -f latin1 -t utf-8 "
                        f"{path.name}"
                    ) from error
    except FileNotFoundError as error:
        raise DataError(f"File {str(path)!r} does not exist. Check the path.") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(
            f"File {str(path)!r} is no sound gzip file ({error}): it is cut short or damaged. Fetch "
            "it again."
        ) from error
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror}.") from error
