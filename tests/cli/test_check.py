"""``recprune check`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.cli.inside import inside

N = 600
KEYS = {"kind", "column", "severity", "rows", "message", "action", "value"}


def recprune(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recprune", *map(str, arguments)]
    given = {**os.environ, **environment}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=given
    )


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    return inside("check", *arguments)


def findings(*arguments: object) -> list[dict[str, Any]]:
    done = check(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"rows", "label_rate", "columns", "findings"}
    assert all(set(f) == KEYS for f in result["findings"])
    return list(result["findings"])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("check") / "rows.csv"
    columns = {
        "user_id": np.arange(N) // 3,
        "price": rng.gamma(2, size=N).round(3),
        "colour": rng.choice(["red", "blue", "[bold]"], N),
        "y": rng.integers(0, 2, N),
    }
    pl.DataFrame(columns).write_csv(path)
    return path


def test_a_sound_table(table: Path) -> None:
    done = recprune("check", table, "--label", "y", "--user", "user_id", "--strict", "--json")
    assert done.returncode == 0, done.stdout
    result = json.loads(done.stdout)
    rate = pl.read_csv(table)["y"].mean()
    assert (result["rows"], result["label_rate"]) == (N, pytest.approx(rate))
    assert [(c["name"], c["role"], c["kind"], c["distinct"]) for c in result["columns"]][::2] == [
        ("user_id", "user", "categorical", N // 3),
        ("colour", "field", "categorical", 3),
    ]


def test_strict_exits_with_2_and_says_why(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "twin.csv"
    pl.read_csv(table).with_columns(cost=pl.col("price")).write_csv(path)
    plain, strict = check(path, "--label", "y"), check(path, "--label", "y", "--strict")
    assert (plain.returncode, strict.returncode) == (0, 2)
    for word in ("warning", "cost", "duplicate"):
        assert word in plain.stdout


def test_strict_run_trains_nothing(table: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "twin.csv", tmp_path / "run"
    pl.read_csv(table).with_columns(cost=pl.col("price")).write_csv(path)
    done = recprune(
        "run", path, "--label", "y", "--strict", "-o", out, XDG_STATE_HOME=str(tmp_path)
    )
    assert done.returncode == 2
    assert "duplicate of 'cost'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_what_a_run_refuses_is_an_error_that_strict_stops_at(table: Path) -> None:
    found = findings(table, "--label", "price")
    assert [(f["kind"], f["severity"]) for f in found[:1]] == [("refused", "error")]
    assert "must be 0 or 1" in found[0]["message"]
    assert check(table, "--label", "price", "--strict").returncode == 2


def test_refused_identifiers_do_not_hide_the_rest(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    mails = pl.Series([f"someone{i}@example.org" for i in range(N)])
    extra = {"mail": mails, "again": mails.str.to_uppercase(), "cost": pl.read_csv(table)["price"]}
    pl.read_csv(table).with_columns(**extra).write_csv(path)
    found = {(f["kind"], f["column"], f["severity"]) for f in findings(path, "--label", "y")}
    for column in ("mail", "again"):
        assert ("direct_identifier", column, "error") in found
    assert ("duplicate", "cost", "warning") in found


def test_without_a_label_the_rest_is_checked(table: Path, tmp_path: Path) -> None:
    assert check(table, "--strict").returncode == 0
    path = tmp_path / "dirty.csv"
    columns = {
        "sex": ["male", " Female", "female"] * (N // 3),
        "due": [*["2024-02-0" + str(1 + i % 9) for i in range(N - 1)], "9999-12-31"],
        "one": ["x"] * N,
        "mixed": [*["oops"] * 3, *map(str, range(N - 3))],
        "wide": [*["inf"] * 2, *map(str, range(N - 2))],
    }
    pl.read_csv(table).drop("y").with_columns(
        **{k: pl.Series(v) for k, v in columns.items()}
    ).write_csv(path)
    found = {(f["kind"], f["column"]): f["rows"] for f in findings(path)}
    expected = {
        ("spaces", "sex"): N // 3,
        ("near_duplicate_values", "sex"): N // 3,
        ("sensitive_guess", "sex"): N,
        ("impossible_date", "due"): 1,
        ("constant", "one"): N,
        ("mixed", "mixed"): 3,
        ("infinite", "wide"): 2,
    }
    assert expected.items() <= found.items()
    assert not {kind for kind, _ in found} & {"leak_suspect", "conflicting_labels", "refused"}


def test_a_wrong_name_is_an_error_in_one_line(table: Path) -> None:
    done = check(table, "--label", "why")
    assert done.returncode == 2
    assert done.stderr.startswith("recprune: The table has no label column 'why'")
    assert "Traceback" not in done.stderr


def test_an_ingested_folder_gives_the_same_findings(table: Path, tmp_path: Path) -> None:
    from recprune.data import ingest

    folder = ingest(table, tmp_path / "data.rp", label="y", user="user_id")
    assert findings(folder) == findings(table, "--label", "y", "--user", "user_id")


def test_names_and_values_from_the_table_are_no_markup(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "markup.csv"
    pl.read_csv(table).rename({"price": "[red]price"}).with_columns(
        pl.col("[red]price").alias("[/]twin")
    ).write_csv(path)
    done = check(path, "--label", "y")
    assert done.returncode == 0, done.stderr
    assert "[/]twin" in done.stdout


@pytest.mark.parametrize(
    "file, label, suspects",
    [
        ("online_shoppers/online_shoppers_intention.csv.gz", "Revenue", ["PageValues"]),
        ("bank_marketing/bank-full.csv.gz", "y", ["duration"]),
    ],
)
def test_leak_suspects_of_real_tables(
    shared_data: Path, file: str, label: str, suspects: list[str]
) -> None:
    found = findings(shared_data / file, "--label", label)
    assert [f["column"] for f in found if f["kind"] == "leak_suspect"] == suspects


def test_the_spaces_of_the_adult_table(shared_data: Path) -> None:
    found = findings(shared_data / "adult_income/income_evaluation.csv.gz", "--label", " income")
    spaces = {f["column"]: f for f in found if f["kind"] == "spaces"}
    assert spaces[" sex"]["rows"] == 32_561
    assert "' Male'" in spaces[" sex"]["message"]
    assert {" workclass", " education", " native-country"} <= set(spaces)


def test_ratings_are_checked_without_a_label_and_it_says_so(shared_data: Path) -> None:
    ratings = shared_data / "book_crossing_subset/book_ratings.tsv.gz"
    found = findings(ratings, "--label", "rating", "--user", "user", "--item", "item")
    kinds = {f["kind"]: f for f in found}
    assert kinds["refused"]["severity"] == "error"
    assert "--label-threshold" in kinds["refused"]["message"]
    items = pl.read_csv(ratings, separator="\t")["item"].value_counts()["count"]
    assert kinds["single_items"]["rows"] == int((items == 1).sum())
    assert not {"leak_suspect", "label_over_time"} & set(kinds)
    read = findings(ratings, "--label", "rating", "--label-threshold", 8, "--user", "user")
    assert "refused" not in {f["kind"] for f in read}


def test_a_log_of_positives_is_checked_with_its_negatives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(100), 8), rng.integers(0, 60, 800)
    path = tmp_path / "log.csv"
    log = pl.DataFrame({"user": users, "item": items, "kind": items % 7}).unique()
    log.write_csv(path)
    roles = ("--user", "user", "--item", "item")
    done = check(path, *roles, "--negatives", "uniform", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"] == len(log)
    assert 0.15 < result["label_rate"] < 0.35
    assert not {"refused", "leak_suspect"} & {f["kind"] for f in result["findings"]}
