"""Checks links: of the Markdown files as a code host shows them, and of the built site.

``python -m tools.site.links build/site`` prints every link that leads nowhere and exits with 1 if
there is one. Links to other sites are checked for their form alone: nothing is fetched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pymdownx.slugs import slugify

from tools.site.hooks import GENERATED, OF_ROOT, ROOT

__all__ = ["broken_in_markdown", "broken_in_site", "pages_of_repository"]

PARSER = MarkdownIt("commonmark").enable("table")
SLUG = slugify(case="lower")
#: Pages that are written for the site alone, and may link to what is generated there.
FOR_SITE = ROOT / "docs" / "reference"


class Page(NamedTuple):
    """What a page offers to links, and where its own go."""

    anchors: frozenset[str]
    links: tuple[str, ...]


def main() -> int:
    """Check the repository's pages and the site in the folder that is named."""
    broken = [*broken_in_markdown(pages_of_repository()), *broken_in_site(Path(sys.argv[1]))]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def pages_of_repository() -> dict[Path, str]:
    """Return the text of all Markdown files of the documentation, those of the root included."""
    of_root = [file for file in map(ROOT.joinpath, OF_ROOT) if file.is_file()]
    return {file: file.read_text("utf-8") for file in (*of_root, *ROOT.glob("docs/**/*.md"))}


def broken_in_markdown(pages: Mapping[Path, str]) -> list[str]:
    """Return a line for each link of Markdown files that leads nowhere in the repository.

    Args:
        pages: the text of each file; headings of other files are not looked for.
    """
    known = {page: _of_markdown(text) for page, text in pages.items()}
    generated = {(ROOT / "docs" / name).resolve() for name in GENERATED}

    def is_there(page: Path, target: Path) -> bool:
        written_later = page.is_relative_to(FOR_SITE) and target in generated
        return target in known or target.exists() or written_later

    return _broken(known, ROOT, _target, is_there, "heading")


def broken_in_site(site: Path) -> list[str]:
    """Return a line for each link or file of a built site that leads nowhere within it."""
    site = site.resolve()
    known = {page: _of_html(page.read_text("utf-8")) for page in sorted(site.rglob("*.html"))}

    def target_of(page: Path, link: str) -> tuple[Path | None, str]:
        # The page of errors is shown at any address, so that its links begin at the root.
        base = site / "index.html" if link.startswith("/") else page
        target, anchor = _target(base, link.lstrip("/") or ".")
        return target / "index.html" if target and target.is_dir() else target, anchor

    def is_there(page: Path, target: Path) -> bool:
        return target.is_relative_to(site) and target.is_file()

    return _broken(known, site, target_of, is_there, "place")


def _broken(
    known: Mapping[Path, Page],
    root: Path,
    target_of: Callable[[Path, str], tuple[Path | None, str]],
    is_there: Callable[[Path, Path], bool],
    place: str,
) -> list[str]:
    """Return a line for each link that leads nowhere.

    Args:
        known: the pages.
        root: of the paths in the lines.
        target_of: from a page and its link to a file and a place in it; see :func:`_target`.
        is_there: whether a page may lead to a file.
        place: what a link's fragment names.
    """
    broken = []
    for page, (_, links) in known.items():
        for link in links:
            target, anchor = target_of(page, link)
            if target is None:
                why = _wrong_form(link)
            elif not is_there(page, target):
                why = "there is no such file"
            elif anchor and target in known and anchor not in known[target].anchors:
                why = f"the page has no such {place}"
            else:
                why = ""
            broken += [f"{page.relative_to(root)}: {link}: {why}"] if why else []
    return broken


def _target(page: Path, link: str) -> tuple[Path | None, str]:
    """Return the file that a link of a page means, and the place in it; None = another site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None, ""
    file = page.parent / unquote(parts.path) if parts.path else page
    return file.resolve(), unquote(parts.fragment)


def _wrong_form(link: str) -> str:
    parts = urlsplit(link)
    if parts.scheme == "mailto" or (parts.scheme in ("http", "https") and "." in parts.netloc):
        return ""
    return "" if parts.hostname in ("127.0.0.1", "localhost") else "this is no address"


def _of_markdown(text: str) -> Page:
    tokens = PARSER.parse(text)
    anchors: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(t.content for t in tokens[at + 1].children or () if t.type != "image")
            slug = SLUG(words, "-")
            anchors[slug] = anchors.get(slug, -1) + 1
    all_of = {
        f"{slug}-{n}" if n else slug for slug, times in anchors.items() for n in range(times + 1)
    }
    return Page(frozenset(all_of), tuple(_links(tokens)))


def _links(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        for name in ("href", "src"):
            if token.type in ("link_open", "image") and name in token.attrs:
                yield str(token.attrs[name])
        yield from _links(token.children or ())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors, self.links = set[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def _of_html(text: str) -> Page:
    reader = _Reader()
    reader.feed(text)
    return Page(frozenset(reader.anchors), tuple(dict.fromkeys(reader.links)))


if __name__ == "__main__":
    sys.exit(main())
