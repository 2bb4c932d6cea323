"""The template, filled: one HTML file with its styles, its pictures and its script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recprune._support import require
from recprune.report.blocks import Section
from recprune.report.style import Picture

__all__ = ["Top", "fill"]

_HERE = Path(__file__).parent
_MARKS = {"PASS": ("pass", "✓"), "FAIL": ("fail", "✕"), "INCONCLUSIVE": ("open", "?")}
_LOOKS = {"PASS": "pass", "ok": "pass", "FAIL": "fail", "alarm": "fail", "error": "fail"}


@dataclass(frozen=True)
class Top:
    """What a reader sees without scrolling.

    Args:
        name: the page's heading.
        outcome: the verdict in a word or two.
        headline: the verdict in one plain sentence.
        meaning: how it follows from the figures.
        points: what else was promised, and whether it is held.
        reasons: what limits the verdict.
        picture: of the verdict.
        tiles: (what, figure, detail).
        label: the column that the models predict.
        version: of recprune.
    """

    name: str
    outcome: str
    headline: str
    meaning: str
    points: Sequence[str] = ()
    reasons: Sequence[str] = ()
    picture: Picture | None = None
    tiles: Sequence[tuple[str, str, str]] = ()
    label: str = ""
    version: str = ""


def fill(top: Top, sections: Sequence[Section]) -> str:
    """Return the page. Every text is escaped; only the pictures' SVG goes in as it is.

    Raises:
        MissingExtra: Jinja2 is not installed.
    """
    jinja2 = require("jinja2", "train")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    look, mark = _MARKS.get(top.outcome, ("open", ""))
    # Between the tags, to the letter: the policy allows the script by this hash alone.
    script = "\n" + (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = environment.get_template("page.html.j2").render(
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        digest=digest,
        top=top,
        look=look,
        mark=mark,
        looks=_LOOKS,
        sections=sections,
    )
    return page
