"""Work in parts: the same result for any number of workers, and no worker left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recprune.errors import ParameterError, RunError
from recprune.executor import Executor
from tests.core import executor_work as work

ROOT = Path(__file__).parents[2]
DATA = np.random.default_rng(0).normal(size=10_000)
PARTS = [slice(i, i + 1_250) for i in range(0, 10_000, 1_250)]


def test_any_number_of_workers_gives_the_same_bits() -> None:
    results = [
        np.stack(Executor(n).map(work.moments, PARTS, shared=DATA, seed=3)) for n in (1, 2, 3)
    ]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    other = np.stack(Executor().map(work.moments, PARTS, shared=DATA, seed=4))
    assert results[0].tobytes() != other.tobytes()


def test_the_number_of_threads_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = np.random.default_rng(1).normal(size=(3000, 64)).astype(np.float32)
    serial = Executor(1).map(work.product, [0, 1], shared=shared)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert Executor(2).map(work.product, [0, 1], shared=shared) == serial
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_results_keep_the_order_of_the_parts() -> None:
    assert Executor(2).map(work.fail_at_three, [5, 1, 4, 2]) == [5, 1, 4, 2]
    assert Executor(2).map(work.fail_at_three, []) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_part_is_the_callers(workers: int) -> None:
    with pytest.raises(ValueError, match="three is wrong"):
        Executor(workers).map(work.fail_at_three, range(6))


def test_a_part_whose_process_died_is_tried_again(tmp_path: Path) -> None:
    squares = Executor(2).map(work.die_once, range(5), shared=str(tmp_path))
    assert squares == [0, 1, 4, 9, 16]
    assert (tmp_path / "2").exists()


def test_a_part_that_always_kills_its_process_ends_the_work() -> None:
    with pytest.raises(RunError, match=r"died 2 times while it worked on 'squares'.*fewer workers"):
        Executor(2, retries=1).map(work.die_always, range(3), text="squares")


def test_ctrl_c_leaves_nobody_behind(tmp_path: Path) -> None:
    script = (
        "from recprune.executor import Executor\n"
        "from tests.core import executor_work as work\n"
        "if __name__ == '__main__':\n"
        f"    Executor(2).map(work.sleep_long, range(4), shared={str(tmp_path)!r})\n"
    )
    path = tmp_path / "main.py"
    path.write_text(script, "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    run = subprocess.Popen(
        [sys.executable, str(path)], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(workers := [p for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) != 0
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(worker.name), 0)


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 1.5}, {"retries": -1}])
def test_bad_parameters_are_named(options: dict) -> None:
    with pytest.raises(ParameterError, match="of Executor must be an int"):
        Executor(**options)
