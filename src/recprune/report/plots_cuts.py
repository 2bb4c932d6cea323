"""Pictures of what was cut and what it cost: verdict, sizes, importance, techniques, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recprune.report.facts import at, interval, latencies, number, records
from recprune.report.style import COLOURS, HALF, OUTCOMES, WIDE, new_figure, tidy, titled
from recprune.report.trials import seed_noise
from recprune.report.wording import (
    bytes_text,
    count_text,
    factor_text,
    metric_name,
    micro_text,
    number_text,
    shorten,
    signed_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "bring_back",
    "byte_axis",
    "forest",
    "importance",
    "legend_mark",
    "sizes",
    "techniques",
    "verdict",
]

Report = Mapping[str, Any]
MOST = 40


def verdict(report: Report) -> Figure:
    """Draw the difference with its interval against the tolerance."""
    found = at(report, "verdict")
    low, high = interval(found, "ci") or (0.0, 0.0)
    difference = number(found, "difference")
    tolerance = number(found, "tolerance") or 0.0
    name = metric_name(str(at(found, "metric") or "auc"))
    colour, marker = OUTCOMES.get(str(at(found, "outcome")), ("muted", "o"))
    figure = new_figure(HALF, 1.75)
    axes = figure.add_subplot()
    middle = (low + high) / 2 if difference is None else difference
    axes.plot([low, high], [0, 0], color=COLOURS[colour], lw=4, solid_capstyle="butt")
    axes.plot([middle], [0], marker, color=COLOURS[colour], ms=10)
    left, right = _around([low, high, -tolerance, 0.0])
    _forbidden(axes, tolerance, left, right)
    axes.annotate(
        signed_text(middle),
        (middle, 0),
        (0, 9),
        textcoords="offset points",
        ha="center",
        va="bottom",
    )
    axes.set(xlim=(left, right), ylim=(-0.7, 1), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{name} of the pruned model minus {name} of the full one")
    tidy(axes)
    if low > -tolerance:
        text = f"The whole interval is within the promise on {name}"
    elif high < -tolerance:
        text = f"The whole interval is outside the promise on {name}"
    else:
        text = f"The interval crosses the limit of the promise on {name}"
    titled(figure, text)
    return figure


def sizes(report: Report) -> Figure:
    """Draw bytes and latency before and after, one panel a unit."""
    panels = []
    a, b = number(report, "full", "bytes"), number(report, "pruned", "bytes")
    if a is not None and b is not None:
        panels.append(("Stored bytes", a, b, bytes_text, ("smaller", "larger")))
    for batch, x, y in latencies(report):
        if x is not None and y is not None:
            label = f"Latency, batch of {count_text(batch)}"
            panels.append((label, x, y, micro_text, ("faster", "slower")))
    figure = new_figure(WIDE, 2.2)
    gains = []
    for axes, (label, full, pruned, text, (less, more)) in zip(
        _row(figure, len(panels)), panels, strict=True
    ):
        colours = [COLOURS["full"], COLOURS["pruned"]]
        axes.barh([1, 0], [full, pruned], height=0.62, color=colours)
        for y, value in ((1, full), (0, pruned)):
            axes.annotate(text(value), (value, y), (4, 0), textcoords="offset points", va="center")
        gain = factor_text(full, pruned, less=less, more=more)
        gains.append(gain)
        axes.set_title(label, fontsize=9.5, fontweight="normal")
        axes.set(yticks=[1, 0], yticklabels=["full", "pruned"], xticks=[], ylim=(-0.5, 1.5))
        axes.set_xlim(0, max(full, pruned) * 1.28 or 1)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
    names = ["bytes", *(f"batch {count_text(b)}" for b, x, y in latencies(report) if x and y)]
    names = names[-len(gains) :]
    titled(figure, "Pruned: " + "; ".join(f"{g} ({n})" for g, n in zip(gains, names, strict=True)))
    return figure


def importance(report: Report) -> Figure:
    """Draw the ranking of the fields, the most important first, with one standard error."""
    ranked = ranking(report)
    shown = ranked[:MOST]
    figure = new_figure(WIDE, 1.5 + 0.25 * len(shown))
    axes = figure.add_subplot()
    metric = metric_name(str(at(report, "verdict", "metric") or "auc"))
    for y, row in enumerate(shown):
        kept = row.get("kept") is not False
        if not kept:
            # Many dropped fields have no bar to see: the band says it of the whole line.
            axes.axhspan(y - 0.5, y + 0.5, color=COLOURS["dropped"], alpha=0.18, lw=0)
        _margin_text(axes, y, number_text(row.get("score")))
        axes.barh(
            y,
            number(row, "score") or 0.0,
            height=0.7,
            color=COLOURS["kept" if kept else "paper"],
            edgecolor=COLOURS["kept" if kept else "dropped"],
            hatch=None if kept else "////",
            xerr=number(row, "std"),
            error_kw={"ecolor": COLOURS["ink"], "elinewidth": 1.1, "capsize": 2.5},
        )
    labels = [("◆ " if r.get("sensitive") else "") + shorten(r.get("field")) for r in shown]
    axes.set(yticks=range(len(shown)), yticklabels=labels, ylim=(len(shown) - 0.4, -0.6))
    for tick, row in zip(axes.get_yticklabels(), shown, strict=True):
        if row.get("sensitive"):
            tick.set_color(COLOURS["personal"])
    method = str(shown[0].get("method") or "permutation")
    permuted = method == "permutation"
    axes.set_xlabel(
        f"Drop in {metric} when the field's values are shuffled (bars: ± 1 standard error)"
        if permuted
        else f"Importance by {shorten(method)} (bars: ± 1 standard error)"
    )
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    axes.spines["left"].set_visible(False)
    handles = [_patch("kept", "kept", None), _patch("paper", "dropped", "////", "dropped")]
    if any(r.get("sensitive") for r in shown):
        handles.append(legend_mark("personal", "D", "personal attribute"))
    axes.legend(handles=handles, loc="lower right")
    tidy(axes)
    kept_count = sum(r.get("kept") is not False for r in ranked)
    best = shorten(shown[0].get("field"))
    text = f"{best} matters most; {kept_count} of {len(ranked)} fields are kept"
    titled(figure, text + (f" (the first {MOST} shown)" if len(ranked) > MOST else ""))
    return figure


def bring_back(report: Report) -> Figure:
    """Draw the AUC that bringing each cut unit back would gain, with the bytes it would cost."""
    rows = brought_back(report)[:MOST]
    figure = new_figure(WIDE, 1.4 + 0.3 * len(rows))
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        gain = number(row, "auc") or 0.0
        axes.barh(y, gain, height=0.62, color=COLOURS["kept" if gain > 0 else "dropped"])
        _margin_text(axes, y, f"{signed_text(gain)} for {bytes_text(row.get('bytes'))}")
    noise = seed_noise(report) or 0.0
    if noise:
        axes.axvspan(-noise, noise, color=COLOURS["full"], alpha=0.12, lw=0, zorder=0)
    labels = [f"{shorten(r.get('unit'), 12)} {shorten(r.get('name'))}" for r in rows]
    axes.set(yticks=range(len(rows)), yticklabels=labels, ylim=(len(rows) - 0.4, -0.6))
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    axes.spines["left"].set_visible(False)
    band = f" (band: another seed, ± {number_text(noise)})" if noise else ""
    axes.set_xlabel(f"AUC gained when the unit comes back{band}")
    tidy(axes)
    best = rows[0]
    gain = number(best, "auc") or 0.0
    titled(
        figure,
        f"Bringing {labels[0]} back gains most: {signed_text(gain)} for {bytes_text(best.get('bytes'))}"
        if gain > noise
        else "Bringing any of it back gains nothing"
        + (" beyond what another seed moves" if gain > 0 else ""),
    )
    return figure


def techniques(report: Report) -> Figure:
    """Draw each technique's difference to the full model, with its interval and its bytes."""
    rows = [r for r in records(report, "techniques") if number(r, "difference") is not None]
    rows.sort(key=lambda r: -(number(r, "difference") or 0.0))
    figure = new_figure(WIDE, 1.5 + 0.34 * len(rows))
    axes = figure.add_subplot()
    labels = [f"{shorten(r.get('technique'))}  ({bytes_text(r.get('bytes'))})" for r in rows]
    name = metric_name(str(at(report, "verdict", "metric") or "auc"))
    forest(axes, rows, labels, number(report, "verdict", "tolerance"))
    axes.set_xlabel(f"{name} minus the full model's, with 90 % interval (right is better)")
    best = rows[0]
    titled(
        figure,
        f"{shorten(best.get('technique'))} keeps most: {name} "
        f"{signed_text(best.get('difference'))} at {bytes_text(best.get('bytes'))}",
    )
    return figure


