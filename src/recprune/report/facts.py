"""What the report dictionary says, in rows and sentences: shared by page, card and terminal.

The dictionary is read leniently: a missing key, a null, a NaN or an empty list is "not measured".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    factor_text,
    finite,
    interval_text,
    listed,
    metric_name,
    micro_text,
    number_text,
    percent_text,
    signed_text,
)

__all__ = [
    "Fields",
    "SummaryRow",
    "at",
    "fields_of",
    "headline",
    "interval",
    "latencies",
    "meaning",
    "minimisation",
    "number",
    "records",
    "summary_rows",
    "verdict_line",
]

Report = Mapping[str, Any]

_QUALITY = {
    "auc": "how often a positive row is scored above a negative one; 0.5 is chance",
    "logloss": "how far the probabilities are from what happened; lower is better",
    "accuracy": "share of rows on the right side of the threshold",
    "precision": "of the rows called positive, the share that are",
    "recall": "of the positive rows, the share that are found",
    "recall@10": "of a user's relevant items, the share in their top 10",
    "ndcg@10": "the same, and the higher in the list the better",
    "coverage@10": "share of the catalogue that appears in anyone's top 10",
}


@dataclass(frozen=True)
class SummaryRow:
    """One line of the summary table: ``group`` is ``"Quality"``, ``"Size"`` or ``"Speed"``."""

    group: str
    label: str
    full: str
    pruned: str
    change: str
    hint: str = ""


@dataclass(frozen=True)
class Fields:
    """The fields' names by what became of them; personal (sensitive) ones on their own."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    personal_kept: tuple[str, ...]
    personal_dropped: tuple[str, ...]

    @property
    def other_dropped(self) -> tuple[str, ...]:
        """Dropped fields that are not personal, in order."""
        return tuple(n for n in self.dropped if n not in self.personal_dropped)


def at(data: object, *keys: str) -> Any:
    """Return the value under a path of keys, or None where a step is missing.

    >>> at({"a": {"b": 1}}, "a", "b"), at({"a": None}, "a", "b")
    (1, None)
    """
    for key in keys:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def number(data: object, *keys: str) -> float | None:
    """Return the finite number under a path of keys, or None."""
    return finite(at(data, *keys))


