"""The front: every trial by size (or latency) and quality, the chosen one, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recprune.report.facts import number
from recprune.report.plots_cuts import byte_axis, legend_mark
from recprune.report.style import COLOURS, OUTCOMES, WIDE, new_figure, tidy, titled
from recprune.report.trials import (
    Point,
    latency_points,
    latency_rows,
    metric_of,
    points,
    seed_noise,
)
from recprune.report.wording import bytes_text, count_text, micro_text, number_text, signed_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["front", "front_latency"]

Report = Mapping[str, Any]
#: What lies more tolerances below the full model than this is drawn at the lower edge.
DEEPEST = 5
#: Colour, marker and size by kind of model; a trial's colour and marker are its outcome's.
_SIDE = ((8.0, 0.0), "left", "center")
MOST_NAMED = 12
LOOKS = {"baseline": ("personal", "s", 6), "full": ("full", "s", 8), "pruned": ("pruned", "*", 15)}


def front(report: Report) -> Figure:
    """Draw quality against bytes.

    Args:
        report: ``search.trials``, ``baselines``, ``seed_noise``; see
            :func:`recprune.report.trials.points`.
    """
    found = points(report)
    figure = new_figure(WIDE, 4.6)
    axes = figure.add_subplot()
    places = [(p.bytes, p.difference) for p in found]
    limit = number(report, "search", "budget", "bytes") or number(report, "baselines", "budget")
    ends = [*places, *([(limit, 0.0)] if limit else [])]
    axes.set_xlabel(byte_axis(axes, sorted(ends)))
    _draw(axes, report, found, [p.bytes for p in found])
    if limit:
        _limit(axes, limit, f"budget {bytes_text(limit)}")
    titled(figure, _title(report, found))
    return figure


def front_latency(report: Report) -> Figure:
    """Draw quality against the latency of one answer, for the trials that have one."""
    found = latency_points(report)
    figure = new_figure(WIDE, 3.6)
    axes = figure.add_subplot()
    times = [p.latency_us or 0.0 for p in found]
    limit = number(report, "search", "budget", "latency_us")
    ends = [*times, *([limit] if limit else [])]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.06 or 0.1 * high
    axes.set_xlim(max(0.0, low - margin), high + margin)
    axes.xaxis.set_major_formatter(lambda v, _: micro_text(v))
    rows = latency_rows(report)
    axes.set_xlabel(f"Latency of an answer of {count_text(rows)} row{'s' * (rows > 1)}")
    _draw(axes, report, found, times)
    if limit:
        _limit(axes, limit, f"budget {micro_text(limit)}")
    chosen = next((p for p in found if p.chosen), None)
    text = "Quality against latency"
    titled(figure, text if chosen is None else f"{text}: chosen at {micro_text(chosen.latency_us)}")
    return figure


def _draw(axes: Axes, report: Report, found: Sequence[Point], across: Sequence[float]) -> None:
    tolerance = number(report, "verdict", "tolerance")
    noise = seed_noise(report)
    floor = -DEEPEST * tolerance if tolerance else min(p.difference for p in found)
    heights = [max(p.difference, floor) for p in found]
    if noise:
        axes.axhspan(-noise, noise, color=COLOURS["full"], alpha=0.12, lw=0, zorder=0)
    front = [(x, y) for x, y, p in zip(across, heights, found, strict=True) if p.on_front]
    stairs = _stairs(front)
    if len(stairs) > 1:
        axes.plot(
            *zip(*stairs, strict=True),
            color=COLOURS["muted"], lw=1.2, zorder=1, drawstyle="steps-post",
        )  # fmt: skip
    for index, (x, y, point) in enumerate(zip(across, heights, found, strict=True)):
        _mark(axes, x, y, point, index, below=point.difference < floor)
    axes.axhline(0, color=COLOURS["muted"], lw=1, zorder=0)
    lows = [p.ci[0] for p in found if p.ci and p.ci[0] >= floor]
    highs = [p.ci[1] for p in found if p.ci]
    bottom, top = min([*heights, *lows, -(tolerance or 0.0), 0.0]), max([*heights, *highs, 0.0])
    margin = (top - bottom) * 0.09 or 0.001
    bottom, top = bottom - margin, top + margin
    if tolerance is not None:
        bottom = min(bottom, -tolerance * 1.6)
        axes.axhspan(bottom, -tolerance, color=COLOURS["fail"], alpha=0.09, lw=0, zorder=0)
        axes.axhline(-tolerance, color=COLOURS["fail"], lw=1.3, ls="--", zorder=1)
    axes.set_ylim(bottom, top)
    _names(axes, list(zip(across, heights, found, strict=True)))
    axes.set_ylabel(f"{metric_of(report)} minus the full model's")
    _legend(axes, found, tolerance, noise)
    tidy(axes, "y")


def _mark(axes: Axes, x: float, y: float, point: Point, index: int, *, below: bool) -> None:
    colour, marker, size = LOOKS.get(point.kind, ("muted", "o", 7))
    if point.outcome in OUTCOMES:
        colour, marker = OUTCOMES[point.outcome]
    if below:
        marker = "v"
    shade = COLOURS[colour]
    if point.ci is not None and not below:
        axes.plot([x, x], point.ci, color=shade, lw=1.4, solid_capstyle="butt", zorder=2, alpha=0.6)
    face = shade if point.filled else COLOURS["paper"]
    axes.plot(
        [x], [y], marker, color=shade, mfc=face, ms=size, mew=1.4, zorder=3, gid=f"tip-{index}"
    )
    if point.chosen and point.kind != "pruned":
        axes.plot([x], [y], "o", mfc="none", mec=COLOURS["ink"], mew=2, ms=16, zorder=4)


def _names(axes: Axes, drawn: Sequence[tuple[float, float, Point]]) -> None:
    """Name the chosen one, all that are no trials, and the trials where they are few."""
    trials = sum(p.kind == "trial" for *_, p in drawn)
    below, figure = float("inf"), axes.get_figure(root=True)
    assert figure is not None
    for x, y, point in sorted(drawn, key=lambda d: -d[1]):
        place, side, height = ((0.0, 12.0), "center", "bottom") if point.chosen else _SIDE
        text = "chosen" if point.chosen and point.kind == "trial" else point.label
        if point.kind == "trial" and not point.chosen and trials > MOST_NAMED:
            continue
        if point.difference < y:
            text += f" {signed_text(point.difference)}"
        along = (axes.transData + axes.transAxes.inverted()).transform((x, y))[0]
        if not point.chosen and along > 0.8:  # no room on the right
            place, side = (-8.0, 0.0), "right"
        if point.kind == "baseline" and not point.filled:
            # Among the trials: its name goes below, where none of them is as large and as poor.
            place, side, height = (0.0, -9.0), "center", "top"
        elif point.kind == "baseline":
            # Baselines lie at about the same bytes: a name goes below the one above it.
            level = float(axes.transData.transform((x, y))[1]) * 72 / figure.dpi
            below = min(level, below - 11)
            place = (place[0], below - level)
        axes.annotate(
            text, (x, y), place, textcoords="offset points", ha=side, va=height, fontsize=9,
            fontweight="bold" if point.chosen else "normal", zorder=5,
            bbox={"fc": COLOURS["paper"], "ec": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip


def _stairs(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other beats in both of the chart's axes, from the left."""
    best, kept = -float("inf"), list[tuple[float, float]]()
    for x, y in sorted(found, key=lambda p: (p[0], -p[1])):
        if y > best:
            best = y
            kept.append((x, y))
    return kept


