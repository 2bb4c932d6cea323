"""How every picture looks, and how a figure becomes PNG bytes and inline SVG, byte for byte alike.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; what a colour says, a
marker or a word says too. In the page each colour becomes a CSS variable, so that one SVG serves
the light and the dark page.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recprune._support import require
from recprune.report.wording import clean, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "HALF",
    "OUTCOMES",
    "WIDE",
    "Picture",
    "new_figure",
    "picture",
    "styled",
    "tidy",
    "titled",
]

COLOURS = {
    "ink": "#1b2430",
    "muted": "#596673",
    "grid": "#dde3e9",
    "paper": "#fefefe",
    "full": "#0072b2",
    "pruned": "#d55e00",
    "kept": "#00795a",
    "dropped": "#98a2ad",
    "personal": "#a8457f",
    "pass": "#00785b",
    "fail": "#b3261f",
    "open": "#8a5b01",
}
OUTCOMES = {
    "PASS": ("pass", "o"),
    "ok": ("pass", "o"),
    "FAIL": ("fail", "X"),
    "alarm": ("fail", "X"),
    "INCONCLUSIVE": ("open", "D"),
    "undecided": ("open", "D"),
}
WIDE, HALF = 10.4, 5.3  # inches at 96 px: the page's column, and half of it

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    # A dollar sign in a field's name is a dollar sign, not mathematics.
    "text.parse_math": False,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "figure.dpi": 96,
    "svg.fonttype": "none",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Picture:
    """One figure, rendered.

    Args:
        name: the PNG's file name without its ending.
        title: the finding, one line.
        alt: what the picture shows, in words, for a reader who cannot see it.
        png: the picture on white.
        svg: the picture for a page: one ``<svg>`` element on a transparent ground, without the title,
            which the page sets in type of its own.
        wide: takes the page's whole width.
    """

    name: str
    title: str
    alt: str
    png: bytes = field(repr=False)
    svg: str = field(repr=False)
    wide: bool = True

    @property
    def pointed(self) -> bool:
        """Whether it has marks that a pointer or the keyboard can ask what they are."""
        return self.svg.startswith('<svg role="group"')


@contextmanager
def styled() -> Iterator[None]:
    """Draw with this module's settings, and give the caller's back afterwards."""
    matplotlib = require("matplotlib", "train")
    with warnings.catch_warnings(), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        # A name in a script that the font lacks is drawn as boxes in the PNG, and right in the page.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in inches, outside pyplot's global list."""
    figure: Figure = require("matplotlib.figure", "train").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure


def titled(figure: Figure, text: str) -> None:
    """Put the finding above the whole figure, at its left edge."""
    figure.suptitle(shorten(text, 150), x=0.008, ha="left", fontsize=11, fontweight="bold").set_gid(
        "title"
    )


def tidy(axes: Axes, axis: str = "x") -> None:
    """Grid along one axis, and no tick marks."""
    axes.grid(True, axis="x" if axis == "x" else "y")
    axes.tick_params(length=0)


def picture(
    name: str,
    draw: Callable[[], Figure],
    *,
    alt: str,
    tips: Mapping[str, Sequence[str]] | None = None,
    start: str = "",
) -> Picture:
    """Render what ``draw`` draws.

    Args:
        name: file name without ending; also keeps the SVG's ids apart within a page.
        draw: returns a new figure; it runs in :func:`styled`.
        alt: the description for readers who cannot see the picture.
        tips: an artist's gid → the lines that a pointer over it, or the keyboard, shows (in the
            page only).
        start: the gid that the keyboard reaches first.
    """
    with styled():
        matplotlib = require("matplotlib", "train")
        matplotlib.rcParams["svg.hashsalt"] = f"recprune-{name}"
        figure = draw()
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=144, facecolor="white", metadata={"Software": None})
        # Laying out is the slow half of drawing, and the places found hold for the SVG too.
        figure.set_layout_engine("none")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        title, high = figure.get_suptitle(), _behead(figure)
        figure.savefig(svg, format="svg", facecolor="none", metadata=nothing)
    wide = bool(figure.get_figwidth() > HALF + 1)
    inline = _inline(_cropped(svg.getvalue(), high), name, clean(alt), tips or {}, start)
    return Picture(name, title, clean(alt), png.getvalue(), inline, wide)


def _behead(figure: Figure) -> float:
    """Hide the title, and return how many points from the top are empty then."""
    for text in figure.texts:
        if text.get_gid() == "title":
            lower = float(text.get_window_extent().y0)
            text.set_visible(False)
            return (float(figure.bbox.height) - lower) * 72 / float(figure.dpi)
    return 0.0


def _cropped(svg: str, high: float) -> str:
    """Return the SVG document without its uppermost points."""

    def crop(found: re.Match[str]) -> str:
        width, height = found[1], float(found[2])
        left = f"{height - high:.6g}"
        return f'width="{width}pt" height="{left}pt" viewBox="0 {high:.6g} {width} {left}"'

    return re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="[^"]*"', crop, svg, count=1)


def _inline(svg: str, name: str, alt: str, tips: Mapping[str, Sequence[str]], start: str) -> str:
    """Turn an SVG document into one element that lives in a page beside others."""
    svg = svg[svg.index("<svg") :]
    # The style block would apply to the whole page; page.css holds its one rule.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    # Only within tags: the text between them is the user's, whatever it looks like.
    svg = re.sub(r"<[^>]*>", lambda tag: _own_names(tag[0], name), svg)
    for gid, lines in tips.items():
        said, shown = html.escape("; ".join(lines)), html.escape("\n".join(lines))
        opening, reach = f'<g id="{name}-{gid}"', 0 if gid == start else -1
        pointed = f'{opening} class="point" role="img" tabindex="{reach}" aria-label="{said}">'
        svg = svg.replace(f"{opening}>", f"{pointed}<title>{shown}</title>")
    # What an image holds is hidden from readers' aids; a chart's marks are not.
    role, label = "group" if tips else "img", html.escape(alt)
    return svg.replace("<svg", f'<svg role="{role}" aria-label="{label}"', 1).strip()


def _own_names(tag: str, name: str) -> str:
    tag = re.sub(r' xmlns(:\w+)?="[^"]*"', "", tag)
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'xlink:href="#', f'href="#{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    for colour, value in COLOURS.items():
        tag = tag.replace(value, f"var(--c-{colour})")
    return tag
