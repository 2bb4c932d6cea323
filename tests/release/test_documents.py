"""What is said beside the code about a version and its extras."""

from __future__ import annotations

import datetime
import re
import tomllib

import yaml
from trove_classifiers import classifiers

import recprune

from .conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: The headings of Keep a Changelog.
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_changelog_has_a_section_for_each_version_newest_first() -> None:
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    found = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", h) for h in headings[1:]]
    assert all(found), headings
    versions = [tuple(map(int, f.groups()[:3])) for f in found if f]
    dates = [datetime.date.fromisoformat(f[4]) for f in found if f]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)
    assert ".".join(map(str, versions[0])) == recprune.__version__
    kinds = re.findall(r"^### (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert set(kinds) <= KINDS


def test_the_citation_is_of_this_version() -> None:
    said = yaml.safe_load(text("CITATION.cff"))
    assert said["cff-version"] == "1.2.0"
    assert said["version"] == recprune.__version__
    assert (said["title"], said["license"]) == (PROJECT["name"], PROJECT["license"])
    assert said["abstract"] == PROJECT["description"]
    assert said["message"]
    assert [each["name"] for each in said["authors"]] == [a["name"] for a in PROJECT["authors"]]
    assert said["keywords"] == PROJECT["keywords"]


def test_classifiers_are_known() -> None:
    assert set(PROJECT["classifiers"]) <= classifiers


def test_the_table_of_extras_names_them_all() -> None:
    named = re.findall(r"^\| `(\w+)` \|", text("docs/installing.md"), re.MULTILINE)
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])
    brings = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", text("docs/installing.md"), re.M))
    for extra, needs in PROJECT["optional-dependencies"].items():
        if extra != "all":
            assert ("recprune[train]" in needs) == brings[extra].startswith("`train`")
