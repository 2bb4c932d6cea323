"""What MkDocs does beside Markdown: generated pages, pages of the root, links that leave ``docs/``.

Pages are written as they are read on a code host, with relative links. On the site, README.md and
its like are pages beside those of ``docs/``, other files of the repository that are linked to lie
under ``files/``, and links are turned to them; a link to nowhere is left as it is, and MkDocs warns.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # where mkdocs was started as a program, and not by python -m
    sys.path.insert(0, str(ROOT))

from tools.site import cli_page, config_page, http_page, schema_page  # noqa: E402

#: Page of the site → what writes it when the site is built.
GENERATED: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli_page.render,
    "reference/config.md": config_page.render,
    "reference/http.md": http_page.render,
    "reference/schema.md": schema_page.render,
}
#: File of the root → page of the site.
OF_ROOT = {
    "README.md": "readme.md",
    "README.zh-CN.md": "readme.zh-CN.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
FENCE = re.compile(r"^( *)(`{3,}|~{3,})")
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


# Before plug-ins that look at the files there are.
@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, those of the root, and files that pages link to."""
    for name, write in GENERATED.items():
        files.append(File.generated(config, name, content=write()))
    for source, name in OF_ROOT.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, name, content=(ROOT / source).read_text("utf-8")))
    for page in files.documentation_pages():
        for place in sorted(linked(page.content_string, folder_of(page.src_uri))):
            target, kept = place_on_site(place), files.get_file_from_path(place_on_site(place))
            if target.startswith("files/") and kept is None and (ROOT / place).is_file():
                files.append(File.generated(config, target, abs_src_path=str(ROOT / place)))
    nav = config.nav or []
    config.nav = expanded(nav, {p.src_uri for p in files.documentation_pages()} - named(nav))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the page's links to where their targets are on the site."""
    return turned(markdown, page.file.src_uri, lambda to: files.get_file_from_path(to) is not None)


def turned(markdown: str, page: str, is_there: Callable[[str], bool]) -> str:
    """Return a page's text with its links as they are on the site.

    Args:
        markdown: the text.
        page: its place on the site.
        is_there: whether the site has a file; links to others stay as they are.
    """
    here, at = folder_of(page), posixpath.dirname(page) or "."

    def link_on_site(link: re.Match[str]) -> str:
        target = place_on_site(posixpath.normpath(posixpath.join(here, link[2])))
        return link[1] + posixpath.relpath(target, at) + link[3] if is_there(target) else link[0]

    lines = lines_of_text(markdown)
    return "\n".join(LINK.sub(link_on_site, line) if is_text else line for line, is_text in lines)


def named(nav: Any) -> set[str]:
    """Return the pages that a navigation names."""
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav or ()
    return set().union(*map(named, parts))


def expanded(nav: list[Any], pages: set[str]) -> list[Any]:
    """Return a navigation with patterns replaced by those of the pages that they fit, by name."""
    found: list[Any] = []
    for part in nav:
        if isinstance(part, dict):
            inner = {
                title: expanded(v, pages) if isinstance(v, list) else v for title, v in part.items()
            }
            found += [{title: value} for title, value in inner.items() if value]
        elif "*" in part:
            found += sorted(page for page in pages if _fits(page, part))
        else:
            found.append(part)
    return found


def _fits(page: str, pattern: str) -> bool:
    return bool(re.fullmatch("[^/]*".join(map(re.escape, pattern.split("*"))), page))


def linked(markdown: str, folder: str) -> set[str]:
    """Return what a page in a folder of the repository links to, as places in the repository."""
    text = "\n".join(line for line, is_text in lines_of_text(markdown) if is_text)
    return {posixpath.normpath(posixpath.join(folder, link[2])) for link in LINK.finditer(text)}


def folder_of(page: str) -> str:
    """Return the folder of the repository that a page of the site is written in."""
    return "" if page in OF_ROOT.values() else posixpath.join("docs", posixpath.dirname(page))


def place_on_site(place: str) -> str:
    """Return where a place in the repository is on the site: ``docs/format.md`` is ``format.md``."""
    if place in OF_ROOT:
        return OF_ROOT[place]
    return place.removeprefix("docs/") if place.startswith("docs/") else f"files/{place}"


def lines_of_text(markdown: str) -> list[tuple[str, bool]]:
    """Return the lines of a page, and of each whether it is text, not in a fenced block."""
    lines, fence = [], ""
    for line in markdown.split("\n"):
        found = FENCE.match(line)
        is_text = not fence and not found
        if found and not fence:
            fence = found[2]
        elif found and line.strip() == fence:
            fence = ""
        lines.append((line, is_text))
    return lines
