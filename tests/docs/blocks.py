"""The fenced blocks of a page of Markdown, and which of them are not run, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["RUN", "SHOWN", "Block", "blocks_of", "exit_codes", "pages", "runnable"]

ROOT = Path(__file__).resolve().parents[2]
RUN = ("sh", "python")
# What a page shows and nobody types. Other names of a shell or of Python would evade the runner.
SHOWN = ("text", "toml", "json", "yaml", "ini", "sql", "diff", "floors", "side", "mermaid", "nginx")

_NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->", re.S)
_EXITS = re.compile(r"<!--\s*exit:\s*([\d, ]+?)\s*(?::.*?)?-->", re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its first line of code, language, and code.

    ``comment`` is the HTML comment in the line before it, or empty.
    """

    page: str
    line: int
    language: str
    code: str
    comment: str = ""

    @property
    def place(self) -> str:
        """Page and line, as editors open them."""
        return f"{self.page}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why it is not run; None = it is run, empty = it is not and nobody says why."""
        found = _NOT_RUN.fullmatch(self.comment)
        return None if found is None else found[1]


def exit_codes(block: Block) -> set[int]:
    """What a command of the block may end with beside 0: ``<!-- exit: 3: why -->`` before it."""
    found = _EXITS.fullmatch(block.comment)
    return {int(code) for code in re.findall(r"\d+", found[1])} if found else set()


def blocks_of(text: str, page: str) -> list[Block]:
    """All fenced blocks of a page's text, in its order, those within lists and quotes too."""
    found, before = [], None
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.map is not None:
            near = before is not None and before.map is not None and before.map[1] == token.map[0]
            comment = before.content.strip() if near and before is not None else ""
            language = token.info.strip()
            found.append(Block(page, token.map[0] + 2, language, token.content, comment))
        if token.type in ("html_block", "fence", "inline"):
            before = token if token.type == "html_block" else None
    return found


def runnable(blocks: list[Block]) -> list[Block]:
    """The blocks that are run."""
    return [block for block in blocks if block.language in RUN and block.reason is None]


def pages() -> dict[str, list[Block]]:
    """The pages that readers have and that show code, by their path from the root, with blocks."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    names = sorted(path.relative_to(ROOT).as_posix() for path in paths)
    found = {name: blocks_of((ROOT / name).read_text("utf-8"), name) for name in names}
    return {name: blocks for name, blocks in found.items() if blocks}
