"""The comparison with other tools: every cell is there, rests on a source, and is on the page."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RENDER = runpy.run_path(str(ROOT / "tools" / "comparison.py"))
GROUPS, SYSTEMS = RENDER["load"]()
FEATURES = [feature["id"] for group in GROUPS for feature in group["features"]]
OURS = "recprune"

each_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["name"])


def headings(page: Path) -> set[str]:
    """The fragments of a page's headings, as the site and code hosts make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_page_is_what_the_files_give() -> None:
    page = (DOCS / "comparison.md").read_text("utf-8")
    assert page == RENDER["page"](), "run: python tools/comparison.py"


def test_no_file_of_a_system_is_left_out() -> None:
    there = {file.stem for file in (DOCS / "comparison").glob("*.toml")} - {"features"}
    assert {RENDER["anchor"](system["name"]) for system in SYSTEMS} == there


@each_system
def test_every_question_is_answered_once(system: dict[str, Any]) -> None:
    answered = [feature for cell in system["cells"] for feature in cell["of"]]
    assert sorted(answered) == sorted(FEATURES)


@each_system
def test_every_cell_has_a_source_and_all_but_a_plain_yes_a_reason(system: dict[str, Any]) -> None:
    for cell in system["cells"]:
        assert cell["by"], cell["of"]
        assert set(cell["by"]) <= set(system["sources"]), cell["of"]
        assert ("is" in cell) != ("text" in cell), cell["of"]
        assert cell.get("is", "yes") in RENDER["VALUES"], cell["of"]
        assert cell.get("is", "yes") == "yes" or cell["why"], cell["of"]


@each_system
def test_every_source_is_used_and_has_an_address(system: dict[str, Any]) -> None:
    used = {source for cell in system["cells"] for source in cell["by"]}
    assert used == set(system["sources"])
    for source in system["sources"]:
        address = RENDER["address"](system, source)
        assert system["name"] == OURS or re.fullmatch(r"https://[^\s()|]+", address), source


def test_ours_rest_on_pages_and_tests_that_are_there() -> None:
    (ours,) = (system for system in SYSTEMS if system["name"] == OURS)
    for name, source in ours["sources"].items():
        page, _, fragment = source["at"].partition("#")
        assert (DOCS / page).is_file(), name
        assert not fragment or fragment in headings(DOCS / page), name
        assert (ROOT / source["test"]).is_file(), name


def test_no_cell_breaks_its_table() -> None:
    for group in GROUPS:
        rows = [line for line in RENDER["table"](group, SYSTEMS) if line.startswith("|")]
        assert len(rows) == len(SYSTEMS) + 2
        assert {row.count("|") for row in rows} == {len(group["features"]) + 2}
