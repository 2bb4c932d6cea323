"""From any frame and what the user states about it to a checked table with a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.disk_frame import DiskFrame, Frame, Reader, keep
from recprune.data.extras import Extras, read_extras
from recprune.data.field_columns import FieldColumns
from recprune.data.frames import comparable, plain
from recprune.data.identifiers import refuse_identifiers
from recprune.data.ids import read_id
from recprune.data.infer import read_time, typed
from recprune.data.labels import check_label, read_label
from recprune.data.quality import Finding, duplicate_columns
from recprune.data.rules import FieldRule
from recprune.data.spec import Spec
from recprune.errors import DataError
from recprune.schema import Kind, Schema
from recprune.scratch import parked

__all__ = ["LEAST_ROWS", "Table", "build_table"]

#: Fewer rows cannot be split into train, tune, gate and test with both classes in each.
LEAST_ROWS = 30
#: Of a log of positives that names no label.
MADE_LABEL = "taken"


@dataclass(frozen=True, eq=False)
class Table:
    """A checked table, not yet split.

    Args:
        frame: plain columns, in memory or read when asked for: fields, ids, and the columns that cross fields are indexed by.
        label: 0 or 1, shape ``(n,)``; all 1 where negatives are still to be drawn.
        schema: its fields and roles.
        rules: field → which values get a row of their own.
        findings: what was found and done.
        extras: when each row happened, how much it counts, and its other labels.
    """

    frame: Frame
    label: NDArray[np.float32]
    schema: Schema
    rules: Mapping[str, FieldRule] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    extras: Extras = Extras()  # noqa: RUF009 (frozen)

    @property
    def held(self) -> pl.DataFrame:
        """The columns in memory."""
        if isinstance(self.frame, DiskFrame):
            return self.frame.select(*self.frame.columns)
        return self.frame

    def loaded(self, most: int) -> Table:
        """Return the table in memory; of a larger one on disk ``most`` rows, evenly spread."""
        if not isinstance(self.frame, DiskFrame):
            return self
        n = len(self.label)
        at = np.linspace(0, n - 1, min(most, n)).astype(np.int64)
        frame = self.frame[at].select(*self.frame.columns)
        return replace(self, frame=frame, label=self.label[at], extras=self.extras.take(at))

    @property
    def time(self) -> NDArray[Any] | None:
        """What orders the rows, shape ``(n,)``; None without a time column."""
        return self.extras.time


def build_table(
    frame: Frame,
    spec: Spec,
    from_text: bool = False,
    kinds: Mapping[str, Kind] | None = None,
) -> Table:
    """Check a frame against what is stated, infer the rest, and drop what cannot be used.

    Args:
        frame: columns of any types, in memory or on disk.
        spec: roles, dropped columns and stated properties.
        from_text: all columns are text from a file, whose types are still to be read.
        kinds: column → what it holds by the file's form, where the schema does not say.

    Raises:
        DataError: see the messages: names that do not exist, labels that are not 0/1, too few
            rows, no usable field, e-mail addresses, phone or card numbers in a column that is
            neither a role nor named by the schema.
    """
    spec.check(frame.columns)
    frame, spec = _with_label(frame, spec)
    roles = [r for r in (spec.user, spec.item, spec.time, spec.weight) if r is not None]
    roles += spec.other_labels
    frame = plain(keep(frame, spec.used(frame.columns)))
    refuse_identifiers(frame, {*roles, str(spec.label), *spec.fields})
    frame, label, time, found = _usable_rows(frame, spec, from_text)
    extras = replace(read_extras(frame, spec, from_text), time=time)
    read = FieldColumns(frame, spec, from_text, kinds or {})
    frame = read.converted()
    fields = read.fields(frame)
    found += read.findings
    if not fields:
        raise DataError(
            "No usable field is left: every column is a role, dropped, constant or empty. "
            + " ".join(f"{f.column!r}: {f.action}." for f in found[:8])
        )
    columns_of = ((f.name, comparable(frame[f.name])) for f in fields)
    found += duplicate_columns(chain([(str(spec.label), pl.Series(label))], columns_of))
    roles_of = {r: getattr(spec, r) for r in ("user", "item", "time", "weight")}
    schema = Schema(fields, str(spec.label), **roles_of, other_labels=spec.other_labels)
    by_columns = [f.by for f in fields if f.by is not None]
    kept = dict.fromkeys([*schema.names, *by_columns, *(k for k in (spec.user, spec.item) if k)])
    rules = {f.name: spec.rules.get(f.name, spec.rule) for f in fields}
    if isinstance(frame, DiskFrame):
        label = parked(label)
    return Table(keep(frame, list(kept)), label, schema, rules, tuple(found), extras)


def _with_label(frame: Frame, spec: Spec) -> tuple[Frame, Spec]:
    """Give a log of positives that has no label a column of 1, under a name that is free."""
    if spec.label is not None:
        return frame, spec
    name = MADE_LABEL
    while name in frame.columns:
        name += "_"
    spec = replace(spec, label=name)
    if not isinstance(frame, DiskFrame):
        return frame.with_columns(pl.lit(1).alias(name)), spec
    ones = partial(_ones, len(frame))
    return frame.derived({name: Reader(ones, ones)}), spec


def _ones(n: int, start: int = 0, stop: int | None = None) -> pl.Series:
    return pl.Series(np.ones(len(range(n)[start:stop]), np.int8))


def _usable_rows(
    frame: Frame, spec: Spec, from_text: bool
) -> tuple[Frame, NDArray[np.float32], NDArray[Any] | None, list[Finding]]:
    if len(frame) < LEAST_ROWS:
        raise DataError(_too_few(len(frame), []))
    raw = frame[str(spec.label)]
    label, found = read_label(typed(raw) if from_text else raw, spec.labels)
    usable, time = ~np.isnan(label), None
    for role in ("user", "item", "time"):
        name = getattr(spec, role)
        if name is None:
            continue
        read = read_time(frame[name]) if role == "time" else read_id(frame[name], from_text)
        missing = (read.fill_nan(None) if read.dtype.is_float() else read).is_null().to_numpy()
        if (usable & missing).any():
            rows = int((usable & missing).sum())
            found.append(Finding(f"missing {role}", name, "warning", rows, "dropped the rows"))
        usable &= ~missing
        time = read.to_numpy() if role == "time" else None
    if not usable.all():
        frame, label = frame[np.flatnonzero(usable)], label[usable]
        time = None if time is None else time[usable]
    if len(label) < LEAST_ROWS:
        raise DataError(_too_few(len(label), found))
    check_label(str(spec.label), label, spec.labels)
    return frame, label, time, found


def _too_few(rows: int, found: list[Finding]) -> str:
    absent = [f for f in found if f.kind.startswith("missing")]
    why = "".join(f" {f.rows} rows have a {f.kind} ({f.column!r})." for f in absent)
    return (
        f"The table has {rows} usable row{'s' * (rows != 1)}; at least {LEAST_ROWS} are needed to "
        f"split it into train, validation and test rows.{why}"
    )
