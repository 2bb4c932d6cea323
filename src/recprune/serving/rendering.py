"""The page as HTML: its template, its styles, and the policy that goes with them."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["HEADERS", "fill", "log_in_page", "notice_page"]

HERE = Path(__file__).parent
#: The report's look, and what a form needs beyond it.
STYLES = (HERE.parent / "report" / "page.css", HERE / "page.css")
CSS = "\n" + "".join(file.read_text("utf-8") for file in STYLES)
DIGEST = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
#: No script, nothing from elsewhere, no frame around it; styles are those of this hash alone.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{DIGEST}'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
]


def fill(name: str, **values: Any) -> bytes:
    """Return a page; every text is escaped, only the card comes as HTML.

    Args:
        name: of the template's part: ``"service"``, ``"log_in"`` or ``"notice"``.
        values: what it shows.
    """
    template = _environment().get_template("page.html.j2")
    return template.render(part=name, css=CSS, **values).encode()


def log_in_page(reason: str = "") -> bytes:
    """Return the form that asks for a key, and nothing else.

    Args:
        reason: why the last one was not good; empty = there was none.
    """
    return fill("log_in", reason=reason)


def notice_page(reason: str) -> bytes:
    """Return a page that tells why a request was refused."""
    return fill("notice", reason=reason)


@cache
def _environment() -> Environment:
    # Not before a page is asked for: a service of programs alone never needs it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
