"""What the search tried, and the trivial models beside it, as points of one chart.

A point's quality is its difference to the full model *on the same rows*, so that trials told by
tune rows, trials judged on gate rows and baselines scored on test rows can share an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recprune.report.facts import at, interval, number, records
from recprune.report.wording import (
    bytes_text,
    clean,
    count_text,
    duration_text,
    interval_text,
    metric_name,
    micro_text,
    number_text,
    shorten,
    signed_text,
)

__all__ = [
    "Point",
    "budget_lines",
    "cost_line",
    "latency_points",
    "latency_rows",
    "metric_of",
    "points",
    "seed_noise",
    "units_text",
]

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One model of the chart.

    Args:
        kind: ``"trial"``, ``"model"`` (of a comparison), ``"baseline"``, ``"full"`` or ``"pruned"``.
        label: a trial's number, others' name.
        bytes: as stored.
        latency_us: of one answer, where it was measured.
        difference: AUC minus the full model's on the same rows.
        ci: of the difference, where it was judged.
        outcome: of the gate rows; None where only tune rows (or no verdict) tell.
        filled: judged on gate rows, or a baseline within the budget.
        on_front: no other is better in bytes, latency and quality at once.
        chosen: the one that ships.
        lines: what a pointer over it shows.
    """

    kind: str
    label: str
    bytes: float
    latency_us: float | None
    difference: float
    ci: tuple[float, float] | None
    outcome: str | None
    filled: bool
    on_front: bool
    chosen: bool
    lines: tuple[str, ...]


def points(report: Report) -> list[Point]:
    """Return the trials, the full model and the baselines.

    A comparison has its models for trials. Without any trial the pruned model stands in their place. A model whose bytes or difference are
    not known is left out.
    """
    trials, baselines = _trials(report), _baselines(report)
    if trials:
        baselines = [p for p in baselines if p.kind == "baseline"]
        size = number(report, "full", "bytes")
        if size and not any(p.kind == "full" for p in trials):
            baselines.insert(0, _full(report, size))
    return [*trials, *baselines]


def latency_points(report: Report) -> list[Point]:
    """Return the points that have a latency; none where fewer than two have."""
    timed = [p for p in points(report) if p.latency_us is not None]
    return timed if len(timed) > 1 else []


def latency_rows(report: Report) -> int:
    """Return the rows of the answer whose latency trials tell."""
    rows = number(report, "search", "budget", "latency_rows")
    return 1 if rows is None else int(rows)


def metric_of(report: Report) -> str:
    """Return the name of the verdict's metric."""
    return metric_name(str(at(report, "verdict", "metric") or "auc"))


def seed_noise(report: Report) -> float | None:
    """Return how far another seed moves AUC: the standard deviation, where it was measured."""
    found = number(report, "seed_noise", "auc_std")
    return None if found is None or found < 0 else found


def units_text(trial: Report) -> str:
    """Return what a trial keeps, in words.

    >>> units_text({"units": {"fields": 12, "rows": 3040, "neurons": [64, 32], "tables": "int8"}})
    '12 fields, 3,040 rows, neurons 64-32, int8 tables'
    """
    units = at(trial, "units")
    counts = ((unit, number(units, unit)) for unit in ("fields", "rows", "dims"))
    said = [f"{count_text(many)} {unit}" for unit, many in counts if many is not None]
    widths = at(units, "neurons")
    if isinstance(widths, Sequence) and not isinstance(widths, str) and widths:
        said.append("neurons " + "-".join(clean(w) for w in widths))
    said += [f"{clean(kind)} {part}" for part in ("tables", "layers") if (kind := at(units, part))]
    return ", ".join(said)


def budget_lines(report: Report) -> list[str]:
    """Return each limit of the budget with what the chosen model needs of it, one a line."""
    budget = at(report, "search", "budget")
    chosen = next((t for t in records(report, "search", "trials") if t.get("chosen")), None)
    params = number(report, "pruned", "params")
    size = number(report, "pruned", "bytes")
    checks = (
        ("Size", number(budget, "bytes"), size or number(chosen, "bytes"), bytes_text),
        ("Latency", number(budget, "latency_us"), number(chosen, "latency_us"), micro_text),
        ("Parameters", number(budget, "params"), params or number(chosen, "params"), count_text),
    )
    lines = []
    for what, limit, got, text in checks:
        if limit is not None:
            reached = "not measured" if got is None else text(got)
            lines.append(f"{what}: {reached} of at most {text(limit)}{_met(got, limit)}")
            timed = number(report, "pruned", "latency_us", str(latency_rows(report)))
            if what == "Latency" and timed is not None:
                lines[-1] += f" (as the host's profile foretells; timed here: {text(timed)})"
    drops = at(budget, "max_drop")
    for key in drops if isinstance(drops, Mapping) else ():
        a, b = number(report, "full", "metrics", key), number(report, "pruned", "metrics", key)
        limit = number(drops, key)
        if limit is None:
            continue
        # Lower is better of log loss alone, among the metrics of a verdict.
        drop = None if a is None or b is None else (b - a if key == "logloss" else a - b)
        reached = "not measured" if drop is None else (number_text(drop) if drop > 0 else "none")
        name = metric_name(clean(key))
        lines.append(f"{name} drop on test rows: {reached} of at most {limit:g}{_met(drop, limit)}")
    return lines


