"""Stopped at any moment and started again, training ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Dataset
from recprune.data.spec import Spec
from recprune.errors import ParameterError, RecpruneWarning
from recprune.models import (
    MF,
    DeepFM,
    Hidden,
    Penalty,
    Ranker,
    SharedBottom,
    Training,
    TwoTower,
    checkpoint,
    trainer,
)
from recprune.models.step import Step
from tests.pipeline.test_run import shop
from tests.planted import small_data
from tests.stopping import stopping

OPTIONS = {"epochs": 3, "batch_size": 256, "learning_rate": 0.01, "patience": 3}


class Killed(BaseException):
    """No handler of the code under test sees it."""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(1000)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_STEPS", 2)


def fit(data: Dataset, path: Path | None, seed: int = 0, **options: object) -> Ranker:
    training = Training(**{**OPTIONS, "penalty": Penalty(l2=0.1), **options})  # type: ignore[arg-type]
    model = DeepFM(4, Hidden((8,), dropout=0.2), training, seed)
    return model.fit(data.train, data.tune, checkpoint=path)


def bytes_of(model: Ranker) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in model.state.items()}


def test_stopped_at_every_step_and_write_it_ends_in_the_same_bytes(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit(data, None)
    count, last = 0, 0

    def counted(owner: object, name: str) -> None:
        whole = getattr(owner, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == last:
                raise Killed
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    counted(Step, "take")
    counted(checkpoint, "save_file")
    counted(checkpoint.os, "fsync")
    counted(Path, "replace")
    whole = fit(data, tmp_path / "whole")
    assert bytes_of(whole) == bytes_of(expected)
    total = count
    assert total > 20
    path = tmp_path / "stopped"
    for last in range(1, total + 1):
        count = 0
        with pytest.raises(Killed):
            fit(data, path)
        count, kept = -10_000, path.exists()
        again = fit(data, path)
        assert bytes_of(again) == bytes_of(expected), f"stopped at event {last} of {total}"
        assert again.history[1:] == expected.history[1:]
        assert kept or last < total / 2
        path.unlink()


@pytest.mark.parametrize("kind", [MF, TwoTower, SharedBottom])
def test_other_objectives_go_on_too(
    kind: type[Ranker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shop(80).with_columns((pl.col("price") > 4).cast(int).alias("dear"))
    spec = Spec(other_labels=("dear",)) if kind is SharedBottom else None
    data = Dataset.from_frame(
        table, label="bought", user="user_id", item="item_id", schema=spec
    ).split(by="random")
    training = Training(epochs=2, batch_size=64, patience=2)
    expected = kind(training=training).fit(data.train, data.tune)
    stop_at = stopping(monkeypatch, Killed)
    for stop in (4, 9):
        stop_at(stop)
        with pytest.raises(Killed):
            kind(training=training).fit(data.train, data.tune, checkpoint=tmp_path / "kept")
        again = kind(training=training).fit(data.train, data.tune, checkpoint=tmp_path / "kept")
        assert bytes_of(again) == bytes_of(expected)
        (tmp_path / "kept").unlink()


def test_a_finished_training_answers_at_once(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(data, tmp_path / "kept")
    monkeypatch.setattr(Step, "take", None)
    again = fit(data, tmp_path / "kept")
    assert bytes_of(again) == bytes_of(whole)
    assert again.history[1:] == whole.history[1:]


@pytest.mark.parametrize(
    "change, named",
    [
        ({"seed": 1}, "settings, first weights"),
        ({"learning_rate": 0.02}, "settings"),
        ({"class_weight": "balanced"}, "settings, objective"),
    ],
)
def test_a_checkpoint_of_other_settings_is_left_out_by_name(
    data: Dataset, tmp_path: Path, change: dict, named: str
) -> None:
    fit(data, tmp_path / "kept")
    with pytest.warns(RecpruneWarning, match=f"another run: its {named}"):
        again = fit(data, tmp_path / "kept", **change)
    assert bytes_of(again) == bytes_of(fit(data, None, **change))


def test_a_checkpoint_of_other_rows_is_left_out_by_name(data: Dataset, tmp_path: Path) -> None:
    fit(data, tmp_path / "kept")
    other = small_data(1000, seed=5)
    with pytest.warns(RecpruneWarning, match="rows, objective"):
        fit(other, tmp_path / "kept")


def test_a_checkpoint_of_another_version_is_left_out_by_name(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(data, tmp_path / "kept")
    monkeypatch.setattr(checkpoint, "__version__", "9.9")
    with pytest.warns(RecpruneWarning, match="its version differ"):
        fit(data, tmp_path / "kept")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"half"])
def test_a_damaged_checkpoint_is_left_out(data: Dataset, tmp_path: Path, content: bytes) -> None:
    path, expected = tmp_path / "kept", fit(data, None)
    fit(data, path)
    path.write_bytes(path.read_bytes()[:-100] if content == b"half" else content)
    with pytest.warns(RecpruneWarning, match="cannot be read"):
        assert bytes_of(fit(data, path)) == bytes_of(expected)


def test_where_no_checkpoint_can_be_written_training_goes_on(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(RecpruneWarning, match="cannot be written"):
        model = fit(data, tmp_path / "file" / "kept")
    assert bytes_of(model) == bytes_of(fit(data, None))


def test_a_checkpoint_beside_an_extra_optimiser_is_refused(data: Dataset, tmp_path: Path) -> None:
    model = fit(data, None)
    gate = torch.nn.Parameter(torch.zeros(1))
    extra = lambda _: (gate.sum(), torch.optim.SGD([gate], 0.1))  # noqa: E731
    with pytest.raises(ParameterError, match="'checkpoint' parameter of train"):
        model.train_on(data.train, checkpoint=tmp_path / "kept", extra=extra)


PROGRAM = """
import sys
import numpy as np
from recprune.models import DeepFM, Hidden, Training, trainer
from tests.planted import planted_frame
from recprune.data import Dataset

trainer.CHECKPOINT_STEPS = 3
data = Dataset.from_frame(planted_frame(8000), label="y").split(by="random")
model = DeepFM(16, Hidden((32,), dropout=0.1), Training(epochs=4, batch_size=256))
print("ready", flush=True)
model.fit(data.train, data.tune, checkpoint=sys.argv[1])
np.savez(sys.argv[2], **model.state)
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            str(tmp_path / name),
            str(tmp_path / f"{name}.npz"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        return running

    running = start("whole")  # it is ready: what is loaded before does not count
    begun = time.perf_counter()
    assert running.wait() == 0
    seconds = time.perf_counter() - begun
    draws, kills, writing = random.Random(0), 0, 0
    most = 6
    while not (tmp_path / "killed.npz").exists():
        running = start("killed")
        time.sleep(draws.uniform(0, seconds / 3) if kills < most else 0)
        if kills < most:
            if kills % 3 == 0:  # while it writes
                while running.poll() is None and not (tmp_path / "killed.partial").exists():
                    pass
            writing += (tmp_path / "killed.partial").exists()
            running.send_signal(signal.SIGKILL)
            kills += 1
        assert running.wait() in (0, -signal.SIGKILL)
    assert kills == most
    assert writing > 0
    whole, killed = (np.load(tmp_path / f"{name}.npz") for name in ("whole", "killed"))
    for name in whole.files:
        np.testing.assert_array_equal(killed[name], whole[name])
