"""The model card: the ``README.md`` of an artefact."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from recprune.report.facts import (
    at,
    fields_of,
    headline,
    meaning,
    number,
    records,
    summary_rows,
    verdict_line,
)
from recprune.report.wording import MISSING, clean, count_text, percent_text

__all__ = ["model_card"]

_SHOWN = 8


def model_card(report: Mapping[str, Any]) -> str:
    """Return the card as Markdown: what it is, use, data, verdict, figures, fields, limits, loading.

    Args:
        report: the report dictionary; what is null there is left out here. Values from data are
            escaped, so that none becomes a heading, a link, HTML or a table's border.
    """
    name = _plain(at(report, "dataset", "name") or "a table")
    label = at(report, "dataset", "label")
    target = f"the probability that {_code(label)} is 1" if label else "a probability"
    users, items = at(report, "dataset", "users"), at(report, "dataset", "items")
    kind = (
        "It scores pairs of a user and an item, and ranks a catalogue for a user."
        if items
        else "It scores rows, and ranks them."
    )
    blocks = [
        f"# Pruned recommender: {name}",
        f"{headline(report)} Written by recprune {_plain(at(report, 'recprune') or '')}.".rstrip(),
        "## What it is",
        f"A ranking model that predicts {target}, cut down from a larger one. {kind} It needs "
        "NumPy and safetensors to run, and no training library. Loading it runs no code.",
        "## Intended use",
        "Scoring and ranking for the population that the data below describe. It was not tested for "
        "decisions about a person's credit, work, housing, health or legal standing.",
        "## Data",
        _data(report, users, items),
        "## Verdict",
        f"**{_plain(verdict_line(report))}**",
        meaning(report),
        *(f"- {_plain(reason)}" for reason in at(report, "verdict", "reasons") or ()),
        "## Figures",
        _figures(report),
        *_fields(report),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(report)),
        "## How to load",
        _loading(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _data(report: Mapping[str, Any], users: object, items: object) -> str:
    data = at(report, "dataset")
    lines = [f"- Source: {_plain(at(data, 'name') or 'not named')}"]
    counts, rates = at(data, "rows"), at(data, "label_rate")
    if isinstance(counts, Mapping) and counts:
        lines.append(
            "- Rows: " + ", ".join(f"{_plain(k)} {count_text(v)}" for k, v in counts.items())
        )
    if isinstance(rates, Mapping) and rates:
        said = ", ".join(f"{_plain(k)} {percent_text(v)}" for k, v in rates.items())
        lines.append(f"- Share of label 1: {said}")
    if users:
        lines.append(f"- Users: {count_text(users)}")
    if items:
        lines.append(f"- Items: {count_text(items)}")
    if split := at(data, "split"):
        lines.append(f"- Split: by {_plain(split)}")
    return "\n".join(lines)


def _figures(report: Mapping[str, Any]) -> str:
    lines = ["| | Full | Pruned | Change |", "|---|--:|--:|--:|"]
    lines += [f"| {r.label} | {r.full} | {r.pruned} | {r.change} |" for r in summary_rows(report)]
    return "\n".join(lines)


def _fields(report: Mapping[str, Any]) -> list[str]:
    fields = fields_of(report)
    blocks = []
    if fields.kept:
        blocks += ["## Fields that a request must hold", _codes(fields.kept)]
        blocks.append(
            f"Personal attributes among them: {_codes(fields.personal_kept)}"
            if fields.personal_kept
            else "None of them is marked as a personal attribute."
        )
    if fields.dropped:
        blocks += ["## Fields dropped", f"Not needed any more: {_codes(fields.dropped)}"]
        if fields.personal_dropped:
            blocks.append(f"Personal attributes among them: {_codes(fields.personal_dropped)}")
    return blocks


def _limits(report: Mapping[str, Any]) -> list[str]:
    lines = [
        "The verdict holds for rows like the test rows. When the data drift, compare again.",
        "A value, user or item that training has not seen, or that was pruned, is scored as unknown.",
    ]
    slices = records(report, "verdict", "slices")
    for outcome, text in (
        ("alarm", "Worse than the full model in these groups"),
        ("undecided", "Too few rows to decide in these groups"),
    ):
        found = [_plain(s.get("slice")) for s in slices if s.get("outcome") == outcome]
        if found:
            more = f" and {len(found) - 12} more" if len(found) > 12 else ""
            lines.append(f"{text}: {', '.join(found[:12])}{more}.")
    if (uses := number(report, "verdict", "test_uses")) is not None and uses > 1:
        lines.append(f"The test rows were used for {uses:.0f} verdicts, this one included.")
    return lines


def _loading(report: Mapping[str, Any]) -> str:
    page = clean(at(report, "report") or "")
    folder = re.sub(r"[\\/]?report\.html$", "", page) or "."
    kept = [clean(n) for n in fields_of(report).kept]
    request = [f"    {_literal(n)}: [...]," for n in kept[:_SHOWN]]
    if len(kept) > _SHOWN:
        request.append(f"    # and {len(kept) - _SHOWN} more: see scorer.fields")
    lines = [
        "import recprune as rp",
        "",
        f"scorer = rp.load({_literal(folder)})",
        "scorer.score({  # each column with one value a row; None where it is missing",
        *request,
        "})",
    ]
    # A fence longer than any run of backticks within cannot be closed by a field's name.
    fence = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return "\n".join([f"{fence}python", *lines, fence])


def _plain(text: object) -> str:
    """Escape what Markdown or HTML would read as markup."""
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", clean(text)) or MISSING


def _code(text: object) -> str:
    """Return a code span around any text, in the way that CommonMark defines."""
    line = clean(text)
    ticks = "`" * (_longest_run(line) + 1)
    padded = f" {line} " if line.startswith("`") or line.endswith("`") else line
    return f"{ticks}{padded}{ticks}"


def _codes(names: Sequence[str]) -> str:
    return ", ".join(_code(n) for n in names) + "."


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
