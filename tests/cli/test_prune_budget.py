"""``recprune prune --budget``: met, not met, wrongly asked for, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune import pipeline
from recprune.artifact import read_artifact, stored_size
from recprune.errors import BudgetError, RecpruneWarning
from tests.cli.inside import inside
from tests.planted import planted_frame

QUICK = ("--set", "tuning_epochs=1", "--set", "groups=none")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("budget")
    planted_frame(4000, noise=4).write_csv(folder / "rows.csv")
    settings = [f"--set={each}" for each in ("dim=8", "hidden=16,8", "epochs=3")]
    made = inside(
        "train", folder / "rows.csv", "--label", "y", "-o", folder / "full", "--json", *settings
    )
    assert made.returncode == 0, made.stderr
    return folder


def asked(saved: Path, out: Path, budget: str, *further: str) -> list[str]:
    where = [str(saved / "full"), str(saved / "rows.csv"), "-o", str(out)]
    return ["prune", *where, "--budget", budget, *QUICK, *further]


def test_a_budget_that_is_met(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    done = inside(*asked(saved, out, "bytes=2.6kB,max_drop.auc=0.03", "--json"))
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    artifact = read_artifact(out)
    assert told["met"]
    assert told["bytes"]["after"] == stored_size(artifact) <= 2600
    assert told["verdict"]["outcome"] == "PASS"
    seconds = pl.read_parquet(saved / "full" / "history.parquet")["seconds"].sum()
    report = json.loads((out / "report.json").read_text())
    spent = report["search"]["cost"]["seconds"]
    assert told["search_cost"] == pytest.approx(spent / seconds, rel=0.1)
    assert told["front"]
    assert (out / "report.html").exists()
    assert "of at most 2.60 kB: met" in (out / "README.md").read_text()
    # Nothing of the search is left beside it.
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


def test_a_budget_that_is_not_met_writes_nothing(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    done = inside(*asked(saved, out, "bytes=300,max_drop.auc=0.03", "--json"))
    told = json.loads(done.stdout)
    assert done.returncode == 3
    assert not told["met"]
    assert told["reason"].startswith("No model keeps the budget (bytes ≤ 300, auc drop ≤ 0.03)")
    assert not out.exists()
    passing = [point for point in told["nearest"] if point["outcome"] == "PASS"]
    assert passing
    assert all(point["bytes"] > 300 for point in passing)
    # What was tried serves another budget.
    assert (tmp_path / ".small.checkpoint" / "trials" / "trials.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "prune takes --keep unit=share, or --budget"),
        (["--keep", "rows=0.5", "--budget", "bytes=1kB"], "prune takes --keep unit=share, or"),
        (["--budget", "byte=1kB"], "no limit 'byte'. Did you mean 'bytes'?"),
        (["--budget", "bytes=1kB", "--dry-run"], "--dry-run goes with --keep"),
        (["--budget", "bytes=1kB", "--method", "rows=l2"], "--method goes with --keep"),
        (["--budget", "bytes=1kB", "--bits", "int8"], "--bits goes with --keep"),
        (["--budget", "bytes=1kB", "--rounds", "2"], "--rounds goes with --keep"),
        (["--keep", "rows=0.5", "--set", "seed=1"], "--set goes with --budget"),
        (["--keep", "rows=0.5", "--workers", "2"], "--workers goes with --budget"),
        (["--budget", "bytes=1kB", "--set", "dims=3"], "--set dims does nothing in prune"),
        (["--budget", "bytes=1kB", "--set", "profile=none.json"], "Host profile 'none.json'"),
    ],
)
def test_what_is_asked_for_wrongly(
    words: list[str], said: str, saved: Path, tmp_path: Path
) -> None:
    given = (saved / "full", saved / "rows.csv", "-o", tmp_path / "small", *words)
    done = inside("prune", *given)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "small").exists()


def test_rows_are_split_as_when_the_model_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted_frame(1500, noise=1).write_csv(tmp_path / "rows.csv")
    settings = [f"--set={each}" for each in ("dim=2", "hidden=[4]", "epochs=1")]
    train = ("train", tmp_path / "rows.csv", "--label", "y", "--seed", 3, "--split", "random")
    assert inside(*train, "-o", tmp_path / "full", *settings).returncode == 0
    given = (tmp_path / "full", tmp_path / "rows.csv", "-o", tmp_path / "small", "--json", *QUICK)
    budget = ("--budget", "bytes=1MB,max_drop=0.3")
    done = inside("prune", *given, *budget)
    assert done.returncode in (0, 3), done.stderr
    assert "the split" not in done.stderr
    run = json.loads((tmp_path / "small" / "run.json").read_text())
    assert run["data"] == json.loads((tmp_path / "full" / "run.json").read_text())["data"]
    assert "seed = 3" in (tmp_path / "small" / "run.toml").read_text()
    report = json.loads((tmp_path / "small" / "report.json").read_text())
    assert [epoch["epoch"] for epoch in report["history"]["full"]] == [0, 1]

    def unmet(*_: object, **__: object) -> None:
        raise BudgetError("none")

    monkeypatch.setattr(pipeline, "prune_to_budget", unmet)
    # Another seed is of the search alone.
    assert "the split" not in inside("prune", *given, *budget, "--seed", 4).stderr
    with pytest.warns(RecpruneWarning, match="by 'stratified' here"):
        done = inside("prune", *given, *budget, "--split", "stratified")
    assert "These are not the rows" not in done.stderr
    planted_frame(1600, noise=1).write_csv(tmp_path / "rows.csv")
    with pytest.warns(RecpruneWarning, match="not the rows, or not the split"):
        inside("prune", *given, *budget)


@pytest.mark.slow
def test_killed_thrice_it_comes_to_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed" / "small"
    further = ("--set", "search_trials=12", "--json")
    budget = "bytes=2.6kB,max_drop.auc=0.03"
    whole = inside(*asked(saved, tmp_path / "whole", budget, *further))
    assert whole.returncode == 0, whole.stderr
    out.parent.mkdir()
    command = [sys.executable, "-m", "recprune", *asked(saved, out, budget, *further)]
    journal = out.parent / ".small.checkpoint" / "trials" / "trials.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for lines in (2, 5, 9):
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while running.poll() is None:
            if journal.exists() and len(journal.read_text().split()) and _lines(journal) >= lines:
                running.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
        running.wait()
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    told, before = json.loads(done.stdout), json.loads(whole.stdout)
    assert told["trials"] == before["trials"]
    for name in ("model.safetensors", "plan.json", "plan.zlib", "vocab.zlib"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _lines(journal: Path) -> int:
    return sum(bool(line) for line in journal.read_text().splitlines())
