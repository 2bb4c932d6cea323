"""The page's sections on the search: what could be had, what was chosen, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recprune.report.blocks import Column, Section, Table
from recprune.report.facts import at, fields_of, number, records
from recprune.report.plots_cuts import brought_back
from recprune.report.style import Picture
from recprune.report.trials import cost_line, seed_noise, units_text
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    duration_text,
    interval_text,
    micro_text,
    number_text,
    signed_text,
)

__all__ = ["bring_back_section", "front_section"]

Report = Mapping[str, Any]


def front_section(report: Report, pictures: Mapping[str, Picture]) -> Section:
    """Return the section: the chart, why this point, seed noise, and every trial as a table."""
    rows = records(report, "baselines", "models")
    points = [cost_line(report), _noise(report)]
    if rows and at(report, "baselines", "quick"):
        points.append(
            "The baselines are in their quick form: one draw of random fields, fine-tuned once."
        )
    if note := at(report, "baselines", "note"):
        points.append(f"There are no baselines: {clean(note)}")
    lead = (
        "Each mark is a model that was tried. Further left is smaller, further up is better; below "
        "the dashed line it would break the promise. A hollow circle was tried on tune rows only; a "
        "hollow square is a baseline over the budget."
    )
    if why := at(report, "search", "why"):
        lead += f" Why this one: {clean(why)}"
    drawn = [pictures[n] for n in ("front", "front-latency") if n in pictures]
    tables = [_trials(report), _baselines(rows)]
    title = "What could be had, and what was chosen"
    return Section("front", title, lead, drawn, tables, [p for p in points if p])


def bring_back_section(report: Report, pictures: Mapping[str, Picture]) -> Section:
    """Return the section on what each cut unit would gain, and cost, if it came back."""
    columns = [
        Column("Unit"), Column("Name", "code"), Column("Bytes more", "number"),
        Column("AUC gained", "number"),
    ]  # fmt: skip
    rows = [
        (
            clean(r.get("unit") or MISSING),
            clean(r.get("name") or MISSING),
            bytes_text(r.get("bytes")),
            signed_text(r.get("auc")),
        )
        for r in brought_back(report)
    ]
    lead = (
        "Each thing that was cut, brought back alone: what it would gain, and the bytes that it would "
        "cost. Both sides of each comparison are the full model cut at once and fine-tuned for one short "
        "epoch, the quick form. A gain within what another seed moves is none."
    )
    if left := _not_tried(report):
        lead += (
            f" Of the fields that were cut, the least important {count_text(left)} were not tried."
        )
    drawn = [pictures["bring-back"]] if "bring-back" in pictures else []
    table = Table("What bringing back costs", columns, rows, folded=True)
    return Section("bring-back", "What it would cost to bring back", lead, drawn, [table])


def _not_tried(report: Report) -> int:
    """Return how many fields were cut and not brought back."""
    tried = {str(r.get("name")) for r in brought_back(report) if r.get("unit") == "field"}
    return len(set(fields_of(report).dropped) - tried) if tried else 0


def _noise(report: Report) -> str:
    noise = seed_noise(report)
    if noise is None:
        return ""
    seeds = count_text(at(report, "seed_noise", "seeds"))
    text = (
        f"Seed noise: training with another seed moves AUC by about {number_text(noise)} "
        f"(standard deviation over {seeds} seeds). Differences within that are none."
    )
    quick = at(report, "seed_noise", "quick")
    return text + (" Measured in its quick form." if quick else "")


def _trials(report: Report) -> Table:
    columns = [
        Column("Trial"), Column("What it is", "note"), Column("Outcome", "outcome"),
        Column("Bytes", "number"), Column("Latency", "number"),
        Column("AUC, tune", "number"), Column("Change", "number"),
        Column("90 % interval", "number"), Column("Keeps", "note"), Column("Time", "number"),
        Column("On the front"),
    ]  # fmt: skip
    rows = [
        (
            clean(MISSING if r.get("number") is None else r["number"]),
            clean(r.get("label") or MISSING),
            clean(r.get("outcome") or MISSING),
            bytes_text(r.get("bytes")),
            micro_text(r.get("latency_us")),
            number_text(r.get("auc_tune")),
            signed_text(r.get("difference")),
            interval_text(r.get("ci")),
            units_text(r) or MISSING,
            duration_text(r.get("seconds")),
            "chosen" if r.get("chosen") else "yes" if r.get("on_front") else "",
        )
        for r in records(report, "search", "trials")
    ]
    return Table("Every trial", columns, rows, folded=True)


def _baselines(models: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column("Model"), Column("Bytes", "number"), Column("Within the budget"),
        Column("AUC", "number"), Column("Log loss", "number"), Column("Settings", "note"),
    ]  # fmt: skip
    rows = [
        (
            clean(m.get("name") or MISSING),
            bytes_text(m.get("bytes")),
            MISSING if m.get("fits") is None else "yes" if m["fits"] else "no",
            number_text(number(m, "metrics", "auc")),
            number_text(number(m, "metrics", "logloss")),
            clean(m.get("settings") or MISSING),
        )
        for m in models
    ]
    return Table("Trivial ways of being small, at the same bytes", columns, rows)
