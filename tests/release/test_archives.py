"""``make dist``: what is in a wheel and a source archive, and that they come out the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import recprune

from .conftest import Archives, dist
from .environments import metadata

pytestmark = pytest.mark.slow
SOURCE = Path(recprune.__file__).parent


def hashes(archives: Archives) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in archives]


def test_the_same_commit_gives_the_same_bytes(
    archives: Archives, repository: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / "a clone"
    subprocess.run(["git", "clone", "--quiet", repository, other], umask=0o077, check=True)
    for file in other.glob("src/**/*"):
        os.utime(file, (1e9, 1e9))
    (other / "src" / "recprune" / "stray.py").write_text("x = 1\n")
    (other / "docs" / "stray.md").write_text("Not committed.\n")
    again = dist(other, umask=0o077, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="7")
    assert hashes(again) == hashes(archives)


def test_the_wheel_holds_the_package_and_nothing_else(archives: Archives) -> None:
    with zipfile.ZipFile(archives.wheel) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        about = {n.split("/", 1)[1] for n in wheel.namelist() if ".dist-info/" in n}
        assert wheel.testzip() is None
    here = {
        f"recprune/{file.relative_to(SOURCE).as_posix()}"
        for file in SOURCE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == here
    assert {
        "recprune/py.typed",
        "recprune/report/page.html.j2",
        "recprune/serving/page.css",
    } < names
    assert about == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_source_archive_holds_what_builds_it_and_what_explains_it(archives: Archives) -> None:
    with tarfile.open(archives.source) as source:
        names = {n.split("/", 1)[1] for n in source.getnames()}
    top = {n for n in names if "/" not in n}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} < top
    assert {n.split("/")[0] for n in names if "/" in n} == {"src", "docs"}
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]


def test_both_say_the_version_that_the_package_says(archives: Archives) -> None:
    version = recprune.__version__
    assert archives.wheel.name == f"recprune-{version}-py3-none-any.whl"
    assert archives.source.name == f"recprune-{version}.tar.gz"
    for archive in archives:
        about = metadata(archive)
        assert (about["Name"], about["Version"]) == ("recprune", version)
        assert about["License-Expression"] == "Apache-2.0"
