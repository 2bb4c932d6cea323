"""The page of ``recprune compare``: any number of models against the first, on the same rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recprune.folders import file_written_whole
from recprune.report.blocks import Column, Section, Table
from recprune.report.facts import at, number, records
from recprune.report.filling import Top, fill
from recprune.report.plots_cuts import techniques
from recprune.report.plots_front import front, front_latency
from recprune.report.plots_scores import slices
from recprune.report.sections import slice_table
from recprune.report.style import Picture, picture
from recprune.report.trials import latency_points, points
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    factor_text,
    interval_text,
    listed,
    metric_name,
    micro_text,
    number_text,
    shorten,
    signed_text,
)

__all__ = ["write_comparison"]

Report = Mapping[str, Any]


def write_comparison(path: Path, found: Report, name: str = "") -> Path:
    """Write a comparison as one page that works offline; return its path.

    Args:
        path: the file, whole or not at all; replaced if it is there. Folders on the way are made.
        found: as :meth:`recprune.pipeline.Comparison.to_json` gives it.
        name: of the table, for the page's head.

    Raises:
        MissingExtra: matplotlib or Jinja2 is not installed.
        InputError: the file cannot be written.
    """
    path, found = Path(path), _shortly_named(found)
    models = records(found, "pruned")
    report = _as_report(found)
    made = _pictures(report, models)
    told = [_models(found, models, made), *_slices(models, made)]
    page = fill(_top(name, models), [s for s in told if not s.empty])
    with file_written_whole(path) as file:
        file.write_text(page, encoding="utf-8", newline="\n")
    return path


def _shortly_named(found: Report) -> Report:
    """Return the comparison with the last part of each folder's name, where that tells them apart."""
    models = [at(found, "full") or {}, *records(found, "pruned")]
    last = [re.split(r"[\\/]", str(m.get("name")).rstrip("\\/"))[-1] for m in models]
    if len(set(last)) < len(last):
        return found
    full, *pruned = ({**m, "name": name} for m, name in zip(models, last, strict=True))
    return {**found, "full": full, "pruned": pruned}


def _as_report(found: Report) -> dict[str, Any]:
    """Return the comparison in the words of a run's report, for its pictures."""
    models = records(found, "pruned")
    return {
        "verdict": at(models[0], "verdict") if models else None,
        "full": found.get("full"),
        "techniques": [
            {"technique": m.get("name"), "bytes": m.get("bytes"), **(at(m, "verdict") or {})}
            for m in models
        ],
        "models": [
            {
                "label": m.get("name"),
                "bytes": m.get("bytes"),
                "latency_us": number(m, "latency_us", "1"),
                **{key: at(m, "verdict", key) for key in ("difference", "ci", "outcome")},
            }
            for m in models
        ],
    }


def _pictures(report: Report, models: Sequence[Report]) -> dict[str, Picture]:
    made: dict[str, Picture] = {}
    said = [_line(m) for m in models]
    judged = [m for m in models if number(m, "verdict", "difference") is not None]
    if judged:
        alt = f"Interval plot of the models against the full one: {'; '.join(said)}."
        made["models"] = picture("models", partial(techniques, report), alt=alt)
    for name, draw, marks in (
        ("front", front, points(report)),
        ("front-latency", front_latency, latency_points(report)),
    ):
        if len(marks) > 1:
            tips = {f"tip-{i}": p.lines for i, p in enumerate(marks)}
            alt = f"Chart of quality against {'latency' if 'lat' in name else 'bytes'}: {'; '.join(said)}."
            made[name] = picture(name, partial(draw, report), alt=alt, tips=tips, start="tip-0")
    for index, model in enumerate(models):
        rows = [
            s for s in records(model, "verdict", "slices") if number(s, "difference") is not None
        ]
        if rows:
            worst = [f"{shorten(s.get('slice'))} {signed_text(s.get('difference'))}" for s in rows]
            alt = f"Interval plot of differences by slice: {listed(worst, 10)}."
            drawn = partial(slices, {"verdict": model["verdict"]})
            made[f"slices-{index}"] = picture(f"slices-{index}", drawn, alt=alt)
    return made


def _line(model: Report) -> str:
    verdict = at(model, "verdict")
    return (
        f"{shorten(model.get('name'), 60)} {clean(at(verdict, 'outcome') or 'not judged')}, "
        f"{signed_text(at(verdict, 'difference'))} ({interval_text(at(verdict, 'ci'))})"
    )


