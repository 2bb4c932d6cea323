"""Pictures of how the models score: scores, calibration, willingness, slices, learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recprune._support import require
from recprune.metrics import metric as metric_of
from recprune.metrics import names as metric_names
from recprune.report.facts import at, number, records
from recprune.report.plots_cuts import forest
from recprune.report.style import COLOURS, HALF, WIDE, new_figure, tidy, titled
from recprune.report.wording import (
    count_text,
    finite,
    metric_name,
    number_text,
    percent_text,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["calibration", "learning", "scores", "slices", "willingness"]

Report = Mapping[str, Any]
MOST_GROUPS = 24
MOST_SLICES = 40
#: What a history says of every epoch, whatever the metric.
OF_AN_EPOCH = ("epoch", "loss", "learning_rate", "seconds", "rows_per_second")
_LOOK = {"full": ("full", "o", "-"), "pruned": ("pruned", "s", "--")}


def scores(report: Report) -> Figure:
    """Draw how both models' scores are distributed, one panel a class."""
    histogram = at(report, "score_histogram")
    edges = floats(at(histogram, "edges"))
    figure = new_figure(WIDE, 3.5)
    for index, side in enumerate(("positive", "negative")):
        axes = figure.add_subplot(1, 2, index + 1)
        for model, (colour, _, dash) in _LOOK.items():
            shares = _shares(floats(at(histogram, model, side)))
            if len(shares) != len(edges) - 1:
                continue
            if model == "full":
                axes.stairs(shares, edges, fill=True, color=COLOURS[colour], alpha=0.22)
            axes.stairs(shares, edges, color=COLOURS[colour], lw=2, ls=dash, label=model)
        axes.set_title(
            f"Rows labelled {1 if side == 'positive' else 0}", fontsize=9.5, fontweight="normal"
        )
        axes.set_xlabel("Predicted probability")
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:.2g}")
        axes.yaxis.set_major_formatter(lambda v, _: percent_text(v, 0))
        axes.set_ylim(0)
        tidy(axes, "y")
    figure.axes[0].set_ylabel("Share of the class's rows")
    figure.axes[1].legend(loc="upper right")
    overlap = score_overlap(report)
    titled(
        figure,
        "Scores of the full and the pruned model"
        if overlap is None
        else f"The two models' score distributions overlap by {percent_text(overlap, 0)}",
    )
    return figure


def calibration(report: Report) -> Figure:
    """Draw the observed rate against the predicted probability, by bin."""
    figure = new_figure(HALF, 4.3)
    axes = figure.add_subplot()
    top, errors = 0.05, {}
    for model, (colour, marker, dash) in _LOOK.items():
        points = calibration_points(report, model)
        if not points:
            continue
        x, y = [p[0] for p in points], [p[1] for p in points]
        axes.plot(x, y, color=COLOURS[colour], marker=marker, ls=dash, ms=6, lw=1.8, label=model)
        top = max(top, *x, *y)
        errors[model] = calibration_gap(points)
    top = min(1.0, top * 1.06)
    axes.plot([0, top], [0, top], color=COLOURS["muted"], lw=1, ls=":", label="perfect")
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_xlabel("Predicted probability (mean of the bin)")
    axes.set_ylabel("Observed rate")
    axes.legend(loc="upper left")
    tidy(axes, "y")
    gap = errors.get("pruned", errors.get("full"))
    titled(figure, f"Probabilities are {number_text(100 * (gap or 0), 1)} points off on average")
    return figure


