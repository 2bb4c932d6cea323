"""The page's section on membership: whether scores tell who was among the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recprune.report.blocks import Column, Section, Table
from recprune.report.facts import at, number, records
from recprune.report.wording import (
    clean,
    count_text,
    interval_text,
    number_text,
    percent_text,
    signed_text,
)

__all__ = ["membership_lines", "membership_section"]

COLUMNS = [
    Column("Model"), Column("Attack"), Column("Of"), Column("AUC", "number"),
    Column("95 % interval", "number"), Column("Caught at 1 % false alarms", "number"),
    Column("Members", "number"), Column("Others", "number"),
]  # fmt: skip
ATTACKS = {
    "loss": "low loss",
    "calibrated": "lower loss than the reference's",
    "reference": "low loss of the reference",
}


def membership_section(report: Mapping[str, Any]) -> Section:
    """Return the section.

    Args:
        report: its ``membership`` is as :func:`recprune.pipeline.membership.membership_facts` gives
            it.
    """
    found = at(report, "membership")
    rows = [
        (
            name,
            ATTACKS.get(str(a.get("attack")), clean(a.get("attack"))),
            "a row" if a.get("level") == "row" else "a user's rows",
            number_text(a.get("auc"), 3),
            _range(a.get("interval")),
            percent_text(a.get("caught")),
            count_text(a.get("members")),
            count_text(a.get("non_members")),
        )
        for name in ("full", "pruned")
        for a in records(found, name, "attacks")
    ]
    lead = (
        "Someone who holds a row with its label and the model's score of it guesses whether the row "
        "was trained on. AUC ½ is a guess. The reference is a small model of other rows, which has "
        "seen neither: what it finds is how the rows differ, not what was remembered."
    )
    table = Table("Attacks on membership", COLUMNS, rows)
    return Section(
        "membership",
        "Can training rows be told from others?",
        lead,
        tables=[table] if rows else [],
        points=membership_lines(report),
    )


def _range(interval: object) -> str:
    """Return an interval of numbers that have no sign."""
    return interval_text(interval, 3).replace("+", "")


def membership_lines(report: Mapping[str, Any]) -> list[str]:
    """Return what was found in sentences; none where nothing was."""
    found, lines = at(report, "membership"), list[str]()
    for name in ("full", "pruned"):
        if (gain := number(found, name, "advantage")) is None:
            continue
        told = interval_text(at(found, name, "advantage_interval"), 3)
        leaks = at(found, name, "leaks")
        what = "is not seen to remember" if leaks is False else "remembers"
        start = (
            f"Whether the {name} model remembers" if leaks is None else f"The {name} model {what}"
        )
        end = " training rows cannot be told" if leaks is None else " training rows"
        lines.append(
            f"{start}{end}: the attack's AUC is {signed_text(gain, 3)} against the reference's (95 % "
            f"interval {told})."
        )
    if (change := number(found, "change", "difference")) is not None:
        told = interval_text(at(found, "change", "interval"), 3)
        lines.append(
            f"Pruning moves the attack's AUC by {signed_text(change, 3)} (95 % interval {told})."
        )
    for name in ("full", "pruned"):
        if (epsilon := number(found, "privacy", name, "epsilon")) is not None:
            whom = clean(at(found, "privacy", name, "unit"))
            lines.append(
                f"The {name} model's training step is differentially private by {whom} with ε = "
                f"{number_text(epsilon, 2)} and δ = {number(found, 'privacy', name, 'delta'):.2g}. "
                f"Not covered: {'; '.join(map(clean, at(found, 'privacy', name, 'not_covered') or ()))}."
            )
    if lines and at(found, "alike") is False:
        lines.append(
            f"The rows were split by {clean(at(found, 'split'))}: training rows are older than test "
            "rows, or differ otherwise, and so do their losses under any model. What pruning changes "
            "is of the same rows, and holds."
        )
    return lines
