"""``torchrun … recprune train``: one process speaks and writes; one that dies ends all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recprune.artifact import read_artifact
from tests.models.parallel.world import difference
from tests.pipeline.test_run import shop

TRAIN = ("train", "shop.csv", "--label", "bought", "--user", "user_id", "--item", "item_id")
#: Parts of a batch are rounded otherwise in bfloat16.
PLAIN = ("--set", "precision=fp32", "--set", "device=cpu")


def started(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=environment, text=True,
        stdout=pipe, stderr=pipe,
    )  # fmt: skip


def test_torchrun_writes_what_one_process_writes(tmp_path: Path) -> None:
    shop(100).write_csv(tmp_path / "shop.csv")
    few = (*TRAIN, *PLAIN, "--set", "epochs=2", "--json")
    launcher = ("torch.distributed.run", "--nproc-per-node", "2")
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    both = started(tmp_path, *launcher, *meeting, "-m", "recprune", *few, "-o", "both")
    alone = started(tmp_path, "recprune", *few, "-o", "alone")
    (out, _), (other, _) = both.communicate(timeout=120), alone.communicate(timeout=120)
    assert both.returncode == alone.returncode == 0
    told, expected = json.loads(out), json.loads(other)
    assert (told["processes"], expected["processes"]) == (2, 1)
    assert told["params"] == expected["params"]
    states = [read_artifact(tmp_path / name).state for name in ("both", "alone")]
    assert difference(*states) < 1e-6
    names = [sorted(p.name for p in (tmp_path / name).iterdir()) for name in ("both", "alone")]
    assert names[0] == names[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone", "both", "shop.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_all_and_training_goes_on_later(
    tmp_path: Path, victim: int
) -> None:
    shop(300).write_csv(tmp_path / "shop.csv")
    long = (*TRAIN, *PLAIN, "--set", "epochs=60", "--set", "patience=60", "-o", "out")

    def together() -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        where = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        return [started(tmp_path, "recprune", *long, RANK=str(r), **where) for r in range(2)]

    processes = together()
    until = time.monotonic() + 120
    while not (tmp_path / ".out.checkpoint" / "training.safetensors").exists():
        assert time.monotonic() < until
        assert all(p.poll() is None for p in processes)
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    _, said = processes[1 - victim].communicate(timeout=120)
    processes[victim].communicate(timeout=120)
    assert processes[1 - victim].returncode == 1
    assert "A process that trains along has died" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()

    again = together()
    said = "".join(p.communicate(timeout=240)[1] for p in again)
    assert [p.returncode for p in again] == [0, 0]
    assert said.count("Training goes on from its checkpoint") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "shop.csv"]
    alone = started(tmp_path, "recprune", *long[:-1], "alone")
    alone.communicate(timeout=240)
    states = [read_artifact(tmp_path / name).state for name in ("out", "alone")]
    assert difference(*states) < 1e-5  # after many more than a hundred steps
