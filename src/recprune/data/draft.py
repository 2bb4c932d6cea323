"""A table read column by column without refusing any: for checks of what ``run`` would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.field_columns import FieldColumns
from recprune.data.frames import plain
from recprune.data.infer import read_time, typed
from recprune.data.labels import read_label
from recprune.data.quality import Finding
from recprune.data.spec import Spec
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["Draft", "read_draft"]


@dataclass(frozen=True, eq=False)
class Draft:
    """Columns as they were read; see :class:`recprune.data.checks.Sheet`, which is made of it.

    Args:
        frame: plain columns: fields and ids.
        kinds: field → its kind.
        roles: role → column, of those that are named.
        label: 0, 1 or NaN, shape ``(n,)``; None = there is none, or it is not 0/1.
        time: orders the rows, NaN where missing, shape ``(n,)``; None = nothing does.
        findings: what was found in reading.
    """

    frame: pl.DataFrame
    kinds: Mapping[str, str]
    roles: Mapping[str, str]
    label: NDArray[np.float32] | None
    time: NDArray[np.float64] | None
    findings: tuple[Finding, ...]


def read_draft(
    frame: pl.DataFrame,
    spec: Spec,
    from_text: bool = False,
    kinds: Mapping[str, Kind] | None = None,
) -> Draft:
    """Read a table whose label may be absent or not 0/1.

    Args:
        frame: columns of any types.
        spec: roles, dropped columns, stated properties.
        from_text: all columns are text from a file, whose types are still to be read.
        kinds: column → what it holds by the file's form, where the schema does not say.

    Raises:
        DataError: a named column does not exist, a column of structs, or one that the schema calls
            numeric and holds no number.
    """
    spec.check(frame.columns, needs_label=False)
    named = {role: getattr(spec, role) for role in ("label", "user", "item", "time")}
    roles = {role: name for role, name in named.items() if name is not None}
    frame = plain(frame.select(spec.used(frame.columns)))
    label, found = None, list[Finding]()
    if spec.label is not None:
        raw = frame[spec.label]
        try:
            label, found = read_label(typed(raw) if from_text else raw, spec.labels)
        except DataError:
            label = None  # whoever builds the table from it says why
    time = None
    if spec.time is not None:
        try:
            time = read_time(frame[spec.time]).cast(pl.Float64).fill_null(float("nan")).to_numpy()
        except DataError as error:
            action = "the table is refused; what needs a time was not checked"
            found.append(Finding("refused", spec.time, "error", len(frame), action, str(error)))
            spec = replace(spec, time=None)
            frame = frame.drop(roles.pop("time"))
    read = FieldColumns(frame, spec, from_text, kinds or {})
    converted = read.converted()
    assert isinstance(converted, pl.DataFrame)
    ids = [n for n in (spec.user, spec.item) if n is not None]
    of_fields = {n: str(c.kind) for n, c in read.columns.items() if n not in ids}
    found = [*found, *read.findings]
    return Draft(converted.select([*of_fields, *ids]), of_fields, roles, label, time, tuple(found))
