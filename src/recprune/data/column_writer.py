"""Writing one column of a folder, batch by batch."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.columns import StoredColumn, sha256_of
from recprune.data.infer import micros
from recprune.data.survey import ColumnSurvey
from recprune.texts import pack_texts

__all__ = ["ColumnWriter"]

#: Rows of a file rewritten at once.
BLOCK = 1 << 20


class ColumnWriter:
    """Appends one column's batches to its file, and at the end narrows or renumbers it.

    Args:
        i: place of the column, which names its file.
        survey: of all its batches.
        folder: to write to.
    """

    def __init__(self, i: int, survey: ColumnSurvey, folder: Path) -> None:
        self.survey, self.content = survey, survey.content()
        self.path = folder / f"{i}.bin"
        # Codes come in the order of first use; a namespace of its own keeps them dense. Polars
        # forgets a namespace that no series refers to.
        self.categories = pl.Categorical(pl.Categories.random(f"column {i}"))
        self._remembered = pl.Series([], dtype=self.categories)
        self.ordered: pl.DataFrame | None = None
        self.missing = 0
        self.file: BinaryIO

    def open(self, files: contextlib.ExitStack) -> None:
        """Open the file, to be closed with the others."""
        self.file = files.enter_context(self.path.open("wb"))

    def add(self, series: pl.Series) -> None:
        """Append the next batch."""
        read = self.survey.read(series)
        if self.content == "number":
            read = read.cast(pl.Float64).fill_nan(None)
        self.missing += read.null_count()
        if self.content == "text":
            codes = read.cast(self.categories).to_physical()
            array = codes.cast(pl.Int32).fill_null(-1).to_numpy()
        elif self.content == "number":
            array = read.fill_null(np.nan).to_numpy()
        elif self.content == "boolean":
            array = read.cast(pl.Int8).fill_null(-1).to_numpy()
        else:
            read = micros(read) if self.content == "time" else read
            array = read.cast(pl.Int64).fill_null(np.iinfo(np.int64).min).to_numpy()
        self.file.write(np.ascontiguousarray(array).data)

    def finish(self) -> StoredColumn:
        """Bring the file, which is closed, into its last form, and return its entry."""
        dtype = {"text": "<i4", "number": "<f8", "boolean": "|i1"}.get(self.content, "<i8")
        if self.content == "text":
            self._renumber()
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

    def _renumber(self) -> None:
        """Bring the codes into the order of count, then text: the same whatever the batches."""
        size = self.path.stat().st_size // 4
        codes = np.memmap(self.path, "<i4", "r+", shape=(size,))
        count = np.zeros(0, np.int64)
        for start in range(0, size, BLOCK):
            block = codes[start : start + BLOCK]
            here = np.bincount(block[block >= 0])
            count = np.pad(count, (0, max(0, len(here) - len(count))))
            count[: len(here)] += here
        texts = pl.Series(np.arange(len(count), dtype=np.uint32)).cat.to(self.categories)
        table = pl.DataFrame({"text": texts.cast(pl.String), "count": count}).with_row_index("old")
        self.ordered = table.sort(["count", "text"], descending=[True, False])
        new = np.empty(len(count) + 1, np.int32)
        new[self.ordered["old"].to_numpy()] = np.arange(len(count), dtype=np.int32)
        new[-1] = -1  # a missing value's code, −1, reads the last entry
        for start in range(0, size, BLOCK):
            codes[start : start + BLOCK] = new[codes[start : start + BLOCK]]
        codes.flush()

    def _narrow(self, wide: str, narrow: str) -> str:
        beside = self.path.with_suffix(".narrow")
        size = self.path.stat().st_size // np.dtype(wide).itemsize
        values = np.memmap(self.path, wide, "r", shape=(size,))
        with beside.open("wb") as file:
            for start in range(0, size, BLOCK):
                block = values[start : start + BLOCK]
                out = block.astype(narrow)
                if narrow == "<i4":
                    out[block == np.iinfo(np.int64).min] = np.iinfo(np.int32).min
                file.write(out.data)
        beside.replace(self.path)
        return narrow
