"""Tables from CSV and TSV text."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recprune.data import stream
from recprune.data.bad_rows import BadRow, BadRows
from recprune.data.frames import check_names
from recprune.data.source_bytes import NotUtf8, raw_lines, read_utf8, split_suffix, stream_lines
from recprune.data.source_clicks import CRITEO, click_kinds, is_avazu, is_criteo, read_hours
from recprune.data.stream import DAMAGED, Stream, batches_of
from recprune.errors import DataError

__all__ = ["Header", "read_csv", "read_header", "stream_csv"]

#: A cell that is a number; a header of them all is a row, unless it counts (0, 1, 2, …).
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read_csv(path: Path, separator: str, bad: BadRows | None = None) -> pl.DataFrame:
    """Return a table with a header line as columns of text; empty and absent cells are null.

    A file of Criteo, which has no header, is known by its first row; so is one whose first row is
    numbers only: its columns are called ``column_1``, ``column_2``, ….

    Args:
        path: the file.
        separator: unless the header lacks it and holds a comma, semicolon or tab.
        bad: collects the rows that lack cells, and leaves out those that cannot be read if it is
            to skip them: with too many cells, broken quotes, or bytes that are not UTF-8.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.read_utf8`; also a header that cannot be
            read, a row with more cells than the header, and a file without rows.
    """
    bad = bad if bad is not None else BadRows()
    try:
        data = read_utf8(path)
        head = read_header(_lines(data), path, separator)
    except NotUtf8:
        if not bad.skip:
            raise
        return pl.concat(_sound_rows(path, separator, bad))
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=head.given,
            separator=head.separator,
            infer_schema=False,
            new_columns=list(head.names),
        )
    except pl.exceptions.PolarsError as error:
        if bad.skip:
            return pl.concat(_sound_rows(path, separator, bad))
        raise _fault_in(_lines(data), path, head, error) from error
    if not len(frame):
        raise DataError(f"File {str(path)!r} has a header and no rows.")
    if frame.width > 1 and frame[:, -1].null_count():
        bad.add_short(path, _short_lines(path, head))
    return frame


def stream_csv(path: Path, separator: str) -> Stream:
    """Return the rows of :func:`read_csv`, batch by batch; Avazu's with their hours read.

    Where bad rows are to be skipped, the file is read once more to see whether there is one.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.stream_lines`; also a header that cannot
            be read.
    """
    head = read_header(stream_lines(path), path, separator)
    rows = pl.scan_csv(
        path,
        has_header=head.given,
        separator=head.separator,
        infer_schema=False,
        new_columns=list(head.names),
        glob=False,
    )
    sound: list[bool] = []

    def read(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        if bad is not None and bad.skip and not sound:
            sound.append(_is_sound(rows))
        if sound == [False]:
            yield from _sound_rows(path, separator, bad or BadRows(skip=True))
            return
        holes = False
        try:
            for batch in batches_of(rows):
                holes = holes or (bad is not None and batch[:, -1].null_count() > 0)
                yield batch
        except DAMAGED as error:
            raise _fault_in(stream_lines(path), path, head, error) from error
        if bad is not None and holes and len(head.names) > 1:
            bad.add_short(path, _short_lines(path, head))

    def read_avazu(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        seen = 0
        for batch in read(bad):
            yield read_hours(path, batch, seen)
            seen += len(batch)

    avazu = _begins_as_avazu(rows)
    kinds = click_kinds(head.names)
    return Stream(path, head.names, read_avazu if avazu else read, not avazu, kinds)


def _begins_as_avazu(rows: pl.LazyFrame) -> bool:
    try:
        first = rows.head(1).collect(engine="streaming")
    except DAMAGED:  # told where it is, when all rows are read
        return False
    return len(first) > 0 and is_avazu(first)


def _is_sound(rows: pl.LazyFrame) -> bool:
    try:
        for _ in batches_of(rows):
            pass
    except DAMAGED:
        return False
    return True


def _short_lines(path: Path, head: Header) -> list[int]:
    """Return the lines of the rows with fewer cells than the header."""
    width = len(head.names)
    if not split_suffix(path)[1] and _fills_all(path, head):
        return []
    lines = pl.scan_lines(path, name="text", row_index_name="line", row_index_offset=1)
    text = pl.col("text").str.strip_suffix("\r")
    few = (text.str.count_matches(head.separator, literal=True) < width - 1) & (text != "")
    quotes = text.str.contains('"', literal=True).alias("quotes")
    found = lines.filter(few | quotes).select("line", quotes).collect(engine="streaming")
    if not found["quotes"].any():
        return found["line"].to_list()
    short: list[int] = []
    reader = csv.reader(stream_lines(path), delimiter=head.separator)
    with contextlib.suppress(csv.Error):  # Polars read what this reader cannot
        short += [reader.line_num for row in reader if 0 < len(row) < width]
    return short


def _fills_all(path: Path, head: Header) -> bool:
    """Tell in a hurry whether a file has all separators that its lines need, and no quotes."""
    block = bytearray(1 << 18)
    bytes_ = np.frombuffer(block, np.uint8)
    separators, lines, last = 0, 0, 10
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            if block.find(b'"', 0, size) >= 0:
                return False
            separators += int(np.count_nonzero(bytes_[:size] == ord(head.separator)))
            lines += int(np.count_nonzero(bytes_[:size] == 10))
            last = block[size - 1]
    # No line has more than it needs: reading would have failed.
    return bool(separators == (len(head.names) - 1) * (lines + (last != 10)))


def _sound_rows(path: Path, separator: str, bad: BadRows) -> Iterator[pl.DataFrame]:
    """Yield the rows that can be read, one by one: slow, and only for files with bad rows.

    Raises:
        DataError: the header is bad, a quote never closes, or no row is sound.
    """
    head = read_header(stream_lines(path), path, separator)
    width, rows, short = len(head.names), [], []
    schema = dict.fromkeys(head.names, pl.String())
    since: list[bytes] = []  # the raw lines of the row that is being read
    number, any_sound = 0, False

    def lines() -> Iterator[str]:
        nonlocal number
        for line in raw_lines(path):
            number += 1
            since.append(line)
            yield line.decode(errors="surrogateescape")

    reader = csv.reader(lines(), delimiter=head.separator, strict=True)
    before, seen_header = len(bad.skipped), not head.given
    while True:
        since.clear()
        reason = ""
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            row, reason = [], str(error)
        first, raw = number - len(since) + 1, b"".join(since)
        if reason == "unexpected end of data":
            raise DataError(
                f"File {str(path)!r}, line {first}: a quote opens and never closes, so that the rows "
                "after it cannot be told apart. Close or remove it."
            )
        if not seen_header:
            seen_header = bool(raw.strip(b"\r\n "))  # blank lines may come before it
            continue
        while len(row) > width and not row[-1] and any(row):
            row.pop()  # separators at the line's end: nothing is lost
        if len(row) > width:
            reason = f"{len(row)} cells, but the header has {width} columns"
        elif any("\udc80" <= c <= "\udcff" for cell in row for c in cell):
            reason = "bytes that are not UTF-8"
        if reason:
            text = raw.decode(errors="backslashreplace").rstrip("\r\n")
            bad.skipped.append(BadRow(str(path), first, reason, text))
        elif row:
            if len(row) < width:
                short.append(first)
            rows.append([cell or None for cell in row] + [None] * (width - len(row)))
            if len(rows) == stream.BATCH:
                any_sound = True
                yield pl.DataFrame(rows, schema=schema, orient="row")
                rows = []
    if rows:
        yield pl.DataFrame(rows, schema=schema, orient="row")
    elif not any_sound:
        first_bad = bad.skipped[before] if len(bad.skipped) > before else None
        raise DataError(
            f"File {str(path)!r} has no sound row"
            + (f"; line {first_bad.line}: {first_bad.reason}." if first_bad else ".")
        )
    bad.add_short(path, short)


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
    return Header(separator, tuple(n or f"column_{i}" for i, n in enumerate(names, 1)))


def _is_row(cells: list[str]) -> bool:
    """Tell a first line of numbers only, which names no columns, from a header that counts."""
    if len(cells) < 2 or not all(NUMBER.fullmatch(cell) for cell in cells):
        return False
    values = [float(cell) for cell in cells]
    return any(b - a != 1 for a, b in itertools.pairwise(values))


def _fault_in(lines: Iterator[str], path: Path, head: Header, error: Exception) -> DataError:
    """Return the first line's fault: Polars tells that there is one, but not where."""
    reader = csv.reader(lines, delimiter=head.separator)
    width = len(head.names)
    try:
        for row in reader:
            if len(row) > width:
                return DataError(
                    f"File {str(path)!r}, line {reader.line_num}: {len(row)} cells, but the header "
                    f"has {width} columns. Quote cells that hold {head.separator!r}, or remove the "
                    "rest."
                )
    except csv.Error as fault:
        return DataError(f"File {str(path)!r}, line {reader.line_num}: {fault}.")
    except DataError as fault:
        return fault
    return DataError(
        f"File {str(path)!r} cannot be read as a table separated by {head.separator!r}: "
        f"{str(error).splitlines()[0]}. Check its quotes."
    )


def _lines(data: bytes) -> Iterator[str]:
    return (line.decode() for line in io.BytesIO(data))
