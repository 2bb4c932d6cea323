"""The chart of the page: ratios against a peer, with their aims."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._catalog import benchmarks

__all__ = ["draw", "drawn"]

REACHED, BELOW = "#1b7837", "#b2182b"


def drawn(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, float, float]]:
    """Return what the chart shows: claim, peer, ratio and the least that is aimed at.

    Claims that aim at being no slower, which are many, are left to the tables.
    """
    rows = []
    for name, result in results.items():
        for claim in result["claims"]:
            family = benchmarks()[name].family(claim["id"])
            aim = family.aim_for(claim)
            if claim["unit"] != "ratio" or not claim["peer"] or not aim or family.holds:
                continue
            sign, least = family.limit(aim)
            if sign == ">=" and least != 1:
                rows.append((claim["id"], claim["peer"], claim["value"], least))
    return rows


def draw(results: Mapping[str, Mapping[str, Any]], file: Path) -> bool:
    """Draw the chart; return whether there is anything to draw. Without, an old chart goes."""
    rows = drawn(results)
    if not rows:
        file.unlink(missing_ok=True)
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.8 + 0.28 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (_, _, ratio, aim) in enumerate(reversed(rows)):
        colour = REACHED if ratio >= aim else BELOW
        # On this scale there is no 0.
        end = max(ratio, 0.1)
        axis.plot([1, end], [place, place], color=colour, lw=3, alpha=0.4)
        axis.plot(end, place, "o" if ratio >= aim else "X", color=colour, ms=7)
        axis.plot(aim, place, "|", color="black", ms=13)
        axis.annotate(
            f"{ratio:.3g}×", (max(ratio, aim, 1), place), (8, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    labels = [f"{claim}  ({peer})" for claim, peer, _, _ in reversed(rows)]
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    axis.set(xscale="log", xlabel="times better than the peer; | the aim")
    axis.margins(x=0.12)
    axis.axvline(1, color="grey", lw=1)
    figure.savefig(file, dpi=100, metadata={"Software": None})
    return True
