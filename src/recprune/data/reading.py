"""A source's rows as they are stored: without what is left out, users prepared, facts collected."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from recprune._support import progress
from recprune.data.bad_rows import BadRows
from recprune.data.batches import Batch, Source
from recprune.data.identifiers import refuse_identifiers
from recprune.data.people import People
from recprune.data.spec import ROLES, Spec
from recprune.data.survey import ColumnSurvey
from recprune.errors import DataError, nearest
from recprune.schema import Kind

__all__ = ["Reading"]


class Reading:
    """Reads a source twice: once to learn what its columns hold, once to write them.

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
        if source.names is not None:
            self._check_names()

    def survey(self, bad: BadRows, spool: Path) -> tuple[int, dict[str, ColumnSurvey]]:
        """Read all rows; return how many, and what each column holds.

        Args:
            bad: collects bad rows.
            spool: folder for the rows of a source that can be read only once.

        Raises:
            DataError: the rows cannot be read, there are none, a column that is named is not there,
                or a column holds e-mail addresses, phone or card numbers.
        """
        surveys: dict[str, ColumnSurvey] = {}
        spelt = {n for n, kind in self.kinds.items() if kind == "categorical"}
        spelt |= {c for role, c in self.roles.items() if role in ("user", "item")}
        rows = 0
        for batch in progress(self._batches(bad), "reading"):
            for name in batch.rows.columns:
                if name not in surveys:
                    surveys[name] = ColumnSurvey(name, self.source.from_text, name in spelt, rows)
            for name, survey in surveys.items():
                if name in batch.rows.columns:
                    survey.add(batch.rows[name], batch.place)
                else:
                    survey.skip(len(batch.rows))
            if not rows:
                self._refuse(surveys)
            if self.source.once:
                spool.mkdir(exist_ok=True)
                self._spool.append(spool / f"{len(self._spool)}.arrow")
                # Through memory: of a full disk, Polars says it in an error of its own.
                batch.rows.write_ipc(packed := io.BytesIO(), compression="zstd")
                self._spool[-1].write_bytes(packed.getbuffer())
            rows += len(batch.rows)
        if not rows:
            raise DataError(
                f"{self.source.owner} has no rows{' left' * (self.people is not None)}."
            )
        self._check_names()
        self._refuse(surveys)
        return rows, surveys

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
            left_out = self._left_out()
            rows = batch.rows.select([c for c in batch.rows.columns if c not in left_out])
            if self.people is not None and self.people.column in rows.columns:
                rows, places = self.people.apply(rows, count=bad is not None)
                batch = replace(batch, places=places)
            yield replace(batch, rows=rows)

    def _left_out(self) -> set[str]:
        if not self.spec.whole:
            return set(self.spec.drop)
        by = [f["by"] for f in self.spec.fields.values() if f.get("by")]
        return set(self._columns) - {*self.spec.fields, *self.roles.values(), *by}

    def _refuse(self, surveys: dict[str, ColumnSurvey]) -> None:
        allowed = {*self.roles.values(), *self.spec.fields}
        for survey in surveys.values():
            refuse_identifiers(survey.sample().to_frame(), allowed)

    def _check_names(self) -> None:
        columns, owner = list(self._columns), self.source.owner
        named = [(role, name, "") for role, name in self.roles.items()]
        named += [("", name, " to drop") for name in self.spec.drop]
        named += [("", name, " as the schema's field") for name in self.spec.fields]
        for role, name, what in named:
            if name not in columns:
                raise DataError(
                    f"{owner} has no {role}{' ' * bool(role)}column {name!r}{what}."
                    f"{nearest(name, columns)}"
                )
        if len(set(self.roles.values())) < len(self.roles):
            raise DataError(f"One column has two roles: {self.roles}. Name different columns.")
        for name in self.spec.drop:
            if name in self.roles.values():
                raise DataError(
                    f"Column {name!r} is named both to drop and as a role: {self.roles}."
                )
