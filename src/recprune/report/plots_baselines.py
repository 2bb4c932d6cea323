"""What trivial models reach at the bytes of a pruned one, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recprune.report.facts import number, records
from recprune.report.plots_cuts import byte_axis
from recprune.report.style import COLOURS, WIDE, new_figure, tidy, titled
from recprune.report.wording import bytes_text, number_text, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["baselines"]

#: Colour, marker and size of the models that are no baselines.
GIVEN = {"full": ("full", "s", 8), "pruned": ("pruned", "*", 17)}


def baselines(report: Mapping[str, Any]) -> Figure:
    """Draw AUC against bytes: baselines within the budget are filled, others hollow.

    Args:
        report: ``{"baselines": {"budget": …, "models": […]}}``, models as
            :meth:`recprune.pipeline.Baseline.to_json` gives them.
    """
    models = [
        m
        for m in records(report["baselines"], "models")
        if number(m, "bytes") and number(m, "metrics", "auc") is not None
    ]
    figure = new_figure(WIDE, 4.2)
    axes = figure.add_subplot()
    places = []
    for model in models:
        x, y = number(model, "bytes") or 0.0, number(model, "metrics", "auc") or 0.0
        colour, marker, size = GIVEN.get(str(model["name"]), ("muted", "o", 8))
        fill = COLOURS[colour] if model.get("fits") or colour != "muted" else "none"
        axes.plot([x], [y], marker, color=COLOURS[colour], mfc=fill, ms=size, mew=1.5, zorder=3)
        # On the left: baselines of the same bytes have theirs on the right.
        left = model["name"] == "pruned"
        axes.annotate(
            shorten(model["name"]),
            (x, y),
            (-11 if left else 9, -3),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=9,
        )
        places.append((x, y))
    budget = number(report, "baselines", "budget") or 0.0
    axes.axvline(budget, color=COLOURS["ink"], lw=1.2, ls="--")
    axes.set_xlabel(byte_axis(axes, sorted(places)))
    axes.set_ylabel("AUC")
    tidy(axes, "y")
    titled(figure, _title(models, budget))
    return figure


def _title(models: list[Mapping[str, Any]], budget: float) -> str:
    fitting = [m for m in models if m.get("fits") and m["name"] not in GIVEN]
    if not fitting:
        return f"No baseline is within {bytes_text(budget)}"
    best = max(fitting, key=lambda m: number(m, "metrics", "auc") or 0.0)
    reached = number_text(number(best, "metrics", "auc"))
    text = f"At {bytes_text(budget)}, {shorten(best['name'])} reaches AUC {reached}"
    pruned = next((m for m in models if m["name"] == "pruned"), None)
    return (
        text
        if pruned is None
        else (f"{text}, the pruned model {number_text(number(pruned, 'metrics', 'auc'))}")
    )
