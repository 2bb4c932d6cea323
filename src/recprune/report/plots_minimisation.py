"""What removing each personal column does to a ranker, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recprune.report.facts import at, number, records
from recprune.report.plots_cuts import forest
from recprune.report.style import WIDE, new_figure, titled
from recprune.report.wording import count_text, listed, metric_name, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["minimisation", "minimisation_rows", "worst_slice"]

Report = Mapping[str, Any]
LOSES_MOST = "loses most:"


def minimisation(report: Report) -> Figure:
    """Draw a column a row, with the slice that loses most below it, and all that go together last.

    Args:
        report: its ``minimisation`` is as :meth:`recprune.pipeline.Minimisation.to_json` gives it.
    """
    rows, labels = minimisation_rows(report)
    figure = new_figure(WIDE, 1.6 + 0.31 * len(rows))
    axes = figure.add_subplot()
    found = at(report, "minimisation")
    forest(axes, rows, labels, number(found, "tolerance"))
    for text, label in zip(axes.get_yticklabels(), labels, strict=True):
        text.set_fontweight("normal" if label.startswith(LOSES_MOST) else "bold")
    name = metric_name(str(at(found, "metric") or "auc"))
    axes.set_xlabel(f"{name} without the column minus that with it, 90 % interval")
    titled(figure, _title(found))
    return figure


def minimisation_rows(report: Report) -> tuple[list[Report], list[str]]:
    """Return what is drawn, from the top down, and its labels."""
    found, rows, labels = at(report, "minimisation"), list[Report](), list[str]()
    for field in records(found, "fields"):
        rows.append(at(field, "verdict") or {})
        labels.append(f"{shorten(field.get('column'))}: {field.get('decision')}")
        worst = worst_slice(field)
        if worst is not None:
            rows.append(worst)
            many = count_text(worst.get("rows"))
            labels.append(f"{LOSES_MOST} {shorten(worst.get('slice'))} (n = {many})")
    together = at(found, "joint", "columns")
    if together:
        rows.append(at(found, "joint", "verdict") or {})
        labels.append(f"all {len(together)} together, on test rows")
    return rows, labels


def worst_slice(removal: Report) -> Report | None:
    """Return the slice that loses most, an alarm before others; None where none is large enough."""
    known = [
        s for s in records(removal, "verdict", "slices") if number(s, "difference") is not None
    ]
    return min(
        known, key=lambda s: (s.get("outcome") != "alarm", number(s, "difference")), default=None
    )


def _title(found: object) -> str:
    stop, asked = at(found, "stop") or (), records(found, "fields")
    if stop:
        names = listed([shorten(s) for s in stop], 4)
        return f"Stop collecting {names} ({len(stop)} of {len(asked)})"
    if at(found, "joint"):
        return f"What {count_text(len(at(found, 'joint', 'columns')))} columns could save is not confirmed by the test rows"
    return f"None of {len(asked)} columns can be shown to be needless"
