"""The site of the documentation: what is on it, where its links go, and that it builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import griffe
import pytest
from mkdocs.utils.yaml import get_yaml_loader, yaml_load
from tools.site import cli_page, config_page, hooks, http_page, schema_page
from tools.site.links import broken_in_markdown, broken_in_site, pages_of_repository
from tools.site.meanings import package
from tools.site.roles import shown
from typer.main import get_command

import recprune
from recprune.cli import app
from recprune.data.spec import FIELD_KEYS, KEYS
from recprune.pipeline import RunConfig
from recprune.serving.app import RULES
from recprune.serving.doorway import PAGES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
QUIET = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}


def pages_of_site() -> set[str]:
    own = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    return own | set(hooks.GENERATED) | {p for f, p in hooks.OF_ROOT.items() if (ROOT / f).exists()}


def headings(page: str) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", page, re.MULTILINE))


def first_cells(page: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


class TestNavigation:
    def test_names_every_page(self) -> None:
        nav = yaml_load(ROOT.joinpath("mkdocs.yml").read_text("utf-8"), get_yaml_loader())["nav"]
        left = pages_of_site() - hooks.named(nav)
        assert hooks.named(hooks.expanded(nav, left)) == pages_of_site()

    def test_patterns_take_what_is_not_named_and_stay_in_their_folder(self) -> None:
        nav = [{"A": ["a.md", "how/*.md"]}, {"B": ["b*.md"]}, {"C": ["c*.md"]}]
        found = hooks.expanded(nav, {"how/2.md", "how/1.md", "how/deep/3.md", "b.md"})
        assert found == [{"A": ["a.md", "how/1.md", "how/2.md"]}, {"B": ["b.md"]}]


class TestLinks:
    def test_of_all_pages_lead_somewhere(self) -> None:
        assert broken_in_markdown(pages_of_repository()) == []

    @pytest.mark.parametrize(
        ("link", "why"),
        [
            ("nowhere.md", "no such file"),
            ("format.md#no-such-heading", "no such heading"),
            ("#no-such-heading", "no such heading"),
            ("https:/example.org", "no address"),
        ],
    )
    def test_that_lead_nowhere_are_found(self, link: str, why: str) -> None:
        pages = {DOCS / "format.md": "# The artefact", DOCS / "of-a-test.md": f"[b]({link})"}
        broken = broken_in_markdown(pages)
        assert [why in line for line in broken] == [True]

    def test_of_a_site_that_lead_nowhere_are_found(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        links = ("a/", "a/#x", "/a/", "/b", "a/#y", "../z.html", "https://example.org")
        page = "".join(f'<a href="{link}">' for link in links)
        (tmp_path / "index.html").write_text(page)
        (tmp_path / "a" / "index.html").write_text('<p id="x">')
        assert broken_in_site(tmp_path) == [
            "index.html: /b: there is no such file",
            "index.html: a/#y: the page has no such place",
            "index.html: ../z.html: there is no such file",
        ]

    def test_of_pages_are_turned_to_where_the_site_has_their_targets(self) -> None:
        text = (
            "[a](../../SECURITY.md#x), [b](../format.md)\n```\n[c](../x.md)\n```\n[d](../gone.md)"
        )
        turned = hooks.turned(
            text, "howto/serve.md", {"security-policy.md", "format.md", "x.md"}.__contains__
        )
        assert turned.split("\n") == [
            "[a](../security-policy.md#x), [b](../format.md)",
            "```",
            "[c](../x.md)",
            "```",
            "[d](../gone.md)",
        ]

    def test_of_pages_of_the_root_begin_there(self) -> None:
        turned = hooks.turned("[a](docs/format.md)", "readme.md", {"format.md"}.__contains__)
        assert turned == "[a](format.md)"


class TestReference:
    def test_of_python_has_every_public_name(self) -> None:
        pages = "".join(page.read_text("utf-8") for page in DOCS.glob("reference/api/*.md"))
        shown = set(re.findall(r"^::: recprune\.(\w+)$", pages, re.MULTILINE))
        assert shown >= set(recprune.__all__)

    def test_of_the_command_line_has_every_verb_and_option(self) -> None:
        page = cli_page.render()
        verbs = get_command(app).commands
        for name, verb in verbs.items():
            part = page.partition(f"\n## `recprune {name}`\n")[2].partition("\n## ")[0]
            for command, inner in {name: verb, **getattr(verb, "commands", {})}.items():
                options = [o for p in inner.params for o in p.opts if o.startswith("--")]
                assert [o for o in options if o not in part] == [], command
        assert "&#x27;" not in page

    def test_of_the_configuration_has_every_setting(self) -> None:
        assert first_cells(config_page.render()) >= set(RunConfig.model_fields)

    def test_of_the_schema_has_every_key(self) -> None:
        assert first_cells(schema_page.render()) >= {*KEYS, *FIELD_KEYS} - {"fields"}

    def test_of_the_service_has_every_route_and_form(self) -> None:
        page = http_page.render()
        routes = set(RULES) - set(PAGES) - {"GET /openapi.json"}
        assert headings(page) >= routes
        assert {name.lower() for name in re.findall(r"\]\(#(\w+)\)", page)} <= {
            heading.lower() for heading in headings(page)
        }
        assert "| `k` | integer (≥ 1, ≤ 100) | `10` |" in page


class TestDocstrings:
    """What roles, literals and doctests become."""

    def shown(self, text: str) -> str:
        return shown(griffe.Docstring(text), package()["pipeline.pruned.search"])

    def test_a_role_is_a_link_to_where_the_name_is_defined(self) -> None:
        link = '<autoref identifier="recprune.pipeline.budget.Budget" optional><code>Budget</code></autoref>'
        assert self.shown("A :class:`Budget`.") == f"A {link}."
        assert self.shown("A :class:`~recprune.pipeline.Budget`.") == f"A {link}."

    def test_a_role_of_an_unknown_name_is_code(self) -> None:
        assert self.shown(":func:`nowhere.at_all`, ``a``") == "`nowhere.at_all`, `a`"

    def test_a_doctest_is_a_block(self) -> None:
        text = "Said::\n\n    a\n\n    >>> 1 + 1\n    2\n\nMore."
        assert self.shown(text) == (
            "Said:\n\n    a\n\n    ```pycon\n    >>> 1 + 1\n    2\n    ```\n\nMore."
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    made = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **QUIET}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert "WARNING" not in made.stderr
    return folder


@pytest.mark.slow
class TestBuilt:
    def test_links_and_places_are_there(self, site: Path) -> None:
        assert broken_in_site(site) == []

    def test_broken_links_are_found(self, site: Path, tmp_path: Path) -> None:
        broken = tmp_path / "site"
        shutil.copytree(site, broken)
        (broken / "format" / "index.html").unlink()
        page = broken / "index.html"
        page.write_text(page.read_text("utf-8") + '<a href="budget/#nowhere">', "utf-8")
        found = broken_in_site(broken)
        assert "index.html: budget/#nowhere: the page has no such place" in found
        assert "index.html: format/: there is no such file" in found

    def test_nothing_is_fetched_from_elsewhere(self, site: Path) -> None:
        fetching = re.compile(
            r"<(?:script|img|iframe)[^>]+src=.?https?:|<link[^>]+stylesheet[^>]+https?:"
        )
        pages = {page: page.read_text("utf-8") for page in site.rglob("*.html")}
        assert [page for page, text in pages.items() if fetching.search(text)] == []

    def test_docstrings_show_no_markup_of_another_kind(self, site: Path) -> None:
        for page in site.glob("reference/api/*/index.html"):
            text = page.read_text("utf-8")
            assert (
                re.findall(
                    r":(?:func|class|meth|data|mod|attr):|``|<p>&gt;&gt;&gt;|<blockquote>", text
                )
                == []
            )

    def test_every_public_name_has_its_place(self, site: Path) -> None:
        pages = "".join(page.read_text("utf-8") for page in site.glob("reference/api/*/index.html"))
        missing = [name for name in recprune.__all__ if f'id="recprune.{name}"' not in pages]
        assert missing == []