def willingness(block: Report) -> Figure:
    """Draw predicted willingness by the values of one user attribute, beside the observed rate.

    Args:
        block: one entry of the report's ``recommendations``.
    """
    groups = attribute_groups(block)
    figure = new_figure(WIDE, 1.7 + 0.36 * len(groups))
    axes = figure.add_subplot()
    keys = (
        ("label_rate", "ink", "|", "observed rate", 17),
        ("willingness_full", "full", "o", "full model", 10),
        ("willingness_pruned", "pruned", "s", "pruned model", 6),
    )
    seen: list[float] = []
    for y, group in enumerate(groups):
        values = [v for key, *_ in keys if (v := number(group, key)) is not None]
        axes.plot([min(values), max(values)], [y, y], color=COLOURS["grid"], lw=3, zorder=1)
        seen += values
    for key, colour, marker, label, size in keys:
        points = [(v, y) for y, g in enumerate(groups) if (v := number(g, key)) is not None]
        if points:
            x, y_at = zip(*points, strict=True)
            hollow = {"mfc": COLOURS["paper"], "mew": 2} if marker == "o" else {"mew": 2.4}
            axes.plot(x, y_at, marker, color=COLOURS[colour], ms=size, ls="", label=label, **hollow)
    labels = [f"{shorten(g.get('value'), 28)}  (n = {count_text(g.get('rows'))})" for g in groups]
    axes.set(yticks=range(len(groups)), yticklabels=labels, ylim=(len(groups) - 0.4, -0.6))
    # A narrow range stays narrow: groups that hardly differ must not look far apart.
    margin = max((max(seen) - min(seen)) * 0.15, (0.05 - (max(seen) - min(seen))) / 2)
    axes.set_xlim(max(0.0, min(seen) - margin), max(seen) + margin)
    axes.xaxis.set_major_formatter(lambda v, _: percent_text(v, 1))
    axes.set_xlabel("Mean predicted probability of the group's rows")
    figure.legend(loc="outside lower left", ncols=3)
    tidy(axes)
    titled(figure, _willingness_title(block, groups))
    return figure


def slices(report: Report) -> Figure:
    """Draw the difference in each slice with its interval; alarms come first."""
    rows = slice_rows(report)[:MOST_SLICES]
    figure = new_figure(WIDE, 1.5 + 0.29 * len(rows))
    axes = figure.add_subplot()
    labels = [f"{shorten(r.get('slice'), 34)}  (n = {count_text(r.get('rows'))})" for r in rows]
    forest(axes, rows, labels, number(report, "verdict", "slice_tolerance"))
    name = metric_name(str(at(report, "verdict", "metric") or "auc"))
    axes.set_xlabel(f"{name} of the pruned model minus the full one's, with its interval")
    everyone = records(report, "verdict", "slices")
    alarms = [r for r in everyone if r.get("outcome") == "alarm"]
    open_ones = sum(r.get("outcome") == "undecided" for r in everyone)
    if alarms:
        first = shorten(alarms[0].get("slice"))
        text = f"Alarms: {len(alarms)} of {len(everyone)} slices, first {first}"
    else:
        text = f"No alarm in {len(everyone)} slices"
        text += f"; {open_ones} too small to decide" if open_ones else ""
    titled(figure, text)
    return figure


def learning(report: Report) -> Figure:
    """Draw the training loss and the score of the tune rows, epoch by epoch."""
    histories = histories_of(report)
    figure = new_figure(HALF, 4.3)
    metric = learning_metric(histories)
    panels = (("loss", "Training loss"), (metric, f"{metric_name(metric)} (tune rows)"))
    drawn = [
        p for p in panels if any(number(r, p[0]) is not None for h in histories.values() for r in h)
    ]
    best = None
    whole = require("matplotlib.ticker", "train").MaxNLocator
    for index, (key, label) in enumerate(drawn):
        above = figure.axes[0] if index else None
        axes = figure.add_subplot(len(drawn), 1, index + 1, sharex=above)
        for name, rows in histories.items():
            colour, marker, dash = _LOOK.get(name, ("muted", "^", ":"))
            points = [
                (float(i + 1) if (epoch := number(r, "epoch")) is None else epoch, v)
                for i, r in enumerate(rows)
                if (v := number(r, key)) is not None
            ]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            axes.plot(
                x, y, color=COLOURS[colour], marker=marker, ls=dash, ms=5, label=shorten(name)
            )
            if key == metric and (name == "full" or best is None):
                best = (min if lower_is_better(metric) else max)(points, key=lambda p: p[1])
                axes.plot(*best, "o", mfc="none", mec=COLOURS["ink"], mew=1.8, ms=13, clip_on=False)
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(whole(integer=True, nbins=10))
        tidy(axes, "y")
        if index == len(drawn) - 1:
            axes.set_xlabel("Epoch")
        if len(histories) > 1:
            axes.legend(loc="best")
    titled(
        figure,
        "Training"
        if best is None
        else f"Training was best at epoch {best[0]:.0f} "
        f"({metric_name(metric)} {number_text(best[1])})",
    )
    return figure