def forest(
    axes: Axes, rows: Sequence[Report], labels: Sequence[str], tolerance: float | None
) -> None:
    """Draw one difference and interval a row, the first on top, against the tolerance."""
    values = [0.0, *([-tolerance] if tolerance is not None else [])]
    for y, row in enumerate(rows):
        difference = number(row, "difference") or 0.0
        low, high = interval(row, "ci") or (difference, difference)
        colour, marker = OUTCOMES.get(str(row.get("outcome")), ("muted", "o"))
        axes.plot([low, high], [y, y], color=COLOURS[colour], lw=2.2, solid_capstyle="butt")
        axes.plot([difference], [y], marker, color=COLOURS[colour], ms=7)
        _margin_text(axes, y, signed_text(difference))
        values += [low, high, difference]
    left, right = _around(values)
    if tolerance is not None:
        _forbidden(axes, tolerance, left, right)
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    axes.set(xlim=(left, right), ylim=(len(rows) - 0.4, -0.6 if tolerance is None else -1.1))
    axes.set(yticks=range(len(rows)), yticklabels=labels)
    tidy(axes)


def ranking(report: Report) -> list[Report]:
    """Return the importance rows of the first method, the most important field first."""
    rows = [r for r in records(report, "importance") if number(r, "score") is not None]
    rows = [r for r in rows if r.get("method") == rows[0].get("method")]
    return sorted(rows, key=lambda r: -(number(r, "score") or 0.0))


