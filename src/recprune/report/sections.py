"""What stands on the page, section by section: pictures, tables and sentences, ready to print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recprune.report.blocks import Column, Group, Section, Table
from recprune.report.facts import (
    at,
    fields_of,
    minimisation,
    number,
    records,
    summary_rows,
)
from recprune.report.findings import findings_section
from recprune.report.front import bring_back_section, front_section
from recprune.report.membership import membership_section
from recprune.report.minimisation import minimisation_section
from recprune.report.plots import willingness_name
from recprune.report.style import Picture
from recprune.report.trials import metric_of
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    duration_text,
    interval_text,
    micro_text,
    number_text,
    percent_text,
    signed_text,
)

__all__ = ["sections", "slice_table"]

Report = Mapping[str, Any]
Pictures = Mapping[str, Picture]


def sections(report: Report, pictures: Pictures) -> list[Section]:
    """Return the page's sections in order, without the empty ones."""
    made = [
        _cut(report, pictures),
        front_section(report, pictures),
        _slices(report, pictures),
        _recommendations(report, pictures),
        _summary(report),
        _importance(report, pictures),
        bring_back_section(report, pictures),
        minimisation_section(report, pictures),
        _techniques(report, pictures),
        _scores(report, pictures),
        membership_section(report),
        findings_section(report),
        _reproduce(report),
    ]
    return [section for section in made if not section.empty]


def _some(pictures: Pictures, *names: str) -> list[Picture]:
    return [pictures[n] for n in names if n in pictures]


def _columns(*labels: str) -> list[Column]:
    """Read ``"Bytes:number"`` as a column's label and kind."""
    pairs = (label.partition(":") for label in labels)
    return [Column(label, kind or "text") for label, _, kind in pairs]


def _summary(report: Report) -> Section:
    columns = _columns("", "Full:number", "Pruned:number", "Change:number", "What it is:note")
    rows = [(r.label, r.full, r.pruned, r.change, r.hint) for r in summary_rows(report)]
    metrics = at(report, "pruned", "metrics")
    lead = "Both models scored the same test rows, which neither training nor pruning has seen."
    if (threshold := number(metrics, "threshold")) is not None:
        lead += (
            f" Accuracy, precision and recall call a row positive from {number_text(threshold, 3)} "
            "up, a threshold chosen on validation rows."
        )
    if (ranked := number(metrics, "users_ranked")) is not None:
        lead += (
            f" The @10 figures rank the full catalogue for {count_text(ranked)} users; "
            f"{count_text(number(metrics, 'users_skipped') or 0)} users without a relevant item "
            "are left out."
        )
    table = Table("Full and pruned model on the test rows", columns, rows)
    return Section("summary", "Full against pruned", lead, tables=[table])


def _cut(report: Report, pictures: Pictures) -> Section:
    fields = fields_of(report)
    kept = [n for n in fields.kept if n not in fields.personal_kept]
    groups = [
        Group("Personal data no longer needed", fields.personal_dropped, "gone"),
        Group("Columns to stop computing", fields.other_dropped, "gone"),
        Group("Personal data still needed", fields.personal_kept, "personal"),
        Group("Other columns kept", kept, "kept"),
    ]
    shown = [Group(g.title, [clean(n) for n in g.names], g.look) for g in groups if g.names]
    lead = (
        "A dropped field may stop being computed for this model. One that other systems read, or "
        "that fairness checks need, has other reasons to stay."
    )
    return Section(
        "cut",
        "What was cut, and what it saves",
        lead,
        _some(pictures, "sizes"),
        points=minimisation(report),
        groups=shown,
    )