def _top(name: str, models: Sequence[Report]) -> Top:
    outcomes = [clean(at(m, "verdict", "outcome") or "NO VERDICT") for m in models]
    passed = [
        shorten(m.get("name"), 60) for m, o in zip(models, outcomes, strict=True) if o == "PASS"
    ]
    few = len(models) == 1
    if len(passed) == len(models):
        said = "The pruned model is" if few else f"All {len(models)} pruned models are"
        headline = f"{said} as good as the full one."
    elif passed:
        verb = "is" if len(passed) == 1 else "are"
        rest = "the other is" if len(models) - len(passed) == 1 else "the others are"
        headline = f"{listed(passed, 4)} {verb} as good as the full model; {rest} not shown to be."
    else:
        headline = (
            "The pruned model is not shown to be as good as the full one."
            if few
            else f"None of the {len(models)} pruned models is shown to be as good as the full one."
        )
    same = len(set(outcomes)) == 1
    verdict = at(models[0], "verdict") if models else None
    meaning = (
        f"Every model scored the same {count_text(at(verdict, 'n_rows'))} rows and was compared with the "
        f"full one, row by row. One passes if, whatever chance allows, it loses less than "
        f"{number_text(at(verdict, 'tolerance'))} {metric_name(str(at(verdict, 'metric') or 'auc'))}."
    )
    reasons = [
        f"{shorten(m.get('name'), 60)}: {clean(reason)}"
        for m in models
        for reason in at(m, "verdict", "reasons") or ()
    ]
    uses = max((number(m, "verdict", "test_uses") or 0 for m in models), default=0)
    if uses > 1:
        reasons.append(
            f"These rows have been used for {uses:.0f} verdicts. Each use after the first makes a PASS "
            "easier to get by chance."
        )
    return Top(
        name=clean(name or "Models compared"),
        outcome=outcomes[0] if same and outcomes else f"{len(passed)} of {len(models)} PASS",
        headline=headline,
        meaning=meaning,
        points=[_line(m) for m in models],
        reasons=reasons,
    )


def _models(found: Report, models: Sequence[Report], made: Mapping[str, Picture]) -> Section:
    metric = str(at(models[0], "verdict", "metric") or "auc") if models else "auc"
    name = metric_name(metric)
    columns = [
        Column("Model", "code"), Column("Verdict", "outcome"), Column("Bytes", "number"),
        Column("Against the full one", "number"), Column("One row", "number"),
        Column("1,000 rows", "number"), Column(name, "number"), Column(f"{name} change", "number"),
        Column("90 % interval", "number"),
    ]  # fmt: skip
    size = at(found, "full", "bytes")
    rows = [
        (
            clean(m.get("name")),
            clean(at(m, "verdict", "outcome") or MISSING),
            bytes_text(m.get("bytes")),
            MISSING
            if index == 0
            else factor_text(size, m.get("bytes"), less="smaller", more="larger"),
            micro_text(at(m, "latency_us", "1")),
            micro_text(at(m, "latency_us", "1000")),
            number_text(at(m, "metrics", metric)),
            signed_text(at(m, "verdict", "difference")),
            interval_text(at(m, "verdict", "ci")),
        )
        for index, m in enumerate((at(found, "full") or {}, *models))
    ]
    drawn = [made[n] for n in ("models", "front", "front-latency") if n in made]
    lead = "The full model comes first. Bytes are those of the artefact; latencies are of one call."
    return Section("models", "The models", lead, drawn, [Table("Every model", columns, rows)])


def _slices(models: Sequence[Report], made: Mapping[str, Picture]) -> list[Section]:
    """Return one section with a part for each model."""
    parts = [
        Section(
            f"slices-of-{index}",
            clean(m.get("name")),
            "",
            [made[n] for n in [f"slices-{index}"] if n in made],
            [slice_table(m, f"Every slice of {clean(m.get('name'))}")],
        )
        for index, m in enumerate(models)
        if records(m, "verdict", "slices")
    ]
    lead = (
        "The same comparison within groups of users and items. An alarm: the group is clearly worse "
        "off, and the model fails. Undecided: it has too few rows to tell."
    )
    return [Section("slices", "Is any group worse off?", lead, parts=parts)]
