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
    latencies,
    meaning,
    number,
    records,
    summary_rows,
    verdict_line,
)
from recprune.report.membership import membership_lines
from recprune.report.trials import budget_lines, seed_noise, units_text
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    finite,
    metric_name,
    number_text,
    percent_text,
)

__all__ = ["model_card"]

_SHOWN = 8


def model_card(report: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    It says what the model is and is for, its data, verdict, budget and figures, what was cut, which
    fields and personal attributes are left, what was not tested, limits, and how to load it and make
    it again.

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
        "## Budget",
        _listed(_budget(report)),
        "## Figures",
        _figures(report),
        "## What was cut",
        _listed(_cut(report)),
        *_fields(report),
        *_privacy(report),
        "## What was not tested",
        _listed(_untested(report)),
        "## Limits",
        _listed(_limits(report)),
        "## How to reproduce",
        _again(report),
        "## How to load",
        _loading(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _data(report: Mapping[str, Any], users: object, items: object) -> str:
    data = at(report, "dataset")
    lines = [f"Source: {_plain(at(data, 'name') or 'not named')}"]
    if label := at(data, "label"):
        lines.append(f"Label: {_code(label)}")
    counts, rates = at(data, "rows"), at(data, "label_rate")
    if isinstance(counts, Mapping) and counts:
        lines.append(
            "Rows: " + ", ".join(f"{_plain(k)} {count_text(v)}" for k, v in counts.items())
        )
    if isinstance(rates, Mapping) and rates:
        said = ", ".join(f"{_plain(k)} {percent_text(v)}" for k, v in rates.items())
        lines.append(f"Share of label 1: {said}")
    if users:
        lines.append(f"Users: {count_text(users)}")
    if items:
        lines.append(f"Items: {count_text(items)}")
    if split := at(data, "split"):
        lines.append(f"Split: by {_plain(split)}")
    if found := records(report, "findings"):
        grave = sum(f.get("severity") in ("warning", "error") for f in found)
        lines.append(
            f"Checks of the table: {count_text(len(found))} findings, {count_text(grave)} of them "
            "warnings or errors; see report.html"
        )
    return _listed(lines)


def _figures(report: Mapping[str, Any]) -> str:
    lines = ["| | Full | Pruned | Change |", "|---|--:|--:|--:|"]
    lines += [f"| {r.label} | {r.full} | {r.pruned} | {r.change} |" for r in summary_rows(report)]
    return "\n".join(lines)


def _budget(report: Mapping[str, Any]) -> list[str]:
    lines = [_plain(line) for line in budget_lines(report)]
    if not lines and (limit := number(report, "verdict", "tolerance")) is not None:
        name = metric_name(str(at(report, "verdict", "metric") or "auc"))
        lines.append(
            f"To lose less than {number_text(limit)} {name} was all that was asked for; no limit was "
            "set to bytes or latency."
        )
    return lines or ["None is known."]


def _cut(report: Mapping[str, Any]) -> list[str]:
    fields, lines = fields_of(report), []
    if fields.kept or fields.dropped:
        total = len(fields.kept) + len(fields.dropped)
        lines.append(f"Fields: {count_text(len(fields.dropped))} of {count_text(total)}.")
    trial = next((t for t in records(report, "search", "trials") if t.get("chosen")), None)
    if trial is not None and (left := units_text(trial)):
        lines.append(f"Left: {_plain(left)}.")
    a, b = at(report, "full", "bytes"), at(report, "pruned", "bytes")
    if finite(a) is not None and finite(b) is not None:
        lines.append(f"Bytes: {bytes_text(a)} before, {bytes_text(b)} now.")
    return lines or ["It was not recorded."]


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


def _privacy(report: Mapping[str, Any]) -> list[str]:
    lines = [_plain(line) for line in membership_lines(report)]
    return ["## What scores tell of training rows", _listed(lines)] if lines else []


def _untested(report: Mapping[str, Any]) -> list[str]:
    """Return what nobody has measured: always so, or because the report has no figure of it."""
    lines = [
        "What users do when they see its answers: all figures are of past rows, none of an experiment.",
        "Whether groups of users are served alike: each group was compared with the full model's "
        "answers for it, no group with another.",
    ]
    if not records(report, "verdict", "slices"):
        lines[1] = "Groups of users or items: only all rows together were compared."
    if number(report, "pruned", "metrics", "ndcg@10") is None:
        lines.append("Lists of recommendations: rows were scored, no catalogue was ranked.")
    lines.append(
        "Latency."
        if not any(pruned is not None for _, _, pruned in latencies(report))
        else "Latency on other machines, and with many requests at once."
    )
    if (noise := seed_noise(report)) is None:
        lines.append("Training with another seed: the verdict is on this model.")
    else:
        lines.append(
            f"The same cut of a model of another seed: the verdict is on this model. With another seed "
            f"the full model's AUC moves by about {number_text(noise)}."
        )
    if not at(report, "membership"):
        lines.append("Whether scores tell who was among the training rows.")
    if not records(report, "baselines", "models"):
        lines.append("Trivial models of the same bytes.")
    return lines


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


def _again(report: Mapping[str, Any]) -> str:
    version, seed, command = (at(report, key) for key in ("recprune", "seed", "command"))
    lines = [f"Command: {_code(command)}"] if command else []
    lines += [f"Version of recprune: {_plain(version)}"] if version else []
    lines += [] if seed is None else [f"Seed: {_plain(seed)}"]
    lines.append(
        "The same command on the same data, with the same seed, versions and number of threads, gives "
        "the same bytes. Settings are in run.toml, versions and a hash of the data in run.json, and "
        "all figures in report.json, beside this card."
    )
    return _listed(lines)


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
