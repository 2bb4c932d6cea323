"""``recprune train --dp-epsilon``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.artifact import read_artifact
from recprune.models import ranker_of
from tests.cli.inside import inside


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draws, n = np.random.default_rng(0), 900
    kind = draws.integers(0, 3, n)
    frame = pl.DataFrame(
        {
            "who": [f"u{i}" for i in draws.integers(0, 90, n)],
            "kind": [f"k{i}" for i in kind],
            "y": (draws.random(n) < np.array([0.2, 0.5, 0.8])[kind]).astype(int),
        }
    )
    frame.write_csv(tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def ok(*arguments: object) -> dict[str, Any]:
    done = inside(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_was_spent_is_said_stored_and_shown(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "private"
    common = ("--label", "y", "--user", "who", "--split", "user", "--set", "epochs=2")
    given = ("--dp-epsilon", "4", "--dp-delta", "0.001", "--rows-per-user", "3")
    said = ok("train", table, *common, *given, "-o", out)
    spent = ranker_of(read_artifact(out)).privacy
    assert spent is not None
    assert said["privacy"] == spent.to_json() == ok("inspect", out)["privacy"]
    assert 3.9 < spent.epsilon <= 4
    assert (spent.delta, spent.rows_per_user, spent.unit) == (0.001, 3, "user")
    assert not spent.seeded
    assert "(4, 0.001)-differentially private" in said["stated"]
    assert not (tmp_path / ".private.checkpoint").exists()


def test_options_without_epsilon_are_refused(table: Path, tmp_path: Path) -> None:
    given = ("--label", "y", "--rows-per-user", "3")
    done = inside("train", table, *given, "-o", tmp_path / "x")
    assert done.returncode == 2
    assert "go with --dp-epsilon" in done.stderr
