"""Every command and every example of a page runs as written, in the page's order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.blocks import pages, runnable
from tests.docs.given_howto import PORTS, answers
from tests.docs.running import PYTHONS, Page, serving_alone
from tests.host import with_profile

# Pages of a few seconds: make test runs these, make test-slow all others.
QUICK = {"docs/report.md"}
# Its blocks are those of README.md, to the letter (test_readme.py).
TWIN = "README.zh-CN.md"


def _chosen() -> list[object]:
    names = [name for name, blocks in pages().items() if runnable(blocks) and name != TWIN]
    return [
        pytest.param(name, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names
    ]


def _python(page: str) -> Path | None:
    """The Python of a page about another tool, or None for our own."""
    if page not in PYTHONS:
        return None
    # Beside our own environment, which need not be in this checkout.
    python = Path(sys.executable).parents[2] / PYTHONS[page] / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{page} needs {PYTHONS[page]}, which make bench-peers builds")
    return python


def _needs_free_ports(page: str) -> None:
    """A broker that runs here already is somebody's own, and no place for a page's events."""
    for port in PORTS.get(page, ()):
        if answers(port):
            pytest.skip(f"{page} starts what it reads from on port {port}, which is taken")


@pytest.mark.parametrize("page", _chosen())
def test_a_page_runs_as_written(page: str, tmp_path: Path) -> None:
    blocks = runnable(pages()[page])
    state = tmp_path / "state"
    python = _python(page)
    _needs_free_ports(page)
    with (
        serving_alone(blocks),
        Page(page, tmp_path / "page", with_profile(state), python) as reader,
    ):
        for block in blocks:
            reader.run(block)
