"""A source's rows, a batch at a time, as often as they are wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recprune.data.frames import plain
from recprune.data.source_bytes import split_suffix, stream_lines
from recprune.data.source_clicks import AVAZU
from recprune.data.source_csv import Header, fault_in, scan_csv
from recprune.data.source_typed import DAMAGED, unsound
from recprune.data.sources import TEXT, read_table
from recprune.errors import DataError, nearest

__all__ = ["Source", "open_source"]

#: Rows a batch.
BATCH = 200_000
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, eq=False)
class Source:
    """Rows that can be read again and again.

    Args:
        path: the file.
        rows: a plan that reads them.
        names: of the columns, in order.
        from_text: all columns are text from a file, whose types are still to be read.
        header: of a file of text that is read batch by batch.
    """

    path: Path
    rows: pl.LazyFrame
    names: tuple[str, ...]
    from_text: bool = False
    header: Header | None = None

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in order as plain columns (:func:`recprune.data.frames.plain`).

        Raises:
            DataError: a row that cannot be read; names the line where that can be known.
        """
        with self._faults():
            batches = self.rows.collect_batches(
                chunk_size=BATCH, maintain_order=True, engine="streaming"
            )
            for batch in batches:
                yield plain(batch)

    def check(self, roles: Mapping[str, str]) -> None:
        """Refuse a role whose column is not there.

        Raises:
            DataError: names the role, the column and the nearest column.
        """
        for role, name in roles.items():
            if name not in self.names:
                raise DataError(
                    f"File {str(self.path)!r} has no {role} column {name!r}."
                    f"{nearest(name, self.names)}"
                )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except DAMAGED as error:
            if self.header is None:
                raise unsound(self.path, "Parquet", str(error)) from error
            raise fault_in(stream_lines(self.path), self.path, self.header, error) from error


def open_source(path: str | Path) -> Source:
    """Return the rows of whatever :func:`recprune.data.sources.read_table` reads.

    CSV, TSV and Parquet files are read batch by batch; all other forms are read whole.

    Raises:
        DataError: see :func:`recprune.data.sources.read_table`.
    """
    path = Path(path)
    kind, packing = split_suffix(path)
    if kind in TEXT and path.is_file():
        rows, header = scan_csv(path, "\t" if kind == ".tsv" else ",")
        if not set(AVAZU) <= set(header.names):
            return Source(path, rows, header.names, True, header)
    elif kind in PARQUET and not packing and path.is_file():
        source = Source(path, pl.scan_parquet(path), ())
        with source._faults():
            names = tuple(source.rows.collect_schema().names())
        return Source(path, source.rows, names)
    frame, from_text = read_table(path)
    return Source(path, frame.lazy(), tuple(frame.columns), from_text)