def _limit(axes: Axes, limit: float, text: str) -> None:
    axes.axvline(limit, color=COLOURS["ink"], lw=1.2, ls=":", zorder=0)
    axes.annotate(
        text, (limit, 1.0), (4, -3), xycoords=axes.get_xaxis_transform(),
        textcoords="offset points", ha="left", va="top", fontsize=8.5,
    )  # fmt: skip


def _legend(
    axes: Axes, found: Sequence[Point], tolerance: float | None, noise: float | None
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    known = {p.outcome for p in found}
    marks: list[Any] = [
        legend_mark(*OUTCOMES[k], k) for k in ("PASS", "INCONCLUSIVE", "FAIL") if k in known
    ]
    if any(p.kind == "trial" and not p.filled for p in found):
        marks.append(legend_mark("muted", "o", "tune rows only", hollow=True))
    if any(p.kind == "baseline" for p in found):
        marks.append(legend_mark("personal", "s", "baseline"))
    if tolerance is not None:
        text = f"tolerance −{number_text(tolerance)}"
        marks.append(Line2D([], [], color=COLOURS["fail"], lw=1.3, ls="--", label=text))
    if noise:
        text = f"another seed: ± {number_text(noise)}"
        marks.append(Patch(color=COLOURS["full"], alpha=0.25, lw=0, label=text))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(
        handles=marks, loc="outside lower left", ncols=len(marks), columnspacing=1.6, fontsize=8.5
    )


def _title(report: Report, found: Sequence[Point]) -> str:
    chosen = next((p for p in found if p.chosen), None)
    name = metric_of(report)
    if chosen is None:
        unchosen = "" if any(p.kind == "model" for p in found) else "; nothing was chosen"
        return f"{name} against bytes{unchosen}"
    text = f"Chosen: {bytes_text(chosen.bytes)}, {name} {signed_text(chosen.difference)} against the full model"
    fitting = [p for p in found if p.kind == "baseline" and p.filled]
    if fitting:
        best = max(fitting, key=lambda p: p.difference)
        text += f"; best baseline {signed_text(best.difference)}"
    return text
