"""The page's section on the data: what the checks found in the table, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recprune.report.blocks import Column, Section, Table
from recprune.report.facts import records
from recprune.report.wording import MISSING, clean, count_text

__all__ = ["findings_section"]

COLUMNS = [
    Column("Column", "code"),
    Column("Severity", "outcome"),
    Column("Finding"),
    Column("Rows", "number"),
    Column("What it is", "note"),
    Column("What was done", "note"),
]


def findings_section(report: Mapping[str, Any]) -> Section:
    """Return the section; what is no more than a note stands behind a disclosure.

    Args:
        report: its ``findings`` are those of ``recprune check`` on the same table and split.
    """
    found = records(report, "findings")
    grave = [r for r in found if r.get("severity") != "info"]
    notes = [r for r in found if r.get("severity") == "info"]
    lead = (
        "What the checks found in the table, and what was done about it; nothing was repaired "
        "silently. recprune check finds the same."
    )
    if found:
        lead += f" Warnings and errors: {len(grave):,}, notes: {len(notes):,}."
    tables = [
        Table("Warnings and errors in the data", COLUMNS, [_row(r) for r in grave]),
        Table("Notes on the data", COLUMNS, [_row(r) for r in notes], folded=bool(grave)),
    ]
    return Section("findings", "The data as it came", lead, tables=[t for t in tables if t.rows])


def _row(finding: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        clean(finding.get("column") or "whole table"),
        clean(finding.get("severity") or MISSING),
        clean(str(finding.get("kind")).replace("_", " ")),
        count_text(finding.get("rows")),
        clean(finding.get("message") or MISSING),
        clean(finding.get("action") or MISSING),
    )
