"""From any frame and what the user states about it to a checked table with a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.binding import bind_to_items
from recprune.data.frames import plain
from recprune.data.identifiers import refuse_identifiers
from recprune.data.ids import read_id
from recprune.data.infer import Column, read_column, read_time, typed
from recprune.data.labels import check_label, read_label
from recprune.data.quality import Finding, duplicate_columns
from recprune.data.roles import guess_sensitive, guess_sources
from recprune.data.spec import Spec
from recprune.data.vocabulary import VocabularyRule
from recprune.errors import DataError
from recprune.schema import Field, Schema

__all__ = ["LEAST_ROWS", "Table", "build_table"]

#: Fewer rows cannot be split into train, tune, gate and test with both classes in each.
LEAST_ROWS = 30
#: An id is a field where it comes this often on average: seldom seen ids teach nothing.
ROWS_PER_ID = 2.0
#: Of a log of positives that names no label.
MADE_LABEL = "taken"


@dataclass(frozen=True, eq=False)
class Table:
    """A checked table, not yet split.

    Args:
        frame: plain columns: fields, ids, and the columns that cross fields are indexed by.
        label: 0 or 1, shape ``(n,)``; all 1 where negatives are still to be drawn.
        schema: its fields and roles.
        time: orders the rows, shape ``(n,)``; None without a time column.
        rules: field → which values get a row of their own.
        findings: what was found and done.
    """

    frame: pl.DataFrame
    label: NDArray[np.float32]
    schema: Schema
    time: NDArray[Any] | None = None
    rules: Mapping[str, VocabularyRule] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def build_table(frame: pl.DataFrame, spec: Spec, from_text: bool = False) -> Table:
    """Check a frame against what is stated, infer the rest, and drop what cannot be used.

    Args:
        frame: columns of any types.
        spec: roles, dropped columns and stated properties.
        from_text: all columns are text from a file, whose types are still to be read.

    Raises:
        DataError: see the messages: names that do not exist, labels that are not 0/1, too few
            rows, no usable field, e-mail addresses, phone or card numbers in a column that is
            neither a role nor named by the schema.
    """
    spec.check(frame.columns)
    frame, spec = _with_label(frame, spec)
    roles = [r for r in (spec.user, spec.item, spec.time) if r is not None]
    left_out = set(spec.drop)
    if spec.whole:
        by = [f["by"] for f in spec.fields.values() if f.get("by")]
        left_out |= set(frame.columns) - {*spec.fields, *roles, *by, str(spec.label)}
    frame = plain(frame.select([c for c in frame.columns if c not in left_out]))
    refuse_identifiers(frame, {*roles, str(spec.label), *spec.fields})
    frame, label, time, found = _usable_rows(frame, spec, from_text)
    columns = _read_fields(frame, spec, from_text, found)
    for key in (spec.user, spec.item):
        if key is not None:
            frame = frame.with_columns(read_id(frame[key], from_text))
    frame = frame.with_columns(c.series.alias(name) for name, c in columns.items())
    fields = _fields(frame, columns, spec, found)
    if not fields:
        raise DataError(
            "No usable field is left: every column is a role, dropped, constant, empty or a date. "
            + " ".join(f"{f.column!r}: {f.action}." for f in found[:8])
        )
    columns_of = {f.name: frame[f.name] for f in fields}
    found += duplicate_columns({str(spec.label): pl.Series(label), **columns_of})
    schema = Schema(fields, str(spec.label), spec.user, spec.item, spec.time)
    by_columns = [f.by for f in fields if f.by is not None]
    kept = dict.fromkeys([*schema.names, *by_columns, *(k for k in (spec.user, spec.item) if k)])
    rules = {f.name: spec.rules.get(f.name, spec.rule) for f in fields}
    return Table(frame.select(list(kept)), label, schema, time, rules, tuple(found))


def _with_label(frame: pl.DataFrame, spec: Spec) -> tuple[pl.DataFrame, Spec]:
    """Give a log of positives that has no label a column of 1, under a name that is free."""
    if spec.label is not None:
        return frame, spec
    name = MADE_LABEL
    while name in frame.columns:
        name += "_"
    return frame.with_columns(pl.lit(1).alias(name)), replace(spec, label=name)


def _usable_rows(
    frame: pl.DataFrame, spec: Spec, from_text: bool
) -> tuple[pl.DataFrame, NDArray[np.float32], NDArray[Any] | None, list[Finding]]:
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
        frame, label = frame.filter(pl.Series(usable)), label[usable]
        time = None if time is None else time[usable]
    if len(label) < LEAST_ROWS:
        raise DataError(_too_few(len(label), found))
    check_label(str(spec.label), label, spec.labels)
    return frame, label, time, found


def _read_fields(
    frame: pl.DataFrame, spec: Spec, from_text: bool, found: list[Finding]
) -> dict[str, Column]:
    """Read every column that may be a field; report those that cannot be one."""
    columns: dict[str, Column] = {}
    ids = {spec.user, spec.item}
    for name in frame.columns:
        stated = spec.fields.get(name)
        if name == spec.label or (name == spec.time and stated is None):
            continue
        if name in ids:
            if spec.whole and stated is None:
                continue
            series = read_id(frame[name], from_text)
            if stated is None and len(series) < ROWS_PER_ID * series.n_unique():
                action = "not used as a field: most ids come once, so there is nothing to learn"
                found.append(Finding("rare ids", name, "info", len(series), action))
                continue
            columns[name] = Column(series, "categorical")
            continue
        column = read_column(frame[name], (stated or {}).get("kind"), from_text)
        found.extend(column.findings)
        problem = _useless(column, stated is not None)
        if problem:
            found.append(Finding(*problem, len(frame), "dropped"))
        else:
            columns[name] = column
    return columns


def _useless(column: Column, stated: bool) -> tuple[str, str, Any] | None:
    name, series = column.series.name, column.series
    if column.kind is None:
        return column.reason, name, "warning" if stated else "info"
    if column.kind == "date":
        return "date", name, "warning"
    names = column.kind == "categorical" and series.dtype == pl.String and not stated
    if names and series.null_count() == 0 and series.n_unique() == len(series):
        return "all different", name, "warning"
    return None


def _fields(
    frame: pl.DataFrame, columns: Mapping[str, Column], spec: Spec, found: list[Finding]
) -> tuple[Field, ...]:
    sources = guess_sources(frame, list(columns), spec.user, spec.item)
    if spec.labels.negatives is not None:
        known = [n for n, f in spec.fields.items() if f.get("source") or f.get("by")]
        sources, followers = bind_to_items(frame, sources, str(spec.item), known)
        found += followers
    fields = []
    for name, column in columns.items():
        given = {"kind": column.kind, "source": sources[name], "sensitive": guess_sensitive(name)}
        stated = {k: v for k, v in spec.fields.get(name, {}).items() if v is not None}
        if name in (spec.user, spec.item) or column.kind == "categorical":
            stated.pop("kind", None)
        if stated.get("by") is not None:
            given["source"] = "cross"
            by = stated["by"]
            if by not in frame.columns:
                raise DataError(
                    f"Field {name!r} is indexed by {by!r}, which the table does not have."
                )
        fields.append(Field(name, **{**given, **stated}))
    return tuple(fields)


def _too_few(rows: int, found: list[Finding]) -> str:
    absent = [f for f in found if f.kind.startswith("missing")]
    why = "".join(f" {f.rows} rows have a {f.kind} ({f.column!r})." for f in absent)
    return (
        f"The table has {rows} usable row{'s' * (rows != 1)}; at least {LEAST_ROWS} are needed to "
        f"split it into train, validation and test rows.{why}"
    )
