"""The rows of a CSV or TSV file one by one: which are bad, which are short, and all that are sound."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recprune.data import stream
from recprune.data.bad_rows import BadRow, BadRows
from recprune.data.csv_header import Header, read_header
from recprune.data.source_bytes import raw_lines, split_suffix, stream_lines
from recprune.errors import DataError

__all__ = ["fault_in", "short_lines", "sound_rows"]


def fault_in(lines: Iterator[str], path: Path, head: Header, error: Exception) -> DataError:
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


def short_lines(path: Path, head: Header) -> list[int]:
    """Return the lines of the rows with fewer cells than the header."""
    width = len(head.names)
    if not split_suffix(path)[1] and _fills_all(path, head):
        return []
    lines = pl.scan_lines(path, name="text", row_index_name="line", row_index_offset=1)
    text = pl.col("text").str.strip_suffix("\r")
    outside = text.str.replace_all('"[^"]*"', "")
    few = (outside.str.count_matches(head.separator, literal=True) < width - 1) & (text != "")
    open_ = (text.str.count_matches('"', literal=True) % 2 == 1).alias("open")
    found = lines.filter(few | open_).select("line", text, open_).collect(engine="streaming")
    if not found["open"].any():  # no row has several lines
        rows = found.select("line", "text").iter_rows()
        return [line for line, row in rows if _cells(row, head.separator) < width]
    short: list[int] = []
    reader = csv.reader(stream_lines(path), delimiter=head.separator)
    with contextlib.suppress(csv.Error):  # Polars read what this reader cannot
        short += [reader.line_num for row in reader if 0 < len(row) < width]
    return short


def _cells(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator)))
    except csv.Error:  # Polars read what this reader cannot
        return line.count(separator) + 1


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


def sound_rows(path: Path, separator: str, bad: BadRows) -> Iterator[pl.DataFrame]:
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
