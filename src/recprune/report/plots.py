"""Every picture of a report. Each function takes the report dictionary and returns a ``Figure``.

In a notebook, within :func:`styled` for this project's look::

    from recprune.report import plots
    with plots.styled():
        plots.importance(report)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from recprune.report.facts import at, headline, interval, latencies, meaning, number, records
from recprune.report.plots_baselines import baselines
from recprune.report.plots_cuts import (
    bring_back,
    brought_back,
    importance,
    ranking,
    sizes,
    techniques,
    verdict,
)
from recprune.report.plots_front import front, front_latency
from recprune.report.plots_minimisation import minimisation, minimisation_rows
from recprune.report.plots_scores import (
    attribute_groups,
    calibration,
    calibration_gap,
    calibration_points,
    histories_of,
    learning,
    learning_metric,
    lower_is_better,
    score_overlap,
    scores,
    slice_rows,
    slices,
    willingness,
)
from recprune.report.style import Picture, picture, styled
from recprune.report.trials import Point, latency_points, metric_of, points
from recprune.report.wording import (
    bytes_text,
    factor_text,
    interval_text,
    listed,
    metric_name,
    number_text,
    percent_text,
    shorten,
    signed_text,
    slug,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "baselines",
    "bring_back",
    "calibration",
    "front",
    "front_latency",
    "importance",
    "learning",
    "minimisation",
    "pictures",
    "scores",
    "sizes",
    "slices",
    "styled",
    "techniques",
    "verdict",
    "willingness",
]

Report = Mapping[str, Any]


def pictures(report: Report) -> dict[str, Picture]:
    """Render every picture that the report has data for, by name, in the page's order.

    The same dictionary gives the same bytes (with one version of matplotlib).
    """
    made: dict[str, Picture] = {}
    drawers: dict[str, tuple[Callable[[Report], Figure], Callable[[Report], str]]] = {
        "verdict": (verdict, _verdict_alt),
        "sizes": (sizes, _sizes_alt),
        "front": (front, _front_alt),
        "front-latency": (front_latency, _front_latency_alt),
        "techniques": (techniques, _techniques_alt),
        "importance": (importance, _importance_alt),
        "bring-back": (bring_back, _bring_back_alt),
        "slices": (slices, _slices_alt),
        "minimisation": (minimisation, _minimisation_alt),
        "scores": (scores, _scores_alt),
        "calibration": (calibration, _calibration_alt),
        "learning": (learning, _learning_alt),
    }
    pointed = {"front": points(report), "front-latency": latency_points(report)}
    for name, (draw, describe) in drawers.items():
        if alt := describe(report):
            tips = {f"tip-{i}": p.lines for i, p in enumerate(pointed.get(name, ()))}
            start = _start(pointed.get(name, ()))
            made[name] = picture(name, partial(draw, report), alt=alt, tips=tips, start=start)
    for index, block in enumerate(records(report, "recommendations")):
        if alt := _willingness_alt(block):
            name = willingness_name(report, index)
            made[name] = picture(name, partial(willingness, block), alt=alt)
    return made


def willingness_name(report: Report, index: int) -> str:
    """Return the picture's name for the attribute at ``index``: safe as a file name, and unique."""
    slugs = [slug(b.get("attribute")) for b in records(report, "recommendations")]
    stem = slugs[index]
    number_it = not stem or stem in slugs[:index]
    return f"willingness-{stem}-{index}" if number_it else f"willingness-{stem}"


def _start(found: Sequence[Point]) -> str:
    """Return the mark that the keyboard reaches first: the chosen one."""
    return f"tip-{next((i for i, p in enumerate(found) if p.chosen), 0)}"


# Each describes its picture in words, and returns "" where the report has nothing to draw.


def _verdict_alt(report: Report) -> str:
    if interval(report, "verdict", "ci") is None:
        return ""
    return f"Interval plot. {headline(report)} {meaning(report)}"


def _sizes_alt(report: Report) -> str:
    parts = []
    a, b = number(report, "full", "bytes"), number(report, "pruned", "bytes")
    if a is not None and b is not None:
        parts.append(f"bytes {bytes_text(a)} before and {bytes_text(b)} after")
    for batch, x, y in latencies(report):
        if x is not None and y is not None:
            change = factor_text(x, y, less="faster", more="slower")
            parts.append(f"latency at batch {batch} {change}")
    return "Bar chart of size and speed: " + "; ".join(parts) + "." if parts else ""