def brought_back(report: Report) -> list[Report]:
    """Return what was cut with what it would cost to bring back, the largest gain first."""
    rows = [r for r in records(report, "cost_to_bring_back") if number(r, "auc") is not None]
    return sorted(rows, key=lambda r: -(number(r, "auc") or 0.0))


def byte_axis(axes: Axes, drawn: Sequence[tuple[float, float]]) -> str:
    """Scale the x-axis to sorted points' bytes, and return its label."""
    low, high = drawn[0][0], drawn[-1][0]
    axes.xaxis.set_major_formatter(lambda v, _: bytes_text(v))
    if high < 4 * low:
        margin = (high - low) * 0.08 or 0.1 * high
        axes.set_xlim(low - margin, high + margin)
        return "Stored bytes"
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda v, _: bytes_text(v))
    axes.xaxis.set_minor_formatter(lambda v, _: "")
    axes.set_xlim(low / 1.35, high * 1.35)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [m * 10.0**e for e in range(13) for m in steps]
    axes.set_xticks([t for t in ticks if low / 1.35 <= t <= high * 1.35])
    return "Stored bytes (logarithmic scale)"


def _forbidden(axes: Axes, tolerance: float, left: float, right: float) -> None:
    axes.axvspan(min(left, -tolerance), -tolerance, color=COLOURS["fail"], alpha=0.09, lw=0)
    axes.axvline(-tolerance, color=COLOURS["fail"], lw=1.3, ls="--")
    axes.axvline(0, color=COLOURS["muted"], lw=1)
    # The word goes to the side of the line that has the room.
    roomy = (right + tolerance) > (-tolerance - left)
    axes.annotate(
        f"tolerance −{number_text(tolerance)}",
        (-tolerance, 1.0),
        (4 if roomy else -4, -3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if roomy else "right",
        va="top",
        color=COLOURS["fail"],
        fontsize=8.5,
    )


def _margin_text(axes: Axes, y: float, text: str) -> None:
    """Write a figure beside the axes, level with its row."""
    axes.annotate(
        text,
        (1.0, y),
        (6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=9,
        annotation_clip=False,
    )


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.12 or 0.001
    return low - margin, high + margin


def _row(figure: Figure, count: int) -> list[Axes]:
    return [figure.add_subplot(1, count, i + 1) for i in range(count)]


def _patch(face: str, label: str, hatch: str | None, edge: str | None = None) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=COLOURS[face], edgecolor=COLOURS[edge or face], hatch=hatch, label=label)


def legend_mark(colour: str, marker: str, label: str, *, hollow: bool = False) -> Any:
    """Return a marker for a legend."""
    from matplotlib.lines import Line2D

    face = COLOURS["paper" if hollow else colour]
    return Line2D([], [], color=COLOURS[colour], mfc=face, marker=marker, ls="", ms=7, label=label)