def records(data: object, *keys: str) -> list[Mapping[str, Any]]:
    """Return the list of mappings under a path of keys; empty where there is none."""
    found = at(data, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [r for r in found if isinstance(r, Mapping)]


def interval(data: object, *keys: str) -> tuple[float, float] | None:
    """Return the pair of finite numbers under a path of keys, or None."""
    found = at(data, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != 2:
        return None
    low, high = finite(found[0]), finite(found[1])
    return None if low is None or high is None else (low, high)


def fields_of(report: Report) -> Fields:
    """Return the kept and dropped fields."""

    def names(*keys: str) -> tuple[str, ...]:
        return tuple(str(n) for n in at(report, "fields", *keys) or ())

    return Fields(
        names("kept"),
        names("dropped"),
        names("sensitive", "kept"),
        names("sensitive", "dropped"),
    )


def headline(report: Report) -> str:
    """Return the verdict as one sentence that needs no glossary."""
    outcome = at(report, "verdict", "outcome")
    size = factor_text(
        at(report, "full", "bytes"), at(report, "pruned", "bytes"), less="smaller", more="larger"
    )
    # Without items the table ranks its rows: nothing is recommended.
    verb = "recommends" if at(report, "dataset", "items") else "predicts"
    if outcome == "PASS":
        gain = "" if size in (MISSING, "unchanged") else f", and it is {size}"
        return f"The pruned model {verb} as well as the full one{gain}."
    if outcome == "FAIL":
        return f"The pruned model {verb} worse than the full one: do not ship it."
    if outcome == "INCONCLUSIVE":
        return "These rows cannot tell whether the pruned model is as good as the full one."
    return "No verdict was made."


def meaning(report: Report) -> str:
    """Return how the verdict follows from the interval and the tolerance."""
    verdict = at(report, "verdict") or {}
    tolerance, ci = number(verdict, "tolerance"), interval(verdict, "ci")
    if tolerance is None or ci is None:
        return "The difference between the two models was not measured."
    name = metric_name(str(at(verdict, "metric") or "auc"))
    limit = signed_text(-tolerance)
    text = (
        f"On the same {count_text(at(verdict, 'n_rows'))} test rows, the pruned model's {name} "
        f"differs from the full model's by {signed_text(at(verdict, 'difference'))} "
        f"(90 % interval {interval_text(ci)}). The promise was to lose less than "
        f"{number_text(tolerance)}. "
    )
    if ci[0] > -tolerance:
        text += f"Even the lower end of the interval is above {limit}: the loss is within it."
    elif ci[1] < -tolerance:
        text += f"Even the upper end of the interval is below {limit}: the loss is real."
    else:
        text += f"The interval has {limit} inside: the loss may or may not be within the promise."
        if (needed := number(verdict, "rows_needed")) is not None:
            text += f" About {count_text(needed)} rows would decide it."
    return text


def verdict_line(report: Report) -> str:
    """Return the verdict as one line of a terminal or a card."""
    verdict = at(report, "verdict") or {}
    name = metric_name(str(at(verdict, "metric") or "auc"))
    return (
        f"{at(verdict, 'outcome') or 'NO VERDICT'}: {name} {signed_text(at(verdict, 'difference'))}"
        f" (90 % interval {interval_text(at(verdict, 'ci'))}), "
        f"tolerance {number_text(at(verdict, 'tolerance'))}"
    )


def summary_rows(report: Report) -> list[SummaryRow]:
    """Return the summary table; a figure that neither model has is left out."""
    full, pruned = at(report, "full"), at(report, "pruned")
    rows = []
    for key, hint in _QUALITY.items():
        a, b = number(full, "metrics", key), number(pruned, "metrics", key)
        if a is None and b is None:
            continue
        change = signed_text(b - a) if a is not None and b is not None else MISSING
        majority = number(pruned, "metrics", "majority_accuracy")
        label = metric_name(key)
        if key == "accuracy" and majority is not None:
            label += f" (majority rate {number_text(majority)})"
            hint += "; the majority rate is what always giving the commoner answer reaches"
        rows.append(SummaryRow("Quality", label, number_text(a), number_text(b), change, hint))
    kept = fields_of(report)
    total = len(kept.kept) + len(kept.dropped)
    if total:
        rows.append(
            SummaryRow(
                "Size",
                "Fields",
                count_text(total),
                count_text(len(kept.kept)),
                f"{len(kept.dropped)} dropped" if kept.dropped else "unchanged",
                "columns that a request must hold",
            )
        )
    a, b = at(full, "bytes"), at(pruned, "bytes")
    change = factor_text(a, b, less="smaller", more="larger")
    hint = "weights, kept indices and vocabulary as stored"
    rows.append(SummaryRow("Size", "Bytes", bytes_text(a), bytes_text(b), change, hint))
    a, b = at(full, "params"), at(pruned, "params")
    change = factor_text(a, b, less="fewer", more="more")
    rows.append(SummaryRow("Size", "Parameters", count_text(a), count_text(b), change))
    for batch, a, b in latencies(report):
        change = factor_text(a, b, less="faster", more="slower")
        label = f"Latency, batch of {count_text(batch)}"
        hint = "time of one call"
        rows.append(SummaryRow("Speed", label, micro_text(a), micro_text(b), change, hint))
    return [row for row in rows if (row.full, row.pruned) != (MISSING, MISSING)]


def latencies(report: Report) -> list[tuple[int, float | None, float | None]]:
    """Return (batch size, full µs, pruned µs), smallest batch first."""
    full = at(report, "full", "latency_us") or {}
    pruned = at(report, "pruned", "latency_us") or {}
    batches = sorted({int(b) for b in (*full, *pruned) if str(b).isdigit()})
    return [(b, number(full, str(b)), number(pruned, str(b))) for b in batches]


def minimisation(report: Report) -> list[str]:
    """Return what the pruning saves, one plain sentence each."""
    fields, saved = fields_of(report), []
    if fields.personal_dropped:
        names = [clean(n) for n in fields.personal_dropped]
        saved.append(f"Personal data no longer needed: {listed(names, 12)}.")
    if fields.other_dropped:
        saved.append(
            f"Columns to stop computing: {count_text(len(fields.other_dropped))} of "
            f"{count_text(len(fields.kept) + len(fields.dropped))}."
        )
    a, b = number(report, "full", "bytes"), number(report, "pruned", "bytes")
    if a is not None and b is not None and b < a:
        share = percent_text((a - b) / a)
        saved.append(f"Storage: {bytes_text(a - b)} a copy ({share} of the full model).")
    for batch, a, b in latencies(report):
        if a is not None and b is not None and b < a:
            saved.append(
                f"Time: {micro_text(a - b)} a call with {count_text(batch)} "
                f"row{'' if batch == 1 else 's'} ({percent_text((a - b) / a, 0)})."
            )
    return saved