def calibration_points(report: Report, model: str) -> list[tuple[float, float, float]]:
    """Return (mean prediction, observed rate, rows) of the bins that hold rows."""
    block = at(report, "calibration", model)
    columns = [at(block, key) or [] for key in ("predicted", "rate", "count")]
    if len({len(c) for c in columns}) != 1:
        return []
    rows = (tuple(finite(v) for v in row) for row in zip(*columns, strict=True))
    return [(p, r, n) for p, r, n in rows if p is not None and r is not None and n]


def calibration_gap(points: Sequence[tuple[float, float, float]]) -> float:
    """Return the mean distance between prediction and rate, weighted by rows."""
    return sum(n * abs(p - r) for p, r, n in points) / sum(n for *_, n in points)


def score_overlap(report: Report) -> float | None:
    """Return the share that both models' score histograms have in common, over both classes."""
    histogram, common = at(report, "score_histogram"), []
    for side in ("positive", "negative"):
        full, pruned = (_shares(floats(at(histogram, m, side))) for m in ("full", "pruned"))
        if full and len(full) == len(pruned):
            common.append(sum(map(min, full, pruned)))
    return sum(common) / len(common) if common else None


def attribute_groups(block: Report) -> list[Report]:
    """Return the groups that can be drawn, in the given order; of many, the largest."""
    keys = ("label_rate", "willingness_full", "willingness_pruned")
    groups = [g for g in records(block, "groups") if any(number(g, k) is not None for k in keys)]
    if len(groups) > MOST_GROUPS:
        by_size = sorted(groups, key=lambda g: -(number(g, "rows") or 0.0))[:MOST_GROUPS]
        largest = {id(g) for g in by_size}
        groups = [g for g in groups if id(g) in largest]
    return groups


def slice_rows(report: Report) -> list[Report]:
    """Return the slices with a difference: alarms, then undecided, then the others."""
    order = {"alarm": 0, "undecided": 1}
    rows = [r for r in records(report, "verdict", "slices") if number(r, "difference") is not None]
    return sorted(
        rows, key=lambda r: (order.get(str(r.get("outcome")), 2), number(r, "difference") or 0.0)
    )


def histories_of(report: Report) -> dict[str, list[Report]]:
    """Return model name → epochs, without the empty ones."""
    found = at(report, "history")
    names = found if isinstance(found, Mapping) else {}
    return {str(name): rows for name in names if (rows := records(found, name))}


def learning_metric(histories: Mapping[str, Sequence[Report]]) -> str:
    """Return the metric that stopped training: what an epoch says beside :data:`OF_AN_EPOCH`."""
    found = (key for rows in histories.values() for row in rows for key in row)
    return next((key for key in found if key not in OF_AN_EPOCH), "auc")


def lower_is_better(metric: str) -> bool:
    """Tell whether a metric's lower value is better; one that is not known is no such."""
    return metric in metric_names() and not metric_of(metric).higher_is_better


def floats(values: object) -> list[float]:
    """Return a list of finite numbers, or an empty one if any is missing."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return []
    found = [finite(v) for v in values]
    return [v for v in found if v is not None] if None not in found else []


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [c / total for c in counts] if total > 0 else []


def _willingness_title(block: Report, groups: Sequence[Report]) -> str:
    attribute = shorten(block.get("attribute"))
    for key in ("willingness_pruned", "willingness_full"):
        ranked = [(v, str(g.get("value"))) for g in groups if (v := number(g, key)) is not None]
        if len(ranked) > 1:
            high, low = max(ranked), min(ranked)
            return (
                f"{attribute}: most willing {shorten(high[1], 24)} ({percent_text(high[0])}), "
                f"least {shorten(low[1], 24)} ({percent_text(low[0])})"
            )
    return f"{attribute}: predicted willingness by value"
