"""The page's section on data minimisation: which personal columns need not be collected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recprune.report.blocks import Column, Section, Table
from recprune.report.facts import at, number, records
from recprune.report.plots_minimisation import worst_slice
from recprune.report.style import Picture
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    interval_text,
    metric_name,
    number_text,
    signed_text,
)

__all__ = ["minimisation_section"]


def minimisation_section(report: Mapping[str, Any], pictures: Mapping[str, Picture]) -> Section:
    """Return the section: findings, the picture, what each column buys, and every group.

    Args:
        report: its ``minimisation`` is as :meth:`recprune.pipeline.Minimisation.to_json` gives it.
        pictures: by name.
    """
    found = at(report, "minimisation")
    name = metric_name(str(at(found, "metric") or "auc"))
    fields, joint = records(found, "fields"), at(found, "joint")
    rows = [_row(clean(r.get("column")), str(r.get("decision")), r, r.get("why")) for r in fields]
    if isinstance(joint, Mapping):
        told = f"{count_text(at(joint, 'verdict', 'n_rows'))} test rows, opened once"
        decision = "stop collecting" if at(found, "confirmed") else "not confirmed"
        rows.append(_row("together", decision, joint, told))
    columns = [
        Column("Column", "code"), Column("Decision"), Column(f"{name} without it", "number"),
        Column("90 % interval", "number"), Column("Loses most"), Column("Cost a year", "number"),
        Column("Bytes saved", "number"), Column("Why", "note"),
    ]  # fmt: skip
    groups = [
        (
            clean(r.get("column")),
            clean(s.get("slice")),
            clean(s.get("outcome")),
            count_text(s.get("rows")),
            signed_text(s.get("difference")),
            interval_text(s.get("ci")),
        )
        for r in (*fields, *([{**joint, "column": "together"}] if joint else ()))
        for s in records(r, "verdict", "slices")
    ]
    group_columns = [
        Column("Without", "code"), Column("Group"), Column("Outcome", "outcome"),
        Column("Rows", "number"), Column(f"{name} change", "number"), Column("Interval", "number"),
    ]  # fmt: skip
    lead = (
        "Each personal column was removed by itself, and then as many together as hold the promise "
        f"of {number_text(at(found, 'tolerance'), 3)}: chosen on tune rows, decided on gate rows, "
        "confirmed once on test rows. A column that other systems or the law need has other reasons "
        "to stay."
    )
    tables = [
        Table("Stop collecting or keep, and what it buys", columns, rows),
        Table("Every group without each column", group_columns, groups, folded=True),
    ]
    points = [clean(p) for p in at(found, "findings") or ()]
    drawn = [pictures["minimisation"]] if "minimisation" in pictures else []
    title = "Which personal columns need not be collected"
    return Section("minimisation", title, lead, drawn, tables, points)


def _row(name: str, decision: str, r: Mapping[str, Any], why: object) -> tuple[str, ...]:
    worst = worst_slice(r)
    hit = MISSING
    if worst is not None:
        hit = f"{clean(worst.get('slice'))} ({signed_text(worst.get('difference'))})"
    cost = number(r, "cost")
    return (
        name,
        decision,
        signed_text(at(r, "verdict", "difference")),
        interval_text(at(r, "verdict", "ci")),
        hit,
        MISSING if cost is None else f"{cost:,g}",
        bytes_text(r.get("bytes")),
        clean(why),
    )
