"""What a training leaves beside its model: hashes that tell data apart, checkpoints that go away."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import polars as pl
import pytest

from recprune.artifact import read_artifact
from recprune.data import Dataset, ingest
from recprune.errors import InputError, TrainingError
from recprune.executor import Executor
from recprune.models import PrivacyBudget, trainer
from recprune.models.parallel import Group
from recprune.models.step import Step
from recprune.pipeline import RunConfig, train_model
from recprune.pipeline.run_folder import checkpoint_beside, data_hash
from tests.planted import planted_frame, small_data
from tests.stopping import stopping

QUICK = RunConfig(epochs=2, dim=4, hidden=(8,), batch_size=256)


def split(frame: pl.DataFrame, seed: int = 0) -> Dataset:
    return Dataset.from_frame(frame, label="y").split(by="random", seed=seed)


def test_the_hash_is_the_datas_alone(tmp_path: Path) -> None:
    frame = planted_frame(400, noise=1)
    known = data_hash(split(frame))
    assert data_hash(split(frame.clone())) == known
    frame.write_csv(tmp_path / "rows.csv")
    ingest(tmp_path / "rows.csv", tmp_path / "rows.rp", label="y")
    for source in ("rows.csv", "rows.rp"):
        read = Dataset.read(tmp_path / source, label="y").split(by="random", seed=0)
        assert data_hash(read) == known, source


@pytest.mark.parametrize("change", ["label", "value", "order", "split", "field"])
def test_other_data_have_another_hash(change: str) -> None:
    frame = planted_frame(400, noise=1)
    first = pl.int_range(pl.len()) == 0
    other = {
        "label": frame.with_columns(pl.when(first).then(1 - pl.col("y")).otherwise("y").alias("y")),
        "value": frame.with_columns(
            pl.when(first).then(pl.lit("v9")).otherwise("weak0").alias("weak0")
        ),
        "order": frame.reverse(),
        "split": frame,
        "field": frame.drop("noise0"),
    }[change]
    assert data_hash(split(other, seed=int(change == "split"))) != data_hash(split(frame))


def test_an_ended_training_leaves_its_checkpoint_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = small_data(1500)
    stopping(monkeypatch, KeyboardInterrupt)(9)
    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 2)
    with pytest.raises(KeyboardInterrupt):
        train_model(data, tmp_path / "model", QUICK)
    assert [p.name for p in tmp_path.iterdir()] == [".model.checkpoint"]
    assert "the same command goes on from it" in caplog.text
    train_model(data, tmp_path / "model", QUICK)
    assert "Training goes on from its checkpoint: epoch 2, step " in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    train_model(data, tmp_path / "whole", QUICK)
    for name in ("model.safetensors", "config.json", "run.toml"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    shutil.rmtree(tmp_path / "model" / "plots")  # what is no part of the artefact is not needed
    read_artifact(tmp_path / "model")


def test_a_loss_that_explodes_leaves_nothing_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 1)
    config = RunConfig(hidden=(64, 64), learning_rate=0.95)
    with pytest.raises(TrainingError, match="has exploded"):
        train_model(small_data(1500), tmp_path / "model", config)
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Step, "take", None)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not a recprune folder"):
        train_model(small_data(1500), tmp_path / "mine", QUICK)


def test_private_training_by_several_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Private training is for one process alone"):
        train_model(
            small_data(1500), tmp_path / "out", QUICK, PrivacyBudget(8.0), executor=Executor(2)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_workers_beside_processes_of_torchrun_are_refused(tmp_path: Path, rank: int) -> None:
    with pytest.raises(InputError, match="train together already"):
        train_model(
            small_data(1500), tmp_path / "out", QUICK, group=Group(rank, 2), executor=Executor(2)
        )
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_write_one_output(tmp_path: Path) -> None:
    data = small_data(1500)
    with checkpoint_beside(tmp_path / "model"):
        with pytest.raises(InputError, match="Another run is writing"):
            train_model(data, tmp_path / "model", QUICK)
        train_model(data, tmp_path / "other", QUICK)
    train_model(data, tmp_path / "model", QUICK)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "other"]


def test_a_folder_that_was_replaced_meanwhile_is_held_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, locks = tmp_path / ".model.checkpoint", []

    def flock(handle: int, how: int) -> None:
        if not locks:  # the run before removes its folder, between the opening and the lock
            folder.rmdir()
        locks.append(handle)
        held(handle, how)

    held = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    with checkpoint_beside(tmp_path / "model"):
        assert len(locks) == 2
        with (
            pytest.raises(InputError, match="Another run is writing"),
            checkpoint_beside(tmp_path / "model"),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_did_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("not a run's")
    with pytest.raises(InputError, match="model"):
        train_model(small_data(1500), tmp_path / "model", QUICK)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
