"""``recprune train`` and ``tune`` as a user runs them: a run folder that makes the run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from tests.cli.inside import inside
from tests.pipeline.test_run import shop
from tests.planted import planted_frame

ARTEFACT = ("config.json", "model.safetensors", "vocab.zlib", "catalogue.safetensors")


def recprune(*arguments: object) -> str:
    """Run the program within this process, which has torch loaded; return its stdout."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == 0
    return done.stdout


def test_run_toml_makes_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shop(100).write_csv(tmp_path / "shop.csv")
    (tmp_path / "schema.toml").write_text('[fields.age]\nkind = "categorical"\n')
    typed = ("--user", "user_id", "--item", "item_id", "--drop", "price", "--schema", "schema.toml")
    more = ("model=DCNv2", 'options={"crosses":2}', "epochs=2", "warm_up=0.2", "class_weight=[1,2]")
    settings = [word for setting in more for word in ("--set", setting)]
    first = recprune(
        "train", "shop.csv", "--label", "bought", *typed, *settings, "-o", "a", "--json"
    )
    assert json.loads(first)["model"] == "DCNv2"
    recprune("train", "shop.csv", "--config", "a/run.toml", "-o", "b")
    for name in (*ARTEFACT, "run.toml", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    told = json.loads((tmp_path / "a" / "run.json").read_text())
    assert {"recprune", "seed", "versions", "threads", "data"} <= set(told)
    assert {"numpy", "polars", "torch"} < set(told["versions"])
    history = pl.read_parquet(tmp_path / "a" / "history.parquet")
    assert history.columns == [
        "epoch", "loss", "auc", "learning_rate", "seconds", "rows_per_second"
    ]  # fmt: skip
    assert history["epoch"].to_list() == [0, 1, 2]
    assert (tmp_path / "a" / "plots" / "learning.png").stat().st_size > 5000
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_tune_writes_settings_that_train_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    planted_frame(1500, noise=1).write_csv("rows.csv")
    options = ("--model", "lr", "--trials", 2, "--set", "epochs=1", "-o", "tuned")
    found = json.loads(recprune("tune", "rows.csv", "--label", "y", *options, "--json"))
    assert sum(found["trials"].values()) == 2
    done = recprune("train", "rows.csv", "--config", "tuned/run.toml", "-o", "best", "--json")
    assert json.loads(done)["auc_tune"] == found["best"]["auc_tune"]
    shown = recprune("tune", "rows.csv", "--config", "tuned/run.toml", "--trials", 1, "-o", "more")
    assert "as given" in shown
    assert "recprune train TABLE --config" in shown


@pytest.mark.slow
def test_killed_and_started_again_train_goes_on(tmp_path: Path) -> None:
    planted_frame(20_000).write_csv(tmp_path / "rows.csv")
    command = [sys.executable, "-m", "recprune", "train", "rows.csv", "--label", "y", "-o"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "text": True, "stderr": subprocess.PIPE}
    running = subprocess.Popen([*command, "killed"], **options)  # type: ignore[call-overload]
    while not (tmp_path / ".killed.checkpoint" / "training.safetensors").exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "killed").exists()
    done = subprocess.run([*command, "killed"], check=True, **options)  # type: ignore[call-overload]
    assert "Training goes on from its checkpoint: epoch" in done.stderr
    subprocess.run([*command, "whole"], check=True, **options)  # type: ignore[call-overload]
    for name in ("model.safetensors", "config.json"):
        killed, whole = tmp_path / "killed" / name, tmp_path / "whole" / name
        assert killed.read_bytes() == whole.read_bytes()
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_one_worker_is_not_sent_to_a_cluster(tmp_path: Path) -> None:
    planted_frame(300).write_csv(tmp_path / "rows.csv")
    there = ("--engine", "ray", "--address", "10.0.0.7:6379")
    done = inside("train", tmp_path / "rows.csv", "--label", "y", *there, "-o", tmp_path / "full")
    assert done.returncode == 2
    assert "Add --workers 2 or more" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
