"""Tables from CSV and TSV text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.data.csv_header import read_header
from recprune.data.csv_rows import fault_in, short_lines, sound_rows
from recprune.data.source_bytes import NotUtf8, read_utf8, stream_lines
from recprune.data.source_clicks import AVAZU, click_kinds, is_avazu, read_hours
from recprune.data.stream import DAMAGED, Stream, batches_of
from recprune.errors import DataError

__all__ = ["read_csv", "stream_csv"]


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
        return pl.concat(sound_rows(path, separator, bad))
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
            return pl.concat(sound_rows(path, separator, bad))
        raise fault_in(_lines(data), path, head, error) from error
    if not len(frame):
        raise DataError(f"File {str(path)!r} has a header and no rows.")
    if frame.width > 1 and frame[:, -1].null_count():
        bad.add_short(path, short_lines(path, head))
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
            yield from sound_rows(path, separator, bad or BadRows(skip=True))
            return
        holes = False
        try:
            for batch in batches_of(rows):
                holes = holes or (bad is not None and batch[:, -1].null_count() > 0)
                yield batch
        except DAMAGED as error:
            raise fault_in(stream_lines(path), path, head, error) from error
        if bad is not None and holes and len(head.names) > 1:
            bad.add_short(path, short_lines(path, head))

    def read_avazu(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        seen = 0
        for batch in read(bad):
            yield read_hours(path, batch, seen)
            seen += len(batch)

    avazu = set(AVAZU) <= set(head.names) and _begins_as_avazu(rows)
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


def _lines(data: bytes) -> Iterator[str]:
    return (line.decode() for line in io.BytesIO(data))
