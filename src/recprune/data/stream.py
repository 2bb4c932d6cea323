"""One file's rows, a batch at a time, as often as they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.schema import Kind

__all__ = ["BATCH", "DAMAGED", "QUERY", "Stream", "batches_of"]

#: Stands for a file where the rows are a query's.
QUERY = Path("the query")
#: Rows a batch.
BATCH = 200_000
#: What a damaged file raises. Polars panics on some damage, and a panic is no Exception.
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, eq=False)
class Stream:
    """The rows of a file.

    Args:
        path: the file; for a query, its name.
        names: of the columns, in order; None where only all rows tell, as in JSON lines.
        read: yields all rows in order and raises DataError at a fault; collects bad rows, or, given
            None, yields the rows of the reading before once more.
        from_text: all columns are text, whose types are still to be read.
        kinds: column → what it holds, where the file's form says so.
    """

    path: Path
    names: tuple[str, ...] | None
    read: Callable[[BadRows | None], Iterator[pl.DataFrame]]
    from_text: bool = False
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """What holds the rows, within a message."""
        return f"file {str(self.path)!r}" if self.path != QUERY else str(QUERY)


def batches_of(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield a plan's rows in order, in bounded memory."""
    return iter(rows.collect_batches(chunk_size=BATCH, maintain_order=True, engine="streaming"))
