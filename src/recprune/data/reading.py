"""A source's rows as they are stored: without what is left out, users prepared, facts collected."""

from __future__ import annotations

import contextlib
import io
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from recprune._support import progress
from recprune.data.bad_rows import BadRows
from recprune.data.batches import Batch, Source
from recprune.data.column_writer import ColumnWriter
from recprune.data.first_reading import Origins, add_batch, settle
from recprune.data.identifiers import refuse_identifiers
from recprune.data.people import People
from recprune.data.spec import ROLES, Spec
from recprune.data.survey import ColumnSurvey
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["AT_ONCE", "Reading"]

#: Columns that are worked on at once: most of the work is done outside Python.
AT_ONCE = 4


class Reading:
    """Reads a source and writes its columns.

    Args:
        source: the rows.
        spec: roles, kinds, and columns to leave out.
        people: what is done to users.

    Raises:
        DataError: a column that is named is not there, as far as that can be told before reading.
    """

    def __init__(self, source: Source, spec: Spec, people: People | None = None) -> None:
        self.source, self.spec, self.people = source, spec, people
        self.roles = {r: c for r in ROLES if (c := getattr(spec, r)) is not None}
        stated = {n: f["kind"] for n, f in spec.fields.items() if f.get("kind") is not None}
        #: Column → what it holds, where the schema or else the source's form says so.
        self.kinds: dict[str, Kind] = {**source.kinds, **stated}
        self._columns: dict[str, None] = dict.fromkeys(source.names or ())
        self._spool: list[Path] = []
        #: Values of each column that were looked at for identifiers.
        self._looked_at: dict[str, int] = {}
        if source.names is not None:
            self._check_names()

    def write(self, bad: BadRows, folder: Path) -> tuple[int, list[ColumnWriter]]:
        """Write all columns; return the number of rows, and the columns' writers.

        A column is written as what its first values are. Where later ones say otherwise, it is
        written once more, in a second reading.

        Args:
            bad: collects bad rows.
            folder: to write to; ``rows`` in it takes those of a source that is read only once.

        Raises:
            DataError: the rows cannot be read, there are none, a column that is named is not there,
                or a column holds e-mail addresses, phone or card numbers.
        """
        writers: dict[str, ColumnWriter] = {}
        origins = Origins()
        with contextlib.ExitStack() as files, ThreadPoolExecutor(AT_ONCE) as pool:
            for batch in progress(self._batches(bad), "reading"):
                for name in batch.rows.columns:
                    if name not in writers:
                        writers[name] = self._writer(name, len(writers), origins.rows, folder)
                        writers[name].open(files)
                add_batch(batch, writers, pool)
                if not origins.rows:
                    self._refuse(writers)
                if self.source.once:
                    self._keep(batch.rows, folder / "rows")
                origins.add(batch)
            if not origins.rows:
                left = " left" if self.people is not None else ""
                raise DataError(f"{self.source.owner} has no rows{left}.")
            self._check_names()
            self._refuse(writers)
            deque(pool.map(partial(settle, origins=origins), writers.values()), maxlen=0)
        wrong = {n: w for n, w in writers.items() if w.wrong or w.content != w.survey.content()}
        if wrong:
            self._write_again(wrong, origins.rows)
        return origins.rows, list(writers.values())

    def _writer(self, name: str, i: int, rows: int, folder: Path) -> ColumnWriter:
        spelt = self.kinds.get(name) == "categorical"
        spelt |= name in (self.roles.get("user"), self.roles.get("item"))
        survey = ColumnSurvey(name, self.source.from_text, spelt, rows)
        survey.kind = self.kinds.get(name)
        return ColumnWriter(i, survey, folder, rows)

    def _write_again(self, wrong: dict[str, ColumnWriter], rows: int) -> None:
        seen = 0
        with contextlib.ExitStack() as files:
            for writer in wrong.values():
                writer.restart(files)
            for batch in progress(self.again(), "reading again"):
                seen += len(batch.rows)
                for name, writer in wrong.items():
                    known = name in batch.rows.columns
                    nothing = writer.survey.nothing(len(batch.rows))
                    writer.add(batch.rows[name] if known else nothing)
        if seen != rows:
            raise DataError(
                f"{self.source.owner} had {rows} rows when it was read first and {seen} now: it "
                "changes while it is read. Try again when nothing writes to it."
            )

    def _keep(self, rows: pl.DataFrame, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._spool.append(folder / f"{len(self._spool)}.arrow")
        # Through memory: of a full disk, Polars says it in an error of its own.
        rows.write_ipc(packed := io.BytesIO(), compression="zstd")
        self._spool[-1].write_bytes(packed.getbuffer())

    def again(self) -> Iterator[Batch]:
        """Yield the same rows once more."""
        if not self.source.once:
            yield from self._batches(None)
            return
        for file in self._spool:
            yield Batch(pl.read_ipc(file), self.source.owner, 0)

    def _batches(self, bad: BadRows | None) -> Iterator[Batch]:
        for batch in self.source.batches(bad):
            self._columns |= dict.fromkeys(batch.rows.columns)
            rows = batch.rows.select(self.spec.used(batch.rows.columns))
            if self.people is not None and self.people.column in rows.columns:
                rows, places = self.people.apply(rows, count=bad is not None)
                batch = replace(batch, places=places)
            yield replace(batch, rows=rows)

    def _refuse(self, writers: Mapping[str, ColumnWriter]) -> None:
        allowed = {*self.roles.values(), *self.spec.fields}
        for name, writer in writers.items():
            sample = writer.survey.sample()
            if len(sample) > self._looked_at.get(name, -1):
                refuse_identifiers(sample.to_frame(), allowed)
            self._looked_at[name] = len(sample)

    def _check_names(self) -> None:
        self.spec.check(self._columns, needs_label=False, owner=self.source.owner)