def _met(got: float | None, limit: float) -> str:
    return "" if got is None else ": met" if got <= limit else ": not met"


def cost_line(report: Report) -> str:
    """Return what the search took, or ``""``."""
    cost = at(report, "search", "cost")
    seconds, ratio = number(cost, "seconds"), number(cost, "over_full_training")
    if seconds is None:
        return ""
    trials = len(records(report, "search", "trials"))
    text = f"The search took {duration_text(seconds)} for {count_text(trials)} trials"
    return text + ("." if ratio is None else f": {ratio:.1f} times one full training.")


def _trials(report: Report) -> list[Point]:
    rows, word, where = next(
        (
            told
            for told in (
                (records(report, "search", "trials"), "Trial", "gate"),
                (records(report, "models"), "Model", "the same"),
            )
            if told[0]
        ),
        ([], "", ""),
    )
    whole = number(report, "full", "bytes")
    reference = _full_on_tune(rows, whole)
    found = []
    for index, row in enumerate(rows):
        size, gate, tune = (number(row, k) for k in ("bytes", "difference", "auc_tune"))
        if size is None or size <= 0:
            continue
        if gate is None and (tune is None or reference is None):
            continue
        difference = gate if gate is not None else (tune or 0.0) - (reference or 0.0)
        uncut = difference == 0 and size == whole
        which = clean(row.get("number", index))
        called = shorten(row.get("label") or "unnamed", 60)
        head = called if word == "Model" else f"{word} {which}: {called}"
        found.append(
            Point(
                kind="full" if uncut else "model" if word == "Model" else "trial",
                label="full" if uncut else shorten(called, 24) if word == "Model" else which,
                bytes=size,
                latency_us=number(row, "latency_us"),
                difference=difference,
                ci=None if gate is None or uncut else interval(row, "ci"),
                outcome=str(row["outcome"]) if row.get("outcome") and not uncut else None,
                filled=gate is not None,
                on_front=bool(row.get("on_front")),
                chosen=bool(row.get("chosen")),
                lines=(head, *_trial_lines(report, row, difference, where)),
            )
        )
    return found


def _trial_lines(report: Report, row: Report, difference: float, where: str) -> tuple[str, ...]:
    judged, costs = number(row, "difference") is not None, [bytes_text(row.get("bytes"))]
    if (latency := number(row, "latency_us")) is not None:
        costs.append(micro_text(latency))
    if (params := number(row, "params")) is not None:
        costs.append(f"{count_text(params)} parameters")
    change = f"{metric_of(report)} {signed_text(difference)} on {where if judged else 'tune'} rows"
    if judged and interval(row, "ci") is not None:
        change += f" ({interval_text(row.get('ci'))})"
    told = clean(row.get("outcome") or "not judged") + (", chosen" if row.get("chosen") else "")
    lines = (", ".join(costs), change, told, units_text(row))
    return tuple(line for line in lines if line)


def _full(report: Report, size: float) -> Point:
    latency = number(report, "full", "latency_us", str(latency_rows(report)))
    lines = ("The full model", bytes_text(size))
    return Point("full", "full", size, latency, 0.0, None, None, True, False, False, lines)


def _full_on_tune(rows: Sequence[Report], full_bytes: float | None) -> float | None:
    """Return the full model's AUC on tune rows: of the uncut trial, or told by the judged ones.

    A judged trial tells it roughly, since what cutting costs is about the same on tune and gate rows.
    """
    uncut = [
        tune
        for r in rows
        if (tune := number(r, "auc_tune")) is not None
        and full_bytes is not None
        and (number(r, "bytes") or 0.0) >= full_bytes
    ]
    if uncut:
        return uncut[0]
    told = [
        tune - gate
        for r in rows
        if (tune := number(r, "auc_tune")) is not None
        and (gate := number(r, "difference")) is not None
    ]
    return sum(told) / len(told) if told else None


def _baselines(report: Report) -> list[Point]:
    """Return the points of the baselines, and of the full and the pruned model beside them."""
    models = records(report, "baselines", "models")
    named = {str(m.get("name")): m for m in models}
    reference = number(named.get("full"), "metrics", "auc")
    if reference is None:
        reference = number(report, "full", "metrics", "auc")
    found = []
    for model in models:
        name = str(model.get("name"))
        size, auc = number(model, "bytes"), number(model, "metrics", "auc")
        kind = name if name in ("full", "pruned") else "baseline"
        if not size or auc is None or reference is None:
            continue
        said = (
            f"{'Model' if kind != 'baseline' else 'Baseline'}: {shorten(name, 60)}",
            bytes_text(size) + ("" if model.get("fits") else ", over the budget"),
            f"AUC {number_text(auc)}, {signed_text(auc - reference)} against the full model",
            clean(model.get("settings") or ""),
        )
        found.append(
            Point(
                kind=kind,
                label=shorten(name),
                bytes=size,
                latency_us=None,
                difference=auc - reference,
                ci=None,
                outcome=None,
                filled=bool(model.get("fits")) or kind != "baseline",
                on_front=False,
                chosen=kind == "pruned",
                lines=tuple(line for line in said if line),
            )
        )
    return found