def _techniques(report: Report, pictures: Pictures) -> Section:
    name = metric_of(report)
    found = records(report, "techniques")
    columns = _columns(
        "Technique", "Verdict:outcome", "Bytes:number", "AUC:number", f"{name} change:number",
        "90 % interval:number", "What was cut:note",
    )  # fmt: skip
    rows = [
        (
            clean(r.get("technique")),
            clean(r.get("outcome") or MISSING),
            bytes_text(r.get("bytes")),
            number_text(r.get("auc")),
            signed_text(r.get("difference")),
            interval_text(r.get("ci")),
            clean(r.get("cuts") or MISSING),
        )
        for r in found
    ]
    costs = [
        (
            clean(r.get("technique")),
            number_text(r.get("logloss")),
            micro_text(at(r, "latency_us", "1")),
            micro_text(at(r, "latency_us", "1000")),
            duration_text(r.get("seconds")),
        )
        for r in found
    ]
    more = Table(
        "Log loss, latency and pruning time of each technique",
        _columns(
            "Technique",
            "Log loss:number",
            "Batch of 1:number",
            "Batch of 1,000:number",
            "Pruning time:number",
        ),
        costs,
        folded=True,
    )
    pruned = number(report, "pruned", "metrics", "auc")
    others = []
    for r in records(report, "yardsticks"):
        auc = number(r, "auc")
        gap = MISSING if auc is None or pruned is None else signed_text(pruned - auc)
        others.append((clean(r.get("name")), number_text(auc), gap, bytes_text(r.get("bytes"))))
    yardsticks = Table(
        "Other models on the same rows",
        _columns("Model", "AUC:number", "Pruned model ahead by:number", "Bytes:number"),
        others,
    )
    lead = (
        "Each technique alone, and their combination, cut the full model to about the same bytes."
    )
    tables = [Table("Pruning techniques at about equal bytes", columns, rows), more, yardsticks]
    return Section("techniques", "Techniques compared", lead, _some(pictures, "techniques"), tables)


def _importance(report: Report, pictures: Pictures) -> Section:
    others = at(report, "importance_methods")
    scores = dict(others) if isinstance(others, Mapping) else {}
    base = records(report, "importance")
    methods = list(dict.fromkeys(str(r.get("method") or "permutation") for r in base))
    columns = _columns(
        "Field:code", "Method", "Score:number", "Standard error:number", "Kept", "Personal",
        *(f"{clean(m)}:number" for m in scores),
    )  # fmt: skip
    rows = [
        (
            clean(r.get("field")),
            clean(r.get("method") or MISSING),
            number_text(r.get("score"), 5),
            number_text(r.get("std"), 5),
            MISSING if r.get("kept") is None else "kept" if r["kept"] else "dropped",
            "personal" if r.get("sensitive") else "",
            *(number_text(at(s, str(r.get("field"))), 5) for s in scores.values()),
        )
        for r in sorted(base, key=lambda r: -(number(r, "score") or 0.0))
    ]
    lead = "How much each field matters to the full model, measured on held-out rows."
    if methods == ["permutation"]:
        lead += (
            " A field's values are shuffled among the rows, and what the model loses is the field's "
            "score. A score within its error of zero means that the field does nothing measurable."
        )
    table = Table("Importance of every field", columns, rows, folded=True)
    return Section(
        "importance", "Which fields matter", lead, _some(pictures, "importance"), [table]
    )


def _recommendations(report: Report, pictures: Pictures) -> Section:
    columns = _columns(
        "Group", "Users:number", "Rows:number", "Observed rate:number", "Full model:number",
        "Pruned model:number", "Recommended most often:list",
    )  # fmt: skip
    parts: list[Section] = []
    for index, block in enumerate(records(report, "recommendations")):
        rows = [
            (
                clean(g.get("value")),
                count_text(g.get("users")),
                count_text(g.get("rows")),
                percent_text(g.get("label_rate")),
                percent_text(g.get("willingness_full")),
                percent_text(g.get("willingness_pruned")),
                [_item(item) for item in records(g, "top")],
            )
            for g in records(block, "groups")
        ]
        if not rows:
            continue
        name = clean(block.get("attribute"))
        listing = any(row[-1] for row in rows)
        shown = Table(
            f"Predicted willingness by {name}",
            columns if listing else columns[:-1],
            rows if listing else [row[:-1] for row in rows],
            folded=bool(parts),
        )
        key = willingness_name(report, index)
        parts.append(Section(f"by-{key}", f"By {name}", "", _some(pictures, key), [shown]))
    lead = (
        "The mean probability that each model predicts for the test rows of a group, beside the rate "
        "that was observed, and the items that most of the group's users have in their list (the "
        "share of its users in brackets)."
    )
    return Section("recommendations", "What is recommended, and to whom", lead, parts=parts)


