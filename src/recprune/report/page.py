"""``report.html``: one file that works offline, and its pictures as PNG beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recprune.folders import file_written_whole
from recprune.report.facts import at, fields_of, headline, latencies, meaning, number
from recprune.report.filling import Top, fill
from recprune.report.plots import pictures
from recprune.report.sections import sections
from recprune.report.style import Picture
from recprune.report.trials import budget_lines
from recprune.report.wording import (
    MISSING,
    bytes_text,
    clean,
    count_text,
    factor_text,
    interval_text,
    metric_name,
    micro_text,
    signed_text,
)

__all__ = ["render_page", "write_minimisation", "write_report"]

Report = Mapping[str, Any]


def write_report(folder: Path, report: Report) -> Path:
    """Write ``report.html`` and ``plots/NAME.png`` into an existing folder; return the page's path.

    Args:
        folder: the run's folder. Files of the same names are replaced.
        report: the report dictionary. Nulls and empty lists leave their part of the page out.

    Raises:
        MissingExtra: matplotlib or Jinja2 is not installed.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    made = pictures(report)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, drawn in made.items():
        (folder / "plots" / f"{name}.png").write_bytes(drawn.png)
    page = folder / "report.html"
    page.write_text(render_page(report, made), encoding="utf-8", newline="\n")
    return page


def write_minimisation(path: Path, found: Report, name: str = "") -> Path:
    """Write what :func:`recprune.minimise` found as a page (.html) or as its picture (.png).

    Args:
        path: the file, whole or not at all; replaced if it is there. Folders on the way are made.
        found: as :meth:`recprune.pipeline.Minimisation.to_json` gives it.
        name: of the data, for the page's head.

    Raises:
        MissingExtra: matplotlib or Jinja2 is not installed.
        InputError: the file cannot be written.
    """
    path, verdict = Path(path), at(found, "joint", "verdict")
    report: dict[str, Any] = {"dataset": {"name": name}, "verdict": verdict, "minimisation": found}
    made = pictures(report)
    with file_written_whole(path) as file:
        if path.suffix == ".png":
            file.write_bytes(made["minimisation"].png)
        else:
            file.write_text(render_page(report, made), encoding="utf-8", newline="\n")
    return path


def render_page(report: Report, made: Mapping[str, Picture] | None = None) -> str:
    """Return the page as HTML that loads nothing: styles, pictures and a little script are in it.

    Every value from the report is escaped; a Content-Security-Policy forbids the page all requests
    and every script but that one. Without it the page lacks the front's pointer, and nothing else.
    """
    made = pictures(report) if made is None else made
    data = at(report, "dataset")
    return fill(
        Top(
            version=clean(at(report, "recprune") or ""),
            name=clean(at(data, "name") or "Pruning report"),
            label=clean(at(data, "label") or ""),
            outcome=clean(at(report, "verdict", "outcome") or "NO VERDICT"),
            headline=headline(report),
            meaning=meaning(report),
            points=budget_lines(report),
            reasons=_reasons(report),
            picture=made.get("verdict"),
            tiles=_tiles(report),
        ),
        sections(report, made),
    )


def _reasons(report: Report) -> list[str]:
    """Return what limits the verdict: its own reasons, and how often the rows were used."""
    reasons = [clean(reason) for reason in at(report, "verdict", "reasons") or ()]
    if (uses := number(report, "verdict", "test_uses") or 0) > 1:
        reasons.append(
            f"These test rows have been used for {uses:.0f} verdicts. Each use after the first makes "
            "a PASS easier to get by chance."
        )
    return reasons


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return (what, figure, detail) for the four figures that a reader asks for first."""
    tiles = []
    name = metric_name(str(at(report, "verdict", "metric") or "auc"))
    if (difference := number(report, "verdict", "difference")) is not None:
        detail = interval_text(at(report, "verdict", "ci"))
        tiles.append((f"{name} change", signed_text(difference), detail))
    a, b = at(report, "full", "bytes"), at(report, "pruned", "bytes")
    size = factor_text(a, b, less="smaller", more="larger")
    if size != MISSING:
        tiles.append(("Size", size, f"{bytes_text(a)} → {bytes_text(b)}"))
    for batch, x, y in latencies(report)[:1]:
        speed = factor_text(x, y, less="faster", more="slower")
        if speed != MISSING:
            label = "Speed, one row" if batch == 1 else f"Speed, {count_text(batch)} rows"
            tiles.append((label, speed, f"{micro_text(x)} → {micro_text(y)}"))
    fields = fields_of(report)
    total = len(fields.kept) + len(fields.dropped)
    if total:
        gone = len(fields.personal_dropped)
        detail = f"{count_text(gone)} personal dropped" if gone else "no personal one dropped"
        tiles.append(("Fields kept", f"{len(fields.kept)} of {total}", detail))
    return tiles
