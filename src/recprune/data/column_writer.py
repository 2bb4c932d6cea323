"""Writing one column of a folder, batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.columns import Content, StoredColumn, sha256_of
from recprune.data.infer import micros
from recprune.data.survey import ColumnSurvey
from recprune.scratch import forget
from recprune.texts import pack_texts

__all__ = ["ColumnWriter"]

#: Rows of a file rewritten at once.
BLOCK = 1 << 20
#: Stands for a missing integer or time.
LEAST = np.iinfo(np.int64).min


class ColumnWriter:
    """Appends one column's batches to its file, and at the end brings it into its last form.

    Args:
        i: place of the column, which names its file.
        survey: what is known of its batches.
        folder: to write to.
        rows: that came before, without the column.
    """

    def __init__(self, i: int, survey: ColumnSurvey, folder: Path, rows: int = 0) -> None:
        self.survey = survey
        self.path = folder / f"{i}.bin"
        #: What the file holds; None until a value says so. Rows written, and missing ones.
        self.content: Content | None = None
        self.rows, self.missing = rows, 0
        # Codes come in the order of first use; a namespace of its own keeps them dense. Polars
        # forgets a namespace that no series refers to.
        self.categories = pl.Categorical(pl.Categories.random(f"column {i}"))
        self._remembered = pl.Series([], dtype=self.categories)
        self.ordered: pl.DataFrame | None = None
        #: Whether what is written is not what the column holds: then it is not written on.
        self.wrong = False
        self.file: BinaryIO

    def open(self, files: contextlib.ExitStack) -> None:
        """Open the file, to be closed with the others."""
        self.file = files.enter_context(self.path.open("wb"))

    def begin(self, content: Content) -> None:
        """Say what the file holds; rows that came before lack the column."""
        self.content = content
        if self.rows:
            before, self.rows = self.rows, 0
            self.add(self.survey.nothing(before))

    def restart(self, files: contextlib.ExitStack) -> None:
        """Begin anew, as what the whole column holds."""
        self.content, self.wrong = self.survey.content(), False
        self.rows = self.missing = 0
        self.open(files)

    def reading(self, series: pl.Series) -> pl.Expr | None:
        """Return how a batch of texts becomes codes, so that columns are read side by side."""
        if self.content != "text" or self.wrong or series.dtype != pl.String:
            return None
        return pl.col(series.name).cast(self.categories).to_physical()

    def add(self, series: pl.Series) -> None:
        """Append the next batch: codes that :meth:`reading` made, or values."""
        self.rows += len(series)
        if self.content is None or self.wrong:
            return
        if self.content == "text" and series.dtype == pl.UInt32:
            read = series
        else:
            read = self.survey.read(series, self.content)
        if self.content == "number":
            read = read.cast(pl.Float64).fill_nan(None)
        self.missing += read.null_count()
        if self.content == "text":
            codes = read.cast(self.categories).to_physical() if read.dtype == pl.String else read
            array = codes.cast(pl.Int32).fill_null(-1).to_numpy()
        elif self.content == "number":
            array = read.fill_null(np.nan).to_numpy()
        elif self.content == "boolean":
            array = read.cast(pl.Int8).fill_null(-1).to_numpy()
        else:
            read = micros(read) if self.content == "time" else read
            array = read.cast(pl.Int64).fill_null(LEAST).to_numpy()
        self.file.write(np.ascontiguousarray(array).data)

    def widen(self) -> None:
        """Turn integers that were written into numbers."""
        self.file.flush()
        for block in self._blocks("<i8", "r+"):
            numbers = np.where(block == LEAST, np.nan, block.astype(np.float64))
            block[:] = numbers.view(np.int64)
        self.content = "number"

    def texts(self) -> tuple[pl.Series, NDArray[np.int64]]:
        """Return the texts in the order of their codes, and how often each came."""
        if not self.file.closed:
            self.file.flush()
        count = np.zeros(0, np.int64)
        for block in self._blocks("<i4", "r"):
            here = np.bincount(block[block >= 0])
            count = np.pad(count, (0, max(0, len(here) - len(count))))
            count[: len(here)] += here
        codes = pl.Series(np.arange(len(count), dtype=np.uint32))
        return codes.cat.to(self.categories).cast(pl.String), count

    def place_of(self, code: int) -> int:
        """Return the first row with a code."""
        row = 0
        for block in self._blocks("<i4", "r"):
            if (block == code).any():
                return row + int(np.argmax(block == code))
            row += len(block)
        return row

    def decode(self, texts: pl.Series, content: Content) -> None:
        """Turn codes into the values of another content."""
        read = self.survey.read(texts, content)
        dtype, nothing = {"number": ("<f8", np.nan), "boolean": ("|i1", -1)}.get(
            content, ("<i8", LEAST)
        )
        if content == "number":
            read = read.fill_nan(None)
        lost = read.is_null().to_numpy()
        values = np.append(read.fill_null(0).to_numpy().astype(dtype), np.array([nothing], dtype))
        values[:-1][lost] = nothing
        beside = self.path.with_suffix(".values")
        with beside.open("wb") as file:
            for block in self._blocks("<i4", "r"):
                self.missing += int(np.append(lost, False)[block].sum())
                file.write(values[block].data)  # a missing value's code, −1, reads the last
        beside.replace(self.path)
        self.content = content

    def finish(self) -> StoredColumn:
        """Bring the file, which is closed, into its last form, and return its entry."""
        assert self.content is not None
        dtype = {"text": "<i4", "number": "<f8", "boolean": "|i1"}.get(self.content, "<i8")
        if self.content == "text":
            self._renumber(*self.texts())
        elif self.content == "number" and self.survey.single:
            dtype = self._narrow(dtype, "<f4")
        elif self.content == "date" or (self.content == "integer" and self.survey.short):
            dtype = self._narrow(dtype, "<i4")
        digest = sha256_of(self.path)
        return StoredColumn(self.survey.name, self.content, dtype, self.missing, digest)

    def vocabulary(self) -> dict[str, NDArray[Any]]:
        """Return the texts of a finished column and their counts; {} if it holds no text."""
        if self.ordered is None:
            return {}
        packed = pack_texts(self.ordered["text"].to_list())
        return {**packed, "counts": self.ordered["count"].to_numpy().astype(np.int64)}

    def _renumber(self, texts: pl.Series, count: NDArray[np.int64]) -> None:
        """Bring the codes into the order of count, then text: the same whatever the batches."""
        table = pl.DataFrame({"text": texts, "count": count}).with_row_index("old")
        self.ordered = table.sort(["count", "text"], descending=[True, False])
        new = np.empty(len(count) + 1, np.int32)
        new[self.ordered["old"].to_numpy()] = np.arange(len(count), dtype=np.int32)
        new[-1] = -1  # a missing value's code, −1, reads the last entry
        for block in self._blocks("<i4", "r+"):
            block[:] = new[block]

    def _narrow(self, wide: str, narrow: str) -> str:
        beside = self.path.with_suffix(".narrow")
        with beside.open("wb") as file:
            for block in self._blocks(wide, "r"):
                out = block.astype(narrow)
                if narrow == "<i4":
                    out[block == LEAST] = np.iinfo(np.int32).min
                file.write(out.data)
        beside.replace(self.path)
        return narrow

    def _blocks(self, dtype: str, mode: Literal["r", "r+"]) -> Iterator[NDArray[Any]]:
        size = self.path.stat().st_size // np.dtype(dtype).itemsize
        if not size:
            return
        values = np.memmap(self.path, dtype, mode, shape=(size,))
        for start in range(0, size, BLOCK):
            yield values[start : start + BLOCK]
            forget(values)
