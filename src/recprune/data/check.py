"""A table checked before a run believes it: what it holds, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.data.checks import Sheet, check_dataset, check_sheet
from recprune.data.columns import ColumnStore, holds_columns
from recprune.data.dataset import Dataset
from recprune.data.frames import plain
from recprune.data.identifiers import identifier_findings
from recprune.data.quality import Finding, grave, merged
from recprune.data.draft import read_draft
from recprune.data.sources import read_table
from recprune.data.spec import Spec
from recprune.data.table import build_table
from recprune.errors import DataError

__all__ = ["Checked", "check_frame", "check_table"]


@dataclass(frozen=True)
class Checked:
    """What was seen in a table.

    Args:
        rows: of the table.
        label_rate: share of label 1; None without a label of 0 and 1.
        columns: one entry a column of single values, in the table's order: ``name``, ``role`` (``"field"``,
            ``"label"``, ``"user"``, ``"item"``, ``"time"``, or ``"left out"`` of those that ``run``
            does not use), ``kind`` (None = no field), ``missing`` rows and ``distinct`` values.
        findings: the gravest first.
    """

    rows: int
    label_rate: float | None
    columns: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether there is neither a warning nor an error."""
        return not grave(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "rows": self.rows,
            "label_rate": self.label_rate,
            "columns": list(self.columns),
            "findings": [f.to_json() for f in self.findings],
        }


def check_table(
    path: str | Path,
    spec: Spec,
    bad: BadRows | None = None,
    split: tuple[str, int] = ("auto", 0),
) -> Checked:
    """Check a file, or a folder that :func:`recprune.data.ingest` wrote; trains nothing.

    Args:
        path: as :meth:`Dataset.read` takes.
        spec: roles, dropped columns and stated properties. Without a label, checks that need one
            are left out.
        bad: collects rows that cannot be read; see :class:`BadRows`.
        split: the way of splitting and its seed, as :meth:`Dataset.split` takes them: drift is
            between training and test rows.

    Raises:
        DataError: the file cannot be read, or a named column does not exist. What a run would
            refuse otherwise is a finding of severity ``"error"``.
    """
    bad = bad or BadRows.of("error")
    found: tuple[Finding, ...] = ()
    if holds_columns(path):
        store = ColumnStore(path)
        roles = {r: c for r, c in store.roles.items() if getattr(spec, r) is None}
        spec = spec.with_roles((), **roles)
        frame, from_text, found = store.frame(), store.from_text, store.findings
    else:
        frame, from_text = read_table(path, bad)
    return check_frame(frame, spec, from_text, (*found, *bad.findings(spec.label or "")), split)


def check_frame(
    frame: pl.DataFrame,
    spec: Spec,
    from_text: bool = False,
    found: tuple[Finding, ...] = (),
    split: tuple[str, int] = ("auto", 0),
) -> Checked:
    """Check a table; see :func:`check_table`.

    Args:
        frame: columns of any types.
        spec: roles, dropped columns and stated properties.
        from_text: all columns are text from a file, whose types are still to be read.
        found: what is known of it already.
        split: the way of splitting, and its seed.

    Raises:
        DataError: a named column does not exist.
    """
    spec.check(frame.columns, needs_label=False)
    clean = plain(frame.select(spec.used(frame.columns)))
    # What would be refused column by column is reported column by column; the rest is read on.
    named = {spec.label, spec.user, spec.item, spec.time, *spec.fields}
    refused = identifier_findings(clean, {n for n in named if n is not None})
    accepted = spec.with_roles(f.column for f in refused)
    found = (*found, *refused)
    rate, kinds = None, dict[str, str | None]()
    data = None
    if spec.label is not None:
        try:
            table = build_table(frame, accepted, from_text)
            data = Dataset(table.schema, table.findings, "", table).split(split[0], seed=split[1])
        except DataError as error:
            action = "the table is refused; what needs a label was not checked"
            found = (
                *found,
                Finding("refused", spec.label, "error", len(frame), action, str(error)),
            )
    if data is not None:
        rate = float(data.whole_table.label.mean())
        kinds = {f.name: f.kind for f in data.whole_table.schema.fields}
        found = merged(found, check_dataset(data))
    else:
        draft = read_draft(frame, accepted, from_text)
        sheet = Sheet.of_draft(draft)
        kinds = {**sheet.kinds}
        found = merged(found, draft.findings, check_sheet(sheet))
    return Checked(len(frame), rate, _columns(frame, spec, kinds), found)


def _columns(
    frame: pl.DataFrame, spec: Spec, kinds: dict[str, str | None]
) -> tuple[dict[str, Any], ...]:
    named = {getattr(spec, role): role for role in ("label", "user", "item", "time")}
    flat = frame.select(n for n, t in frame.schema.items() if not t.is_nested())
    distinct = flat.select(pl.all().drop_nulls().n_unique()).row(0)
    return tuple(
        {
            "name": column.name,
            "role": named.get(column.name, "field" if column.name in kinds else "left out"),
            "kind": kinds.get(column.name),
            "missing": column.null_count(),
            "distinct": size,
        }
        for column, size in zip(flat, distinct, strict=True)
    )