def _item(item: Report) -> str:
    text = clean(item.get("description") or item.get("item"))
    share = number(item, "share")
    return text if share is None else f"{text} ({percent_text(share, 0)})"


def _slices(report: Report, pictures: Pictures) -> Section:
    lead = (
        "The same comparison within groups of users and items, so that a loss in one is not averaged "
        "away. An alarm: the group is clearly worse off. Undecided: it has too few rows to tell."
    )
    drawn, table = _some(pictures, "slices"), slice_table(report, "Every slice")
    return Section("slices", "Is any group worse off?", lead, drawn, [table])


def slice_table(report: Report, caption: str) -> Table:
    """Return the slices of a report's verdict, one a row, folded."""
    columns = _columns(
        "Slice", "Kind", "Outcome:outcome", "Rows:number", "Users:number",
        f"{metric_of(report)} change:number", "Interval:number",
    )  # fmt: skip
    rows = [
        (
            clean(r.get("slice")),
            clean(r.get("kind") or MISSING),
            clean(r.get("outcome") or MISSING),
            count_text(r.get("rows")),
            count_text(r.get("users")),
            signed_text(r.get("difference")),
            interval_text(r.get("ci")),
        )
        for r in records(report, "verdict", "slices")
    ]
    return Table(caption, columns, rows, folded=True)


def _scores(report: Report, pictures: Pictures) -> Section:
    lead = (
        "How the scores are spread, whether a predicted 30 % happens 30 % of the time, and how the "
        "full model was trained."
    )
    found = _some(pictures, "scores", "calibration", "learning")
    return Section("scores", "Scores, calibration and training", lead, found)


def _reproduce(report: Report) -> Section:
    data, verdict = at(report, "dataset"), at(report, "verdict")
    counts = at(data, "rows")
    rates = at(data, "label_rate")
    check = at(verdict, "crosscheck")
    delong = MISSING
    if (difference := number(check, "delong_difference")) is not None:
        delong = f"{signed_text(difference)} ± {number_text(at(check, 'delong_se'))}"
    lines = (
        ("recprune", clean(at(report, "recprune") or MISSING)),
        ("Seed", clean(MISSING if at(report, "seed") is None else at(report, "seed"))),
        ("Time of the run", duration_text(at(report, "seconds"))),
        ("Data", clean(at(data, "name") or MISSING)),
        ("Label", clean(at(data, "label") or MISSING)),
        ("Rows", _counts(counts, count_text)),
        ("Share of label 1", _counts(rates, percent_text)),
        ("Users", count_text(at(data, "users"))),
        ("Items", count_text(at(data, "items"))),
        ("Split by", clean(at(data, "split") or MISSING)),
        ("Interval by", clean(at(verdict, "method") or MISSING)),
        ("Cross-check (DeLong)", delong),
        ("Verdicts made on these test rows", count_text(at(verdict, "test_uses"))),
        ("Host that latencies were measured on", _host(at(report, "search", "profile"))),
    )
    rows = [line for line in lines if line[1] != MISSING]
    lead = (
        "The same command, seed and version give the same artefact, byte for byte. All figures of "
        "this page are in report.json, and its pictures in the folder plots, beside it."
    )
    command = at(report, "command")
    table = Table("The run", _columns("What", "Value"), rows)
    code = "" if command is None else clean(command)
    return Section("reproduce", "How to reproduce", lead, tables=[table], code=code)


def _host(profile: object) -> str:
    """Return the plain facts of a host profile; tables of measurements stay in report.json."""
    if not isinstance(profile, Mapping):
        return MISSING
    plain = {k: v for k, v in profile.items() if isinstance(v, str | int | float)}
    return _counts(plain, clean)


def _counts(found: object, text: Any) -> str:
    if not isinstance(found, Mapping) or not found:
        return MISSING
    return ", ".join(f"{clean(key)} {text(value)}" for key, value in found.items())
