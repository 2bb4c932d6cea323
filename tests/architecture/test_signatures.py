"""The public surface changes on purpose only."""

from __future__ import annotations

import ast
import difflib

import pytest

import recprune

from .signatures import SOURCE, STORED, surface

HOW = """
The public surface is not what tests/architecture/signatures.txt says (- stored, + now). If that is
meant, say so in CHANGELOG.md, after docs/deprecation.md, and write the file anew:
    python -m tests.architecture.signatures --write
"""


def differences(now: str) -> list[str]:
    stored = STORED.read_text("utf-8").splitlines()
    found = difflib.unified_diff(stored, now.splitlines(), lineterm="", n=0)
    return [line for line in found if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture(scope="module")
def now() -> str:
    return surface()


def test_the_public_surface_is_as_stored(now: str) -> None:
    if changed := differences(now):
        pytest.fail("\n".join([HOW, *changed]), pytrace=False)


@pytest.mark.parametrize(
    "old, new",
    [
        ("class LR(training:", "class LR(training_:"),
        (
            "    recommend(users: Iterable[Any], k: int = 10",
            "    recommend(users: Iterable[Any], k: int = 9",
        ),
        ("recprune inspect\n    model", "recprune inspect\n    folder"),
        ("    --tolerance VALUE = 0.002\n", ""),
    ],
)
def test_a_change_would_be_noticed(now: str, old: str, new: str) -> None:
    assert old in now
    assert differences(now.replace(old, new))


def test_type_checkers_see_the_names_that_programs_get() -> None:
    tree = ast.parse((SOURCE / "recprune" / "__init__.py").read_text("utf-8"))
    (checking,) = (
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: (each.module or "").split(".")[1]
        for each in checking.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    assert seen == recprune._HOMES
    assert set(seen) == set(recprune.__all__)
