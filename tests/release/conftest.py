"""What was built from the tree as it is, and a table and a model to try it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from tests.cli.inside import inside

ROOT = Path(__file__).resolve().parents[2]


class Archives(NamedTuple):
    """The files that ``make dist`` wrote."""

    wheel: Path
    source: Path


class Shop(NamedTuple):
    """A table, the options that say its columns, and a model of it with its users."""

    table: Path
    columns: tuple[str, ...]
    model: Path
    users: Path


def git(folder: Path, *arguments: str, date: str = "2026-01-02T03:04:05Z") -> None:
    """Run git as nobody in particular, at a time of its own."""
    named = {
        f"GIT_{who}_{what}": "nobody"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    dated = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    subprocess.run(
        ["git", "-C", folder, *arguments], env={**os.environ, **named, **dated}, check=True
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one commit: this tree's files as they are now."""
    if not (ROOT / ".git").exists():
        pytest.skip("releases are built from a repository, and this tree is none")
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    folder = tmp_path_factory.mktemp("repository")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # not removed, and not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The tree as it is")
    return folder


def dist(folder: Path, umask: int = 0o022, **variables: str) -> Archives:
    """Run ``make dist`` in a clone, with this environment's programs."""
    command = [
        "make",
        "--silent",
        f"BIN={Path(sys.executable).parent}",
        "--assume-old=.venv/.installed",
    ]
    done = subprocess.run(
        [*command, "dist"],
        cwd=folder,
        env={**os.environ, **variables},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = sorted((folder / "dist").iterdir())
    assert [file.suffix for file in made] == [".whl", ".gz"]
    return Archives(*made)


@pytest.fixture(scope="session")
def archives(repository: Path) -> Archives:
    return dist(repository)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Purchases of 60 users, and a small model of them, trained with everything installed."""
    folder = tmp_path_factory.mktemp("shop")
    rows = range(1200)
    table = pl.DataFrame(
        {
            "user_id": [f"u{i % 60}" for i in rows],
            "item_id": [f"i{i * 7 % 40}" for i in rows],
            "age": [20 + i % 60 % 5 * 10 for i in rows],
            "category": [("toys", "books", "food")[i * 7 % 40 % 3] for i in rows],
            "purchased": [int((i % 60 % 5 + i * 7 % 40 % 3) % 4 < 2) ^ (i % 11 == 0) for i in rows],
        }
    )
    table.write_csv(folder / "events.csv")
    columns = ("--label", "purchased", "--user", "user_id", "--item", "item_id")
    small = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "dim=2")
    model = folder / "model"
    done = inside("train", folder / "events.csv", *columns, *small, "-o", model)
    assert done.returncode == 0, done.stderr
    return Shop(folder / "events.csv", columns, model, model / "users.rp")
