"""A table checked before a run believes it: what it holds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recprune.data.bad_rows import BadRows
from recprune.data.checks import Sheet, check_dataset, check_sheet, some_rows
from recprune.data.dataset import Dataset
from recprune.data.disk_frame import Frame, keep
from recprune.data.draft import read_draft
from recprune.data.erased import Erased
from recprune.data.frames import comparable, plain
from recprune.data.identifiers import identifier_findings
from recprune.data.opening import open_table
from recprune.data.people import stays
from recprune.data.quality import Finding, grave, merged
from recprune.data.spec import ROLES, Spec
from recprune.data.table import build_table
from recprune.dates import DATE_PARTS
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["Checked", "check_frame", "check_table"]


@dataclass(frozen=True)
class Checked:
    """What was seen in a table.

    Args:
        rows: of the table.
        label_rate: share of label 1, among the negatives that are drawn; None without a label of
            0 and 1.
        columns: one entry a column, in the table's order: ``name``, ``role`` (``"field"``,
            ``"label"``, ``"user"``, ``"item"``, ``"time"``, ``"weight"``, or ``"left out"`` of those that ``run``
            does not use), ``kind`` (``"date"`` = fields of its parts, None = no field), ``missing`` rows and ``distinct`` values.
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
    erased: Erased | None = None,
) -> Checked:
    """Check a file, or a folder that :func:`recprune.data.ingest` wrote; trains nothing.

    Args:
        path: as :meth:`Dataset.read` takes.
        spec: roles, dropped columns and stated properties. Without a label, checks that need one
            are left out.
        bad: collects rows that cannot be read; see :class:`BadRows`.
        split: the way of splitting and its seed, as :meth:`Dataset.split` takes them: drift is
            between training and test rows.
        erased: users whose rows are left out.

    Raises:
        DataError: the file cannot be read, or a named column does not exist. What a run would
            refuse otherwise is a finding of severity ``"error"``.
    """
    bad = bad or BadRows.of("error")
    table = open_table(path, spec, bad)
    spec = table.spec
    frame, left_out = stays(table.frame, spec.user, erased, table.already)
    checked = check_frame(frame, spec, split, from_text=table.from_text, kinds=table.kinds)
    found = merged(table.findings, left_out, bad.findings(spec.label or ""), checked.findings)
    return replace(checked, findings=found)


def check_frame(
    frame: Frame,
    spec: Spec,
    split: tuple[str, int] = ("auto", 0),
    *,
    from_text: bool = False,
    kinds: Mapping[str, Kind] | None = None,
) -> Checked:
    """Check a table; see :func:`check_table`.

    Args:
        frame: columns of any types, in memory or on disk.
        spec: roles, dropped columns and stated properties.
        split: the way of splitting, and its seed.
        from_text: all columns are text from a file, whose types are still to be read.
        kinds: column → what it holds by the file's form, where the schema does not say.

    Raises:
        DataError: a named column does not exist.
    """
    spec.check(frame.columns, needs_label=False)
    clean = plain(keep(frame, spec.used(frame.columns)))
    # What would be refused column by column is reported column by column; the rest is read on.
    named = {*(getattr(spec, role) for role in ROLES), *spec.other_labels, *spec.fields}
    found = identifier_findings(clean, {n for n in named if n is not None})
    accepted = spec.with_roles(f.column for f in found)
    rate, of_fields, dates = None, dict[str, str](), set[str | None]()
    data = None
    if spec.label is not None or spec.labels.negatives is not None:
        try:
            table = build_table(frame, accepted, from_text, kinds)
            whole = Dataset(table.schema, table.findings, "", table, labels=spec.labels)
            data = whole.split(split[0], seed=split[1])
        except DataError as error:
            action = "the table is refused; what needs a label was not checked"
            rows, column = len(frame), spec.label or ""
            found = (*found, Finding("refused", column, "error", rows, action, str(error)))
    if data is not None:
        label = np.concatenate([s.label for s in (data.train, data.valid, data.test)])
        rate = float(label.mean(dtype=np.float64))
        fields = data.whole_table.schema.fields
        of_fields, dates = {f.name: str(f.kind) for f in fields}, {f.of for f in fields}
        found = merged(found, check_dataset(data))
    else:
        draft = read_draft(some_rows(frame), accepted, from_text, kinds)
        sheet = Sheet.of_draft(draft)
        of_fields = {**sheet.kinds}
        ends = [name.rpartition(".") for name in of_fields]
        dates = {date for date, _, part in ends if part in DATE_PARTS}
        found = merged(found, draft.findings, check_sheet(sheet))
    return Checked(len(frame), rate, _columns(frame, spec, of_fields, dates), found)


def _columns(
    frame: Frame, spec: Spec, kinds: Mapping[str, str], dates: Container[str | None]
) -> tuple[dict[str, Any], ...]:
    named = {getattr(spec, role): role for role in ROLES}
    out = []
    for name in frame.columns:
        values = comparable(frame[name])
        used = "field" if name in kinds or name in dates else "left out"
        out.append(
            {
                "name": name,
                "role": named.get(name, used),
                "kind": kinds.get(name, "date" if used == "field" else None),
                "missing": values.null_count(),
                "distinct": values.drop_nulls().n_unique(),
            }
        )
    return tuple(out)
