"""The first line of a CSV or TSV file: what parts its cells, and what its columns are called."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recprune.data.frames import check_names
from recprune.data.source_clicks import CRITEO, is_criteo
from recprune.errors import DataError

__all__ = ["Header", "read_header"]

#: A cell that is a number; a header of them all is a row, unless it counts (0, 1, 2, …).
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Header:
    """The separator, the column names, and whether the file has a header line that gives them."""

    separator: str
    names: tuple[str, ...]
    given: bool = True


def read_header(lines: Iterator[str], path: Path, separator: str) -> Header:
    """Return what the first line that is not blank says.

    Raises:
        DataError: there is no such line, it cannot be read, or it names a column twice.
    """
    lines = itertools.dropwhile(lambda line: not line.strip("\r\n "), lines)
    first = next(lines, None)
    if first is None:
        raise DataError(f"File {str(path)!r} is empty. It needs rows.")
    if is_criteo(first.rstrip("\r\n")):
        return Header("\t", CRITEO, given=False)
    if separator not in first:
        separator = next((s for s in ",;\t" if s in first), separator)
    if _is_row(cells := first.rstrip("\r\n").split(separator)):
        return Header(separator, tuple(f"column_{i + 1}" for i in range(len(cells))), given=False)
    try:
        names = next(csv.reader(itertools.chain([first], lines), delimiter=separator))
    except csv.Error as error:
        raise DataError(
            f"File {str(path)!r}: its header line cannot be read ({error}). Check its quotes, and "
            "that its lines end in a line feed."
        ) from error
    check_names([n for n in names if n], f"File {str(path)!r}")
    taken = set(names)
    return Header(
        separator, tuple(n or _free(f"column_{i}", taken) for i, n in enumerate(names, 1))
    )


def _free(name: str, taken: set[str]) -> str:
    """Return a name for a column without one that no other column has."""
    while name in taken:
        name += "_"
    return name


def _is_row(cells: list[str]) -> bool:
    """Tell a first line of numbers only, which names no columns, from a header that counts."""
    if len(cells) < 2 or not all(NUMBER.fullmatch(cell) for cell in cells):
        return False
    values = [float(cell) for cell in cells]
    return any(b - a != 1 for a, b in itertools.pairwise(values))
