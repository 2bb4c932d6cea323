"""The search for settings: better than what it was given, and the same however often it was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.data import Dataset
from recprune.errors import InputError, ParameterError
from recprune.metrics import auc
from recprune.models import LR, FwFM
from recprune.pipeline import RunConfig
from recprune.pipeline.tuning import Tuned
from tests.planted import small_data
from tests.stopping import stopping

pytest.importorskip("optuna")

#: Settings that hardly learn: the rate is far too low for so few epochs.
BAD = RunConfig(model="LR", learning_rate=1e-5, epochs=3, patience=3, batch_size=256)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(1500)


@pytest.fixture(scope="module")
def found(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    folder = tmp_path_factory.mktemp("search") / "whole"
    return rp.tune(BAD, data, trials=14, storage=folder), folder


def results(trials: pl.DataFrame) -> pl.DataFrame:
    """What trials came to, however often they were begun and whenever."""
    return trials.filter(pl.col("state") != "failed").drop("trial", "seconds")


class Killed(BaseException):
    """No handler of the code under test sees it."""


def test_the_best_settings_beat_a_bad_learning_rate(
    found: tuple[Tuned, Path], data: Dataset
) -> None:
    tuned, folder = found
    first = tuned.trials.row(0, named=True)
    assert first["learning_rate"] == pytest.approx(1e-5)
    best = tuned.trials.row(tuned.best, named=True)
    assert best["auc_tune"] == tuned.trials["auc_tune"].max()
    assert best["auc_tune"] > first["auc_tune"] + 0.01
    again = RunConfig.read(folder / "run.toml")
    assert again == tuned.config
    assert again.learning_rate == best["learning_rate"]
    model = again.ranker().fit(data.train, data.tune)
    assert model.training.best_of(model.history).score == best["auc_tune"]
    assert auc(data.gate.label, model.logits(data.gate.rows)) == best["auc_gate"]


def test_a_trial_below_the_median_is_stopped(found: tuple[Tuned, Path]) -> None:
    import optuna

    tuned, folder = found
    assert set(tuned.trials["state"]) == {"complete", "pruned"}
    study = optuna.load_study(study_name="recprune", storage=f"sqlite:///{folder / 'study.db'}")
    stopped = 0
    for trial in study.trials:
        scores = trial.intermediate_values
        if trial.state.name != "PRUNED":
            assert list(scores) == [1, 2, 3]
            continue
        last, before = max(scores), study.trials[: trial.number]
        others = [t.intermediate_values[last] for t in before if t.state.name == "COMPLETE"]
        assert len(others) >= 5
        assert max(scores.values()) < np.median(others)
        stopped += last < 3
    assert stopped > 0


def test_a_search_without_a_folder_finds_the_same(found: tuple[Tuned, Path], data: Dataset) -> None:
    tuned, _ = found
    again = rp.tune(BAD, data, trials=14)
    assert again.config == tuned.config
    assert results(again.trials).equals(results(tuned.trials))


def test_ended_again_and_again_it_finds_the_same(
    found: tuple[Tuned, Path], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws, stop_at = np.random.default_rng(0), stopping(monkeypatch, Killed)
    kills, tuned = 0, None
    while tuned is None:
        stop_at(int(draws.integers(1, 60)))
        try:
            tuned = rp.tune(BAD, data, trials=14, storage=tmp_path / "search")
        except Killed:
            kills += 1
            stop_at(int(draws.integers(1, 60)))
    assert kills > 3
    assert tuned.trials["state"].to_list().count("failed") == kills
    expected, _ = found
    assert results(tuned.trials).equals(results(expected.trials))
    assert tuned.config == expected.config
    params = ["learning_rate", "l2", "unknown_rate"]
    assert results(tuned.trials).select(params).is_duplicated().sum() == 0


def test_more_trials_go_on_from_those_done(
    found: tuple[Tuned, Path], data: Dataset, tmp_path: Path
) -> None:
    rp.tune(BAD, data, trials=6, storage=tmp_path / "search")
    more = rp.tune(BAD, data, trials=14, storage=tmp_path / "search")
    assert results(more.trials).equals(results(found[0].trials))


def test_a_class_brings_its_own_space(data: Dataset) -> None:
    config = RunConfig(model="FwFM", dim=5, epochs=1, l2=0)
    tuned = rp.tune(config, data, trials=2)
    assert {"dim", "learning_rate"} < set(tuned.trials.columns)
    assert "hidden" not in tuned.trials.columns
    assert tuned.trials["dim"][0] == 5
    assert rp.tune(LR, data, trials=1).config.model == "LR"
    assert FwFM.__name__ == tuned.config.model


def test_a_loss_that_explodes_ends_its_trial_alone(data: Dataset) -> None:
    config = RunConfig(model="DeepFM", hidden=(64, 64), learning_rate=0.95, epochs=4, patience=4)
    tuned = rp.tune(config, data, trials=3)
    assert tuned.trials["state"][0] == "pruned"
    assert "has exploded" in tuned.trials["error"][0]
    assert tuned.best > 0


def test_what_cannot_go_on_is_refused(
    found: tuple[Tuned, Path], data: Dataset, tmp_path: Path
) -> None:
    _, folder = found
    with pytest.raises(ParameterError, match="'trials' parameter of tune must be an int"):
        rp.tune(BAD, data, trials=0)
    with pytest.raises(InputError, match="search is of another 'data'"):
        rp.tune(BAD, small_data(1500, seed=1), storage=folder)
    with pytest.raises(InputError, match=r"another 'epochs' \(3, now 4\)"):
        rp.tune(BAD.model_copy(update={"epochs": 4}), data, storage=folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a search's folder"):
        rp.tune(BAD, data, storage=tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]
    import fcntl

    with (folder / ".lock").open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another search is running"):
            rp.tune(BAD, data, storage=folder)


PROGRAM = """
import sys
import recprune as rp
from recprune.pipeline import RunConfig
from tests.planted import small_data

config = RunConfig(model="LR", learning_rate=1e-5, epochs=3, patience=3, batch_size=256)
data = small_data(1500)
print("ready", flush=True)
rp.tune(config, data, trials=14, storage=sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_finds_the_same(
    found: tuple[Tuned, Path], tmp_path: Path
) -> None:
    folder, draws, kills = tmp_path / "search", np.random.default_rng(1), 0
    while not (folder / "run.toml").exists():
        running = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        if kills < 6:
            time.sleep(draws.uniform(0.2, 4))
            running.send_signal(signal.SIGKILL)
            kills += 1
        assert running.wait() in (0, -signal.SIGKILL)
    assert os.listdir(folder)
    tuned = pl.read_parquet(folder / "trials.parquet")
    assert results(tuned).equals(results(found[0].trials))
    assert RunConfig.read(folder / "run.toml") == found[0].config
