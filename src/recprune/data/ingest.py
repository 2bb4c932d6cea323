"""From a source of any size to a folder of columns, in two passes and bounded memory.

The first pass learns what each column holds; the second writes it. Both read a batch of rows at a
time, so that memory grows with the distinct texts, not with the rows. What each column is read as
is what :func:`recprune.data.infer.typed` says of the whole column: a table read from the folder
equals the table read from the source.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from recprune._support import progress
from recprune.data.batches import Source, open_source
from recprune.data.columns import ABOUT, TEXTS, StoredColumn, manifest, sha256_of
from recprune.data.infer import micros
from recprune.data.survey import ColumnSurvey
from recprune.errors import DataError
from recprune.folders import folder_written_whole
from recprune.texts import pack_texts

__all__ = ["ingest"]

#: Rows of a file rewritten at once.
BLOCK = 1 << 20


def ingest(
    source: str | Path,
    output: str | Path,
    *,
    label: str | None = None,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
) -> Path:
    """Write a source's columns to a folder that :meth:`Dataset.read` takes; return the folder.

    Args:
        source: a file as :meth:`Dataset.read` takes.
        output: the folder, ``data.rp`` by custom: written whole or not at all; the same source
            gives the same bytes.
        label, user, item, time: columns in these roles, kept in the folder, so that they need not
            be named again. Ids are kept as they are spelt.

    Raises:
        DataError: the source cannot be read, or has no rows, or a role's column is not there.
        InputError: ``output`` cannot be written.
    """
    from recprune import __version__

    roles = {"label": label, "user": user, "item": item, "time": time}
    given = {role: name for role, name in roles.items() if name is not None}
    opened = open_source(source)
    opened.check(given)
    with folder_written_whole(Path(output)) as folder:
        rows, surveys = _survey(opened, spelt={user, item} - {None})
        columns = _write(opened, rows, surveys, folder)
        findings = tuple(f for survey in surveys.values() for f in survey.findings())
        text = manifest(rows, opened.from_text, columns, given, findings, __version__)
        (folder / ABOUT).write_text(text, encoding="utf-8")
    return Path(output)


def _survey(source: Source, spelt: set[Any]) -> tuple[int, dict[str, ColumnSurvey]]:
    surveys = {name: ColumnSurvey(name, source.from_text, name in spelt) for name in source.names}
    rows = 0
    for batch in progress(source.batches(), "reading"):
        rows += len(batch)
        for name, survey in surveys.items():
            survey.add(batch[name])
    if not rows:
        raise DataError(f"File {str(source.path)!r} has columns and no rows.")
    return rows, surveys


def _write(
    source: Source, rows: int, surveys: Mapping[str, ColumnSurvey], folder: Path
) -> list[StoredColumn]:
    writers = [_Writer(i, survey, folder) for i, survey in enumerate(surveys.values())]
    seen = 0
    with contextlib.ExitStack() as files:
        for writer in writers:
            writer.open(files)
        for batch in progress(source.batches(), "writing", None):
            seen += len(batch)
            for writer, name in zip(writers, surveys, strict=True):
                writer.add(batch[name])
    if seen != rows:
        raise DataError(
            f"File {str(source.path)!r} had {rows} rows when it was read first and {seen} now: it changes "
            "while it is read. Try again when nothing writes to it."
        )
    columns, tensors = [], {}
    for i, writer in enumerate(writers):
        columns.append(writer.finish())
        tensors.update({f"{i}.{key}": array for key, array in writer.vocabulary().items()})
    save_file(tensors, folder / TEXTS)
    return columns


class _Writer:
    """Appends one column's batches to its file, and at the end narrows or renumbers it."""

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
        self.file = files.enter_context(self.path.open("wb"))

    def add(self, series: pl.Series) -> None:
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
        np.ascontiguousarray(array).tofile(self.file)

    def finish(self) -> StoredColumn:
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
                out.tofile(file)
        beside.replace(self.path)
        return narrow
