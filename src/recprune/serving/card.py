"""The model card's Markdown as HTML, as if a stranger had written it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["card_html"]

#: What could lead away from the page, or bring something into it.
LEFT_OUT = ("link", "image", "autolink", "reference", "html_block", "html_inline")
#: The card's own title stands below two headings of the page.
DEEPER = 2
#: Characters of a card that are shown.
LONGEST = 100_000


def card_html(text: str) -> str:
    """Return CommonMark with tables as HTML; HTML within is shown as text, links are not followed.

    >>> card_html("# A <script>").strip()
    '<h3>A &lt;script&gt;</h3>'
    >>> card_html("[x](javascript:alert)").strip()
    '<p>[x](javascript:alert)</p>'
    """
    html: str = _reader().render(text[:LONGEST])
    return html


@cache
def _reader() -> MarkdownIt:
    # Not before a page is asked for: a service of programs alone never needs it.
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(LEFT_OUT))
    reader.core.ruler.push("fitted", _fitted)
    reader.add_render_rule("table_open", _scrolled("<table>"))
    reader.add_render_rule("table_close", lambda *_: "</table></div>\n")
    reader.add_render_rule("fence", _code)
    reader.add_render_rule("code_block", _code)
    return reader


def _fitted(state: Any) -> None:
    """Put headings below those of the page, and what is an attribute ``style`` into a class."""
    tokens = state.tokens
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + DEEPER, 6)}"
        elif token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if "right" in style:
                token.attrs["class"] = "number"
            if not tokens[place + 1].content:
                # A heading without a word is none.
                token.tag = tokens[place + 2].tag = "td"


def _scrolled(tag: str) -> Any:
    def rule(*_: Any) -> str:
        return f'<div class="scroll" role="region" aria-label="Figures" tabindex="0">{tag}\n'

    return rule


def _code(renderer: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    from markdown_it.common.utils import escapeHtml

    return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'