def _techniques_alt(report: Report) -> str:
    rows = [r for r in records(report, "techniques") if number(r, "difference") is not None]
    said = [
        f"{shorten(r.get('technique'))} {signed_text(r.get('difference'))} ({interval_text(r.get('ci'))})"
        for r in rows
    ]
    name = metric_of(report)
    return f"Interval plot of {name} differences by technique: {'; '.join(said)}." if said else ""


def _importance_alt(report: Report) -> str:
    rows = ranking(report)
    if not rows:
        return ""
    first = [f"{shorten(r.get('field'))} {number_text(r.get('score'))}" for r in rows]
    dropped = [shorten(r.get("field")) for r in rows if r.get("kept") is False]
    text = f"Bar chart of field importance, the most important first: {listed(first, 8)}."
    return text + (f" Dropped: {listed(dropped, 12)}." if dropped else " None is dropped.")


def _front_alt(report: Report) -> str:
    return _chart_alt(report, points(report), "bytes")


def _front_latency_alt(report: Report) -> str:
    return _chart_alt(report, latency_points(report), "latency")


def _chart_alt(report: Report, found: Sequence[Point], across: str) -> str:
    if not found:
        return ""
    trials = sum(p.kind == "trial" for p in found)
    others = sum(p.kind == "baseline" for p in found)
    text = f"Chart of {metric_of(report)} against {across}: {trials} trials"
    text += f" and {others} baselines" if others else ""
    chosen = next((p for p in found if p.chosen), None)
    return text + ("." if chosen is None else f". Chosen: {'; '.join(chosen.lines)}.")


def _bring_back_alt(report: Report) -> str:
    said = [
        f"{shorten(r.get('unit'))} {shorten(r.get('name'))} {signed_text(r.get('auc'))} for "
        f"{bytes_text(r.get('bytes'))}"
        for r in brought_back(report)
    ]
    return (
        f"Bar chart of what bringing cut units back would gain: {listed(said, 8)}." if said else ""
    )


def _slices_alt(report: Report) -> str:
    rows = slice_rows(report)
    said = [f"{shorten(r.get('slice'))} {signed_text(r.get('difference'))}" for r in rows]
    return (
        f"Interval plot of {metric_of(report)} differences by slice: {listed(said, 10)}."
        if said
        else ""
    )


def _minimisation_alt(report: Report) -> str:
    rows, labels = minimisation_rows(report)
    said = [
        f"{label} {signed_text(row.get('difference'))} ({interval_text(row.get('ci'))})"
        for row, label in zip(rows, labels, strict=True)
    ]
    return f"Interval plot of what removing columns does: {listed(said, 20)}." if said else ""


def _scores_alt(report: Report) -> str:
    overlap = score_overlap(report)
    edges = at(report, "score_histogram", "edges") or []
    if overlap is None or len(edges) < 2:
        return ""
    return (
        "Histograms of predicted probability for rows labelled 1 and rows labelled 0: the full and "
        f"the pruned model's overlap by {percent_text(overlap, 0)}."
    )


def _calibration_alt(report: Report) -> str:
    said = [
        f"the {model} model is {number_text(100 * calibration_gap(points), 1)} points off on average"
        for model in ("full", "pruned")
        if (points := calibration_points(report, model))
    ]
    return f"Observed rate against predicted probability: {'; '.join(said)}." if said else ""


def _learning_alt(report: Report) -> str:
    said, histories = [], histories_of(report)
    metric = learning_metric(histories)
    for name, rows in histories.items():
        found = [v for r in rows if (v := number(r, metric)) is not None]
        losses = [v for r in rows if (v := number(r, "loss")) is not None]
        if found:
            best = (min if lower_is_better(metric) else max)(found)
            told = f"{metric_name(metric)} from {number_text(found[0])} to {number_text(best)}"
            said.append(f"{shorten(name)}: {told}")
        elif losses:
            said.append(
                f"{shorten(name)}: loss from {number_text(losses[0])} to {number_text(losses[-1])}"
            )
    return f"Learning curve. {'; '.join(said)}." if said else ""


def _willingness_alt(block: Report) -> str:
    said = [
        f"{shorten(g.get('value'), 28)}: observed {percent_text(g.get('label_rate'))}, full "
        f"{percent_text(g.get('willingness_full'))}, pruned {percent_text(g.get('willingness_pruned'))}"
        for g in attribute_groups(block)
    ]
    name = shorten(block.get("attribute"))
    return f"Dot plot of predicted willingness by {name}. {'; '.join(said)}." if said else ""
