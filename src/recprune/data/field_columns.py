"""Which columns of a table become fields, and of what kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import polars as pl

from recprune.data.binding import bind_to_items
from recprune.data.date_fields import expand_date, moments, part_of
from recprune.data.disk_frame import Digest, DiskFrame, Frame, Reader
from recprune.data.frames import widened
from recprune.data.ids import read_id
from recprune.data.impossible_dates import impossible_dates, impossible_times
from recprune.data.infer import Column, numbers_of, read_column
from recprune.data.nested import read_dense, read_sequence
from recprune.data.personal import sensitive_guess
from recprune.data.quality import Finding
from recprune.data.roles import guess_sources
from recprune.data.spec import Spec
from recprune.dates import DATE_PARTS, DatePart
from recprune.errors import DataError
from recprune.schema import Field, Kind, Schema

__all__ = ["FieldColumns", "as_fields"]

#: An id is a field where it comes this often on average: seldom seen ids teach nothing.
ROWS_PER_ID = 2.0
#: Rows of a column on disk that are looked at for persons' attributes.
FIRST_ROWS = 1 << 18
LIKE_A_DATE = r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d"


@dataclass(eq=False)
class FieldColumns:
    """The columns that become fields, read from a frame of plain columns.

    Args:
        frame: the table's usable rows, as plain columns.
        spec: what is stated.
        from_text: all columns are text from a file, whose types are still to be read.
        kinds: column → what it holds by the file's form, where the schema does not say.
    """

    frame: Frame
    spec: Spec
    from_text: bool
    kinds: Mapping[str, Kind]
    #: Field → its column; and of a part of a date, the date's column and the part.
    columns: dict[str, Column] = field(default_factory=dict, init=False)
    dates: dict[str, tuple[str, DatePart]] = field(default_factory=dict, init=False)
    findings: list[Finding] = field(default_factory=list, init=False)
    #: Columns that are taken for personal attributes.
    personal: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        spec, names = self.spec, self.frame.columns
        roles = (spec.label, spec.weight, *spec.other_labels)
        if spec.time is not None:
            self.findings.extend(impossible_times(self.frame[spec.time]))
        for name in names:
            stated = spec.fields.get(name)
            if name in (spec.user, spec.item):
                self._add_id(name)
            elif name not in roles and (stated is not None or not self._aside(name)):
                self._add(name)
        for name, stated in spec.fields.items():
            if stated.get("of") and name not in names:
                self._add_date(self.frame[stated["of"]], {name: stated["part"]})

    def fields(self, frame: Frame) -> tuple[Field, ...]:
        """Return the fields, with what is not stated guessed from ``frame``, which has them all."""
        spec = self.spec
        sources = guess_sources(frame, list(self.columns), spec.user, spec.item)
        if spec.labels.negatives is not None:
            stated = [n for n, f in spec.fields.items() if f.get("source") or f.get("by")]
            sources, found = bind_to_items(frame, sources, str(spec.item), stated)
            self.findings.extend(found)
        return tuple(
            self._field(name, column, sources[name]) for name, column in self.columns.items()
        )

    def converted(self) -> Frame:
        """Return the frame with the fields' columns and the ids as they are kept."""
        ids = [name for name in (self.spec.user, self.spec.item) if name is not None]
        if isinstance(self.frame, DiskFrame):
            names = dict.fromkeys([*ids, *self.columns])
            changed = {n: Reader(partial(self._read, n), partial(self._part, n)) for n in names}
            return self.frame.derived(changed)
        frame = self.frame.with_columns(self._read(name) for name in ids)
        return frame.with_columns(c.series.alias(n) for n, c in self.columns.items())

    def _read(self, name: str) -> pl.Series:
        """Read one column as it is kept."""
        if name in (self.spec.user, self.spec.item):
            return read_id(self.frame[name], self.from_text)
        if name in self.dates:
            of, part = self.dates[name]
            dates = self._column(of).series
            return part_of(moments(dates), part, self._now(of))
        return self._column(name).series

    def _part(self, name: str, start: int, stop: int) -> pl.Series:
        """Read some rows of one column on disk, as the kind that all rows have."""
        assert isinstance(self.frame, DiskFrame)
        known = self.columns.get(name)
        # Ids, dates, and texts that are read as numbers are read alike in all rows, or not at all.
        if name in (self.spec.user, self.spec.item) or name in self.dates or known is None:
            return self._read(name)[start:stop]
        series = self.frame.rows(name, start, stop)
        if known.kind == "categorical" and not series.dtype.is_nested():
            return widened(series)
        if known.kind == "numeric" and (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            return series.cast(pl.Float64)
        if series.dtype.is_nested():
            return read_sequence(series) if known.kind == "sequence" else read_dense(series)
        return self._read(name)[start:stop]

    def _digest(self, name: str) -> Digest | None:
        """Return a column on disk in short; None where its rows must be read to tell what it is."""
        if not isinstance(self.frame, DiskFrame) or name in self.spec.fields:
            return None
        digest = self.frame.digest(name)
        if digest is None or digest.values.dtype != pl.String:
            return digest
        # How many rows are numbers, or look like dates, decides.
        texts = digest.values.drop_nulls()
        numbers = len(numbers_of(texts).drop_nulls())
        some = 0 < numbers < len(texts) or texts.str.contains(LIKE_A_DATE).any()
        return None if some else digest

    def _in_short(self, name: str, digest: Digest) -> Column:
        column = read_column(digest.values, self.kinds.get(name), self.from_text)
        found = tuple(replace(f, rows=digest.infinite) for f in column.findings)
        return replace(column, findings=found)

    def _column(self, name: str) -> Column:
        """Read one column for what it holds."""
        series, kind = self.frame[name], self.spec.fields.get(name, {}).get("kind")
        kind = kind or self.kinds.get(name)
        if kind == "date":
            return Column(series, "date")
        separator = self.spec.rules.get(name, self.spec.rule).separator
        if separator and kind in ("sequence", "dense") and series.dtype == pl.String:
            series = series.str.split(separator)
        return read_column(series, kind, self.from_text)

    def _now(self, of: str) -> pl.Series | None:
        """Return when each row happened, for ages; of the time itself there is none."""
        time = self.spec.time
        return moments(self.frame[time]) if time is not None and time != of else None

    def _aside(self, name: str) -> bool:
        """Tell whether a column that is no stated field is there for another reason."""
        return self.spec.whole or name == self.spec.time

    def _keep(self, name: str, column: Column) -> None:
        """Keep a column, or of one on disk only what it is: it is read again when it is needed."""
        if isinstance(self.frame, DiskFrame):
            column = replace(column, series=column.series.clear())
        self.columns[name] = column

    def _add_id(self, name: str) -> None:
        stated = self.spec.fields.get(name)
        if self.spec.whole and stated is None:
            return
        series = self._read(name)
        if stated is None and len(series) < ROWS_PER_ID * series.n_unique():
            action = "not used as a field: most ids come once, so there is nothing to learn"
            self.findings.append(Finding("rare ids", name, "info", len(series), action))
            return
        self._keep(name, Column(series, "categorical"))

    def _add(self, name: str) -> None:
        stated, digest = self.spec.fields.get(name), self._digest(name)
        column = self._column(name) if digest is None else self._in_short(name, digest)
        if column.kind == "date":
            column, digest = self._column(name), None
        self.findings.extend(column.findings)
        if name != self.spec.time:
            self.findings.extend(impossible_dates(column))
        if column.kind == "date":
            parts = (stated or {}).get("parts", DATE_PARTS)
            self._add_date(column.series, {f"{name}.{part}": part for part in parts})
            return
        problem = _useless(column, stated is not None, len(self.frame))
        if problem:
            self.findings.append(Finding(*problem, len(self.frame), "dropped"))
        else:
            self._guess(column.series if digest is None else self._first_rows(name), digest)
            self._keep(name, column)

    def _first_rows(self, name: str) -> pl.Series:
        assert isinstance(self.frame, DiskFrame)
        return self.frame.rows(name, 0, FIRST_ROWS)

    def _guess(self, series: pl.Series, digest: Digest | None = None) -> None:
        """Take a column for personal if it looks so, and ask, unless the schema says what it is."""
        found = sensitive_guess(series)
        if found is not None and self.spec.fields.get(series.name, {}).get("sensitive") is None:
            self.personal.add(series.name)
            if digest is not None:
                found = replace(found, rows=len(self.frame) - digest.missing)
            self.findings.append(found)

    def _add_date(self, series: pl.Series, parts: Mapping[str, DatePart]) -> None:
        """Add the parts of a date that vary; ``parts`` names each part's field."""
        read = expand_date(series, self._now(series.name), list(parts.values()))
        names = {part: name for name, part in parts.items()}
        added = {names[part]: (part, column) for part, column in read}
        for name, (part, column) in added.items():
            if name not in self.frame.columns:
                self._keep(name, column)
                self.dates[name] = (series.name, part)
        if added and all(self.spec.fields.get(n, {}).get("sensitive") is None for n in parts):
            self._guess(series)
        what = ", ".join(part for part, _ in added.values())
        action = f"read as fields of its {what}" if what else "dropped: it does not vary"
        self.findings.append(Finding("date", series.name, "info", len(series), action))

    def _field(self, name: str, column: Column, source: str) -> Field:
        spec = self.spec
        of, part = self.dates.get(name, (None, None))
        owner = name if of is None or name in spec.fields else of
        given: dict[str, Any] = {"kind": column.kind, "source": source, "of": of, "part": part}
        given["sensitive"] = (owner if of is None else of) in self.personal
        kept = {k: v for k, v in spec.fields.get(owner, {}).items() if v is not None}
        stated = {k: v for k, v in kept.items() if k not in ("kind", "parts", "of", "part")}
        if stated.get("by") is not None:
            given["source"] = "cross"
            if stated["by"] not in self.frame.columns:
                raise DataError(
                    f"Field {name!r} is indexed by {stated['by']!r}, which the table does not have."
                )
        return Field(name, **{**given, **stated})


def _useless(column: Column, stated: bool, rows: int) -> tuple[str, str, Any] | None:
    name, series = column.series.name, column.series
    if column.kind is None:
        return column.reason, name, "warning" if stated else "info"
    names = column.kind == "categorical" and series.dtype == pl.String and not stated
    if names and series.null_count() == 0 and series.n_unique() == rows:
        return "all different", name, "warning"
    return None


def as_fields(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return a frame of plain columns with each field's column as its kind is kept.

    Args:
        frame: the fields' columns; instead of a part of a date, the date's own will do.
        schema: says what each field is.
    """
    out = []
    for one in schema.fields:
        if one.of is not None and one.part is not None and one.name not in frame.columns:
            apart = schema.time is not None and schema.time in frame.columns
            now = moments(frame[schema.time]) if apart and schema.time != one.of else None  # type: ignore[index]
            out.append(part_of(moments(frame[one.of]), one.part, now).alias(one.name))
        elif one.kind == "sequence":
            out.append(read_sequence(frame[one.name]))
        elif one.kind == "dense":
            out.append(read_dense(frame[one.name]))
        elif one.kind == "categorical":
            out.append(widened(frame[one.name]))
    return frame.with_columns(out)
