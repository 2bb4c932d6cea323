"""Writing one column of a folder, batch by batch."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.columns import Content, StoredColumn, sha256_of
from recprune.data.encode import vectors
from recprune.data.infer import micros
from recprune.data.survey import ColumnSurvey
from recprune.scratch import forget
from recprune.texts import pack_joined

__all__ = ["ColumnWriter"]

#: Rows of a file rewritten at once.
BLOCK = 1 << 20
#: Stands for a missing integer or time.
LEAST = np.iinfo(np.int64).min
SHORT = np.iinfo(np.int32)
#: Types that the contents' files begin with.
DTYPES = {
    "text": "<i4",
    "number": "<f8",
    "boolean": "|i1",
    "time": "<i8",
    "list": "<i8",
    "vector": "<f8",
}


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
        #: Codes of the elements of lists, which come behind the lists' ends when all are known.
        self.elements = folder / f"{i}.elements"
        #: What the file holds; None until a value says so. Rows written, and missing ones.
        self.content: Content | None = None
        self.dtype = ""
        self.rows, self.missing = rows, 0
        #: Elements of all lists, and numbers of a vector.
        self.total, self.width = 0, 1
        # Codes come in the order of first use; a namespace of its own keeps them dense. Polars
        # forgets a namespace that no series refers to.
        self.categories = pl.Categorical(pl.Categories.random(f"column {i}"))
        self._remembered = pl.Series([], dtype=self.categories)
        self.ordered: pl.DataFrame | None = None
        #: Whether what is written is not what the column holds: then it is not written on.
        self.wrong = False
        self._known: tuple[pl.Series, NDArray[np.int64]] | None = None
        self._files: contextlib.ExitStack
        self.file: BinaryIO

    def open(self, files: contextlib.ExitStack) -> None:
        """Open the file, to be closed with the others."""
        self._files = files
        self.file = files.enter_context(self.path.open("wb"))

    def begin(self, content: Content) -> None:
        """Say what the file holds; rows that came before lack the column."""
        self.content, self.dtype = content, DTYPES.get(content, "<i4")
        if self.rows:
            before, self.rows = self.rows, 0
            self.add(self.survey.nothing(before))

    def restart(self, files: contextlib.ExitStack) -> None:
        """Begin anew, as what the whole column holds."""
        self.rows = self.missing = self.total = 0
        self.width = 1
        self.wrong = False
        self.elements.unlink(missing_ok=True)
        self.open(files)
        self.begin(self.survey.content())

    def reading(self, series: pl.Series) -> pl.Expr | None:
        """Return how a batch of texts is read, so that columns are read side by side."""
        if self.wrong or series.dtype != pl.String:
            return None
        if self.content == "text":
            return pl.col(series.name).cast(self.categories).to_physical()
        if not self.survey.typed:
            return None
        kinds = {"integer": pl.Int64(), "number": pl.Float64()}
        kind = kinds.get(str(self.content))
        return None if kind is None else pl.col(series.name).cast(kind, strict=False)

    def add(self, series: pl.Series, read: bool = False) -> None:
        """Append the next batch: values, or what :meth:`reading` made of them (``read``)."""
        self.rows += len(series)
        if self.content is None or self.wrong:
            return
        values = series if read else self.survey.read(series, self.content)
        if self.content == "number":
            values = values.cast(pl.Float64).fill_nan(None)
        self.missing += values.null_count()
        if self.content == "text":
            codes = values if read else values.cast(self.categories).to_physical()
            array = codes.cast(pl.Int32).fill_null(-1).to_numpy()
        elif self.content == "number":
            array = values.fill_null(np.nan).to_numpy()
        elif self.content == "boolean":
            array = values.cast(pl.Int8).fill_null(-1).to_numpy()
        elif self.content == "list":
            array = self._lists(values)
        elif self.content == "vector":
            array = vectors(values)
            self.width = array.shape[1]
        else:
            array = self._whole(micros(values) if self.content == "time" else values)
        self.file.write(np.ascontiguousarray(array).data)

    def _lists(self, lists: pl.Series) -> NDArray[np.int64]:
        """Append lists' elements to their own file, and return the lists' ends."""
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        codes = flat.cast(self.categories).to_physical().cast(pl.Int32).to_numpy()
        with self.elements.open("ab") as file:
            file.write(np.ascontiguousarray(codes).data)
        ends = self.total + np.cumsum(lists.list.len().fill_null(0).to_numpy().astype(np.int64))
        self.total = int(ends[-1]) if len(ends) else self.total
        return np.where(lists.is_null().to_numpy(), -1 - ends, ends)

    def _whole(self, read: pl.Series) -> NDArray[Any]:
        """Return integers as narrow as the file is, which is widened where they do not fit."""
        values = read.cast(pl.Int64)
        low, high = values.min(), values.max()
        fits = low is None or (SHORT.min < int(low) and int(high) <= SHORT.max)  # type: ignore[arg-type]
        if self.dtype == "<i4" and (self.content == "time" or not fits):
            self._rewrite(
                "<i8", lambda block: np.where(block == SHORT.min, LEAST, block.astype(np.int64))
            )
        if self.dtype == "<i8":
            return values.fill_null(LEAST).to_numpy()
        return values.cast(pl.Int32).fill_null(SHORT.min).to_numpy()

    def widen(self) -> None:
        """Turn integers that were written into numbers."""
        nothing = LEAST if self.dtype == "<i8" else SHORT.min
        self._rewrite(
            "<f8", lambda block: np.where(block == nothing, np.nan, block.astype(np.float64))
        )
        self.content = "number"

    def _rewrite(self, dtype: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Write the file anew, block by block, and go on at its end."""
        if not self.file.closed:
            self.file.flush()
        beside = self.path.with_suffix(".other")
        with beside.open("wb") as file:
            for block in self._blocks(self.dtype, "r"):
                file.write(np.ascontiguousarray(change(block).astype(dtype, copy=False)).data)
        beside.replace(self.path)
        self.dtype = dtype
        if not self.file.closed:
            self.file.close()
            self.file = self._files.enter_context(self.path.open("ab"))

    def texts(self) -> tuple[pl.Series, NDArray[np.int64]]:
        """Return the texts in the order of their codes, and how often each came."""
        if self._known is not None:
            return self._known
        if not self.file.closed:
            self.file.flush()
        count = np.zeros(0, np.int64)
        for block in self._blocks("<i4", "r", self._coded):
            here = np.bincount(block[block >= 0])
            count = np.pad(count, (0, max(0, len(here) - len(count))))
            count[: len(here)] += here
        codes = pl.Series(np.arange(len(count), dtype=np.uint32))
        self._known = codes.cat.to(self.categories).cast(pl.String), count
        return self._known

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
        lost = np.append(read.is_null().to_numpy(), False)
        values = np.append(read.fill_null(0).to_numpy().astype(dtype), np.array([nothing], dtype))
        values[lost] = nothing
        for block in self._blocks("<i4", "r"):
            self.missing += int(lost[block].sum())
        # A missing value's code, −1, reads the last entry.
        self._rewrite(dtype, lambda block: values[block])
        self.content, self._known = content, None

    def finish(self) -> StoredColumn:
        """Bring the file, which is closed, into its last form, and return its entry."""
        assert self.content is not None
        if self.content in ("text", "list"):
            self._renumber(*self.texts())
        if self.content == "list" and self.elements.exists():
            with self.path.open("ab") as file, self.elements.open("rb") as elements:
                shutil.copyfileobj(elements, file)
            self.elements.unlink()
        elif self.content in ("number", "vector") and self._all(_single):
            self._rewrite("<f4", lambda block: block)
        elif self.content in ("integer", "date") and self.dtype == "<i8" and self._all(_short):
            self._rewrite("<i4", lambda block: np.where(block == LEAST, SHORT.min, block))
        digest = sha256_of(self.path)
        with self.path.open("rb") as file:
            os.fsync(file.fileno())  # here, where other columns are worked on meanwhile
        return StoredColumn(
            self.survey.name, self.content, self.dtype, self.missing, digest, self.width
        )

    def _all(self, fits: Callable[[NDArray[Any]], bool]) -> bool:
        return all(fits(block) for block in self._blocks(self.dtype, "r"))

    def vocabulary(self) -> dict[str, NDArray[Any]]:
        """Return the texts of a finished column and their counts; {} if it holds no text."""
        if self.ordered is None:
            return {}
        texts, counts = self.ordered["text"], self.ordered["count"].to_numpy().astype(np.int64)
        # Joined outside Python: an object a text would take longer than all else.
        joined = (texts.str.join("").item() or "").encode("utf-8", "surrogatepass")
        return {**pack_joined(joined, texts.str.len_bytes().to_numpy()), "counts": counts}

    def _renumber(self, texts: pl.Series, count: NDArray[np.int64]) -> None:
        """Bring the codes into the order of count, then text: the same whatever the batches."""
        table = pl.DataFrame({"text": texts, "count": count}).with_row_index("old")
        self.ordered = table.sort(["count", "text"], descending=[True, False])
        new = np.empty(len(count) + 1, np.int32)
        new[self.ordered["old"].to_numpy()] = np.arange(len(count), dtype=np.int32)
        new[-1] = -1  # a missing value's code, −1, reads the last entry
        for block in self._blocks("<i4", "r+", self._coded):
            block[:] = new[block]

    @property
    def _coded(self) -> Path:
        """The file that holds codes."""
        return self.elements if self.content == "list" else self.path

    def _blocks(
        self, dtype: str, mode: Literal["r", "r+"], path: Path | None = None
    ) -> Iterator[NDArray[Any]]:
        path = path or self.path
        size = path.stat().st_size // np.dtype(dtype).itemsize if path.exists() else 0
        if not size:
            return
        values = np.memmap(path, dtype, mode, shape=(size,))
        for start in range(0, size, BLOCK):
            yield values[start : start + BLOCK]
            forget(values)


def _single(numbers: NDArray[Any]) -> bool:
    """Tell whether 32 bits hold the numbers exactly."""
    with np.errstate(over="ignore"):
        back = numbers.astype(np.float32).astype(np.float64)
    return bool(((back == numbers) | np.isnan(numbers)).all())


def _short(integers: NDArray[Any]) -> bool:
    """Tell whether 32 bits hold the integers, and the least one to stand for a missing one."""
    fits = (integers > SHORT.min) & (integers <= SHORT.max)
    return bool((fits | (integers == LEAST)).all())
