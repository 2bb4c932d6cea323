"""Logs of positives and ratings at the command line: what train keeps, the other verbs repeat."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.artifact import read_artifact
from recprune.data import Dataset, Negatives
from recprune.runtime import load
from tests.cli.inside import inside
from tests.cli.test_cli import SMALL
from tests.pipeline.test_run import shop

COLUMNS = ("--user", "user_id", "--item", "item_id")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What was taken; what was shown; and ratings of 1 to 5."""
    folder = tmp_path_factory.mktemp("tables")
    shown = shop()
    frames = {
        "taken": shown.filter(pl.col("bought") == 1).drop("bought"),
        "shown": shown,
        "rated": shown.with_columns(stars=pl.col("bought") * 2 + 2 + pl.int_range(pl.len()) % 2),
    }
    for name, frame in frames.items():
        frame.write_csv(folder / f"{name}.csv")
    return {name: folder / f"{name}.csv" for name in frames}


def test_a_log_of_positives_from_check_to_compare(tables: dict[str, Path], tmp_path: Path) -> None:
    def ok(*arguments: object, codes: tuple[int, ...] = (0,)) -> dict:
        done = inside(*arguments, "--json")
        assert done.returncode in codes, done.stderr
        return json.loads(done.stdout)

    table, full, small = tables["taken"], tmp_path / "full", tmp_path / "small"
    draw = ("--negatives", "uniform", "--negatives-per-positive", "2")
    checked = ok("check", table, *COLUMNS, *draw)
    assert "negatives" in {f["kind"] for f in checked["findings"]}
    ok("train", table, *COLUMNS, *draw, "--split", "last-2", "-o", full, *SMALL)
    roles = {"user": "user_id", "item": "item_id"}
    data = Dataset.read(table, **roles, negatives=Negatives(2, "uniform")).split("last-n", n=2)
    kept = read_artifact(full).meta["labels"]
    assert kept == data.labels.to_json()
    assert 0 < kept["negative_rate"] < 1
    # Read again by the model's own folder: the same rows, negatives included.
    again = ok("evaluate", full, table, "--split", "last-2")
    assert again["rows"] == len(data.test)
    scores = load(full).score(data.test.columns)
    loss = -np.log(np.where(data.test.label == 1, scores, 1 - scores)).mean()
    assert again["metrics"]["logloss"] == pytest.approx(loss, rel=1e-5)
    assert ok("evaluate", full, table, "--part", "all")["rows"] > again["rows"]
    ok("rank", full, table, "--split", "last-2")
    ok("prune", full, table, "--keep", "neurons=0.5", "--split", "last-2", "-o", small)
    assert read_artifact(small).meta["labels"] == kept
    ok("compare", full, small, table, "--split", "last-2", codes=(0, 3))


def test_ratings_are_read_alike_by_the_verbs_that_follow(
    tables: dict[str, Path], tmp_path: Path
) -> None:
    label = ("--label", "stars", "--label-threshold", "4", *COLUMNS)
    done = inside(
        "train", tables["rated"], *label, "--split", "random", "-o", tmp_path / "m", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = inside(
        "evaluate", tmp_path / "m", tables["rated"], "--split", "random", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = Dataset.read(tables["rated"], label="stars", threshold=4, user="user_id", item="item_id")
    test = data.split("random").test
    majority = max(test.label.mean(), 1 - test.label.mean())
    assert json.loads(done.stdout)["majority_accuracy"] == pytest.approx(majority)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("taken", COLUMNS, "have the others drawn: negatives=Negatives(), or --negatives"),
        ("taken", (*COLUMNS, "--negatives", "often"), "'popularity' or 'uniform'. Got 'often'"),
        ("taken", (*COLUMNS, "--negatives-per-positive", "2"), "goes with --negatives"),
        ("shown", (*COLUMNS, "--label", "bought", "--split", "last"), "or 'last-3'. Got 'last'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    tables: dict[str, Path],
    name: str,
    options: tuple[str, ...],
    words: str,
    tmp_path: Path,
) -> None:
    done = inside("train", tables[name], *options, "-o", tmp_path / "m", *SMALL)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m").exists()
