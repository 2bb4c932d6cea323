"""A source's rows, a batch at a time, as often as they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.bad_rows import BadRows
from recprune.data.columns import ColumnStore, holds_columns
from recprune.data.frames import plain
from recprune.data.quality import Finding
from recprune.data.source_folder import check_columns, check_form
from recprune.data.sources import open_streams
from recprune.data.sql import stream_query
from recprune.data.stream import Stream
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["Batch", "Source", "open_query", "open_source"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows, as plain columns (:func:`recprune.data.frames.plain`).

    Args:
        rows: the columns.
        owner: what holds them, such as "file 'a.csv'".
        before: rows of it that came before them.
        places: the rows' places among those of the batch as read; None = all of them.
    """

    rows: pl.DataFrame
    owner: str
    before: int
    places: NDArray[np.intp] | None = None

    def place(self, at: int) -> str:
        """Say where a row comes from.

        >>> Batch(pl.DataFrame(), "file 'a.csv'", 200).place(4)
        "row 205 of file 'a.csv'"
        """
        at = at if self.places is None else int(self.places[at])
        return f"row {self.before + at + 1} of {self.owner}"


@dataclass(frozen=True, eq=False)
class Source:
    """Rows of one or several files, or of a query.

    Args:
        streams: the files, in order.
        once: the rows can be read only once; those of files as often as they are wanted.
        roles: role → column, where the source says so.
        pseudonyms: of a column of pseudonyms, its name and the key's fingerprint.
        findings: what was repaired before.
    """

    streams: Sequence[Stream]
    once: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    pseudonyms: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def owner(self) -> str:
        """What holds the rows, to begin a message."""
        first, more = self.streams[0].owner, len(self.streams) - 1
        return first[0].upper() + first[1:] + f" and {more} more" * (more > 0)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Columns in order; None where only all rows tell."""
        return self.streams[0].names

    @property
    def from_text(self) -> bool:
        """All columns are text, whose types are still to be read."""
        return self.streams[0].from_text

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Column → what it holds, where the source's form says so."""
        return self.streams[0].kinds

    def batches(self, bad: BadRows | None) -> Iterator[Batch]:
        """Yield all rows in order; ``bad`` collects bad rows, None = they were in an earlier reading.

        Raises:
            DataError: a row that cannot be read, or files that differ; names file and line where
                that can be known.
        """
        first: list[str] | None = None
        for stream in self.streams:
            if first is not None and stream.names is not None:
                check_columns(self.streams[0].path, first, stream.path, stream.names)
            seen: dict[str, None] = {}
            before = 0
            for rows in stream.read(bad):
                seen |= dict.fromkeys(rows.columns)
                if first is not None:
                    rows = rows.select([name for name in first if name in rows.columns])
                yield Batch(_plain(rows, stream), stream.owner, before)
                before += len(rows)
            if first is None:
                first = list(seen)
            elif stream.names is None:
                check_columns(self.streams[0].path, first, stream.path, list(seen))


def _plain(rows: pl.DataFrame, stream: Stream) -> pl.DataFrame:
    try:
        return plain(rows)
    except DataError as error:
        owner = stream.owner
        raise DataError(f"{owner[0].upper()}{owner[1:]}: {error}") from error


def open_source(path: str | Path) -> Source:
    """Return the rows of whatever :func:`recprune.data.sources.read_table` reads, or of a folder that
    was ingested before.

    Raises:
        DataError: see :func:`recprune.data.sources.read_table`.
        ArtifactError: the folder is not sound.
    """
    if holds_columns(path):
        store = ColumnStore(path)
        names = tuple(store.names)
        stream = Stream(Path(path), names, lambda bad: store.blocks(), store.from_text, store.kinds)
        return Source([stream], False, store.roles, store.pseudonyms, store.findings)
    streams = open_streams(path)
    first = streams[0]
    for stream in streams[1:]:
        if first.names is not None and stream.names is not None:
            check_columns(first.path, first.names, stream.path, stream.names)
        check_form(first.path, first.from_text, stream.path, stream.from_text)
    return Source(streams)


def open_query(query: str, connection: str) -> Source:
    """Return the rows of a PostgreSQL query; see :func:`recprune.data.sql.stream_query`."""
    return Source([stream_query(query, connection)], once=True)
