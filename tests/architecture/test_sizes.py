"""Small files, small constructors, and a surface that says what it is."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "recprune"
MODULES = sorted(SOURCE.rglob("*.py"))
# The verbs are reached through the program: nobody imports them, so they list no surface.
PUBLIC = [m for m in MODULES if not m.stem.startswith("_") or m.stem == "__init__"]
PUBLIC = [m for m in PUBLIC if m.parent.name != "cli" or m.stem == "__init__"]

MOST_LINES, MEDIAN_LINES, MOST_PARAMETERS = 400, 180, 6

#: Records: our own code writes them field by field and hands them on; nobody types them as a call.
RECORDS = {
    "Attack",  # one line of an audit of membership
    "Artifact",  # everything a scorer needs, read from disk as one
    "Axis",  # declared by a model, once
    "Catalogue",  # the arrays of catalogue.safetensors, as read
    "Field",  # one column of a schema: a name, a kind, and what is left at its default
    "FieldRanking",  # what ranking fields found: names, scores, and where they come from
    "FieldRule",  # one field's table in schema.toml
    "Finding",  # one line of what the checks found
    "Point",  # one mark of the report's front, with all that it shows
    "PrivacySpent",  # a statement of what training spent, written by one function
    "Schema",  # the columns of a table by their roles
    "Search",  # what a search came to
    "Section",  # one section of the report's page
    "Shape",  # what a network is built from, written by one function
    "SliceResult",  # one line of the verdict's table of slices
    "Spec",  # the reader's own summary of a table
    "Split",  # rows of a table with all that they carry
    "Stated",  # the options of a verb, filled by the program
    "Top",  # the head of the report's page, filled field by field
    "Training",  # options, typed by name, each with a default
    "Trial",  # one model that was tried, as it is stored and reported
    "Verdict",  # the decision with everything that led to it
}

#: Estimators: scikit-learn's clone, Pipeline and GridSearchCV set each option by a name of its own.
ESTIMATORS = {"FeatureSelector"}
MOST_OPTIONS = 8


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def lines(file: Path) -> int:
    return len(file.read_text("utf-8").splitlines())


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def parameters(node: ast.ClassDef) -> list[str]:
    """Return what a caller of the class can pass."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            given = item.args
            return [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)][1:]
    if not is_dataclass(node):
        return []
    return [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
        and "init=False" not in (ast.unparse(item.value) if item.value else "")
    ]


def classes(module: Path) -> Iterator[ast.ClassDef]:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield node


def test_no_file_is_long() -> None:
    files = [*MODULES, *(f for d in ("tests", "benchmarks") for f in (ROOT / d).rglob("*.py"))]
    long = {f.relative_to(ROOT).as_posix(): lines(f) for f in files if lines(f) > MOST_LINES}
    assert not long, f"split these files (at most {MOST_LINES} lines): {long}"


def test_most_files_are_short() -> None:
    assert statistics.median(lines(m) for m in MODULES) <= MEDIAN_LINES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_constructors_take_few_parameters(module: Path) -> None:
    wide = {c.name: parameters(c) for c in classes(module) if c.name not in RECORDS}
    most = dict.fromkeys(ESTIMATORS, MOST_OPTIONS)
    wide = {n: given for n, given in wide.items() if len(given) > most.get(n, MOST_PARAMETERS)}
    assert not wide, f"group what belongs together (at most {MOST_PARAMETERS}): {wide}"


def test_the_records_are_wide_dataclasses() -> None:
    found = [c for m in MODULES for c in classes(m) if c.name in RECORDS]
    needless = [c.name for c in found if len(parameters(c)) <= MOST_PARAMETERS]
    assert not needless, f"these need no exception any more: {needless}"
    assert all(is_dataclass(c) for c in found)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_says_what_it_is(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8")))
    assert docstring, "a module starts with a docstring"


@pytest.mark.parametrize("module", PUBLIC, ids=name_of)
def test_the_surface_is_listed_and_sorted(module: Path) -> None:
    tree = ast.parse(module.read_text("utf-8"))
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(listed) == 1, "a public module has one __all__"
    # Constants, then classes, then functions; by name within each: the order that ruff keeps.
    names = listed[0]
    kind = {n: (0 if n.isupper() and len(n) > 1 else 1 if n[:1].isupper() else 2) for n in names}
    assert names == sorted(names, key=lambda n: (kind[n], n))
    assert len(set(names)) == len(names)
