"""The first reading: each column is written as what its first values are, and learned on the way.

Texts become codes at once; what they are is then told from the different ones alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from recprune.data.batches import Batch
from recprune.data.column_writer import ColumnWriter

__all__ = ["Origins", "add_batch", "settle"]


class Origins:
    """Where the rows that were read came from."""

    def __init__(self) -> None:
        self.rows = 0
        self._starts: list[int] = []
        self._batches: list[Batch] = []

    def add(self, batch: Batch) -> None:
        """Take the next batch in; its rows are not kept."""
        self._starts.append(self.rows)
        self._batches.append(replace(batch, rows=batch.rows.clear()))
        self.rows += len(batch.rows)

    def place(self, row: int) -> str:
        """Say where one of all rows comes from."""
        at = bisect_right(self._starts, row) - 1
        return self._batches[at].place(row - self._starts[at])


def add_batch(batch: Batch, writers: Mapping[str, ColumnWriter], pool: Executor) -> None:
    """Write a batch and learn from it, several columns at once.

    Raises:
        DataError: a column's type is none that holds its values and the earlier ones.
    """
    rows = batch.rows
    for name in rows.columns:
        writer, survey = writers[name], writers[name].survey
        survey.begin(rows[name], batch.place)
        if writer.content is None and (guess := survey.guess()) is not None:
            writer.begin(guess)
        elif writer.content is not None and not survey.typed:
            # A text that was a number at first is read as it is spelt in the next reading.
            writer.wrong |= survey.turn is not None or writer.content != survey.content()
    # All texts at once: Polars then works on several columns side by side.
    ways = [way for name in rows.columns if (way := writers[name].reading(rows[name])) is not None]
    read = rows.select(ways)

    def add(name: str) -> None:
        writer = writers[name]
        if name not in rows.columns:
            writer.survey.skip(len(rows))
            writer.add(writer.survey.nothing(len(rows)))
        elif name not in read.columns:
            writer.add(rows[name])
        elif writer.content == "text":
            writer.add(read[name], read=True)
        else:
            numbers = writer.survey.parse(rows[name], read[name], batch.place)
            if writer.content == "integer" and not writer.survey.whole:
                writer.widen()
            writer.add(numbers, read=True)

    deque(pool.map(add, writers), maxlen=0)  # raises what a column raised


def settle(writer: ColumnWriter, origins: Origins) -> None:
    """Say what a column holds after all rows, and bring codes of numbers into numbers."""
    survey = writer.survey
    if writer.content is None:
        writer.begin(survey.content())
    if writer.content != "text" or writer.wrong:
        return
    texts, counts = writer.texts()
    if survey.typed:
        survey.weigh(texts, counts, lambda code: origins.place(writer.place_of(code)))
        if (content := survey.content()) != "text":
            writer.decode(texts, content)
