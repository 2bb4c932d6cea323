"""``recprune evaluate`` as a user runs it: tables for people, one object for machines, files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from recprune.data import Dataset
from recprune.pipeline import evaluate
from recprune.runtime import load
from tests.cli.inside import inside
from tests.cli.test_cli import SMALL
from tests.pipeline.test_run import shop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Return a trained model's folder, its table, and what runs ``recprune evaluate`` on both."""
    folder = tmp_path_factory.mktemp("shop")
    table, model = folder / "shop.csv", folder / "model"
    shop().write_csv(table)
    columns = ("--label", "bought", "--user", "user_id", "--item", "item_id", "--split", "random")
    done = inside("train", table, *columns, "-o", model, *SMALL)
    assert done.returncode == 0, done.stderr

    def run(*options: object, code: int = 0) -> str:
        given = ("evaluate", model, table, "--split", "random", *options)
        result = inside(*given)
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout if code == 0 else result.stderr

    return model, table, run


def test_one_object_holds_what_the_library_says(made: tuple) -> None:
    model, table, run = made
    options = ("--metric", "PR-AUC", "--metric", "ndcg@5", "--by", "age", "--json")
    told = json.loads(run(*options))
    roles = {"label": "bought", "user": "user_id", "item": "item_id"}
    data = Dataset.read(table, **roles).split(by="random")
    expected = evaluate(load(model), data, ["pr_auc", "ndcg@5"], by=["age"]).to_json()
    assert told == {"artifact": str(model), "part": "test", **expected}
    assert list(told["metrics"]) == ["average_precision", "ndcg@5"]
    assert told["of"]["ndcg@5"]["count"] == told["users_ranked"]


def test_people_get_a_table(made: tuple) -> None:
    shown = made[2]("--metric", "auc", "--metric", "f1", "--metric", "ndcg@5", "--by", "kind")
    for words in ("95 % interval", "ndcg@5", "by kind", "fruit", "called positive from", "users"):
        assert words in shown
    assert "Not by kind" in shown
    assert "{" not in shown


def test_users_one_by_one_go_into_a_file(made: tuple, tmp_path: Path) -> None:
    _, _, run = made
    for name, read in (("users.csv", pl.read_csv), ("users.parquet", pl.read_parquet)):
        path = tmp_path / name
        options = ("--metric", "ndcg@5", "--metric", "auc", "--per-user", path, "--json")
        told = json.loads(run(*options))
        users = read(path)
        assert users.columns == ["user_id", "rows", "positives", "ndcg@5", "auc"]
        assert users.height == told["users"]
        assert users["ndcg@5"].mean() == pytest.approx(told["metrics"]["ndcg@5"])
        assert told["per_user"] == str(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["users.csv", "users.parquet"]


def test_sampled_lists_and_fewer_users_are_named(made: tuple) -> None:
    told = json.loads(made[2]("--metric", "recall@5", "--sampled", 7, "--most-users", 20, "--json"))
    assert list(told["metrics"]) == ["recall@5:sampled7"]
    assert told["users_ranked"] == 20
    assert told["users_not_drawn"] > 0


def test_all_rows_have_metrics_of_rows(made: tuple) -> None:
    _, table, run = made
    told = json.loads(run("--part", "all", "--json"))
    assert told["rows"] == pl.read_csv(table).height
    assert set(told["metrics"]) == {"auc", "logloss", "accuracy", "precision", "recall"}


@pytest.mark.parametrize(
    "options, words",
    [
        (("--metric", "aucc"), "Did you mean 'auc'"),
        (("--by", "agee"), "Did you mean 'age'"),
        (("--metric", "ndcg@5", "--part", "all"), "Leave --part out"),
        (("--sampled", "5"), "goes with metrics of lists"),
        (("--per-user", "users.txt"), "must end in .csv or .parquet"),
        (("--per-user", "nowhere/users.csv"), "'nowhere' of --per-user is not there"),
    ],
)
def test_bad_usage_is_one_line(made: tuple, options: tuple, words: str) -> None:
    told = made[2](*options, code=2)
    assert words in told
    assert len(told.strip().splitlines()) == 1
