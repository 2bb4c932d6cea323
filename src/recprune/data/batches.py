"""A source's rows, a batch at a time, as often as they are wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recprune.data.frames import plain
from recprune.data.text_files import locate_fault, read_header
from recprune.errors import DataError, nearest

__all__ = ["Source", "open_source"]

#: Rows a batch.
BATCH = 200_000


@dataclass(frozen=True, eq=False)
class Source:
    """Rows that can be read again and again.

    Args:
        path: the file.
        rows: a plan that reads them.
        names: of the columns, in order.
        separator: of a text file, all of whose columns are text; None = columns have types.
    """

    path: Path
    rows: pl.LazyFrame
    names: tuple[str, ...]
    separator: str | None = None

    @property
    def from_text(self) -> bool:
        """Whether all columns are text, whose types are still to be read."""
        return self.separator is not None

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
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            if self.separator is None:
                raise DataError(
                    f"File {str(self.path)!r} is no sound Parquet file ({reason}): it is cut short "
                    "or damaged. Write or fetch it again."
                ) from error
            fault = locate_fault(self.path, self.separator, len(self.names))
            raise fault or DataError(
                f"File {str(self.path)!r} cannot be read as a table separated by "
                f"{self.separator!r}: {reason}. Check its quotes."
            ) from error


def open_source(path: str | Path) -> Source:
    """Return the rows of a file: CSV and TSV (also gzipped), or Parquet.

    Raises:
        DataError: the file is missing, empty, of an unknown type, or has a column name twice.
    """
    path = Path(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        source = Source(path, pl.scan_parquet(path), ())
        with source._faults():
            names = tuple(source.rows.collect_schema().names())
        return Source(path, source.rows, names)
    separator, names = read_header(path)
    rows = pl.scan_csv(path, separator=separator, infer_schema=False, new_columns=list(names))
    return Source(path, rows, names, separator)
