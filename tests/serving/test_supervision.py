"""The parent of the workers: none that was started is lost sight of, whatever signals come."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from recprune.serving import workers as workers_module
from recprune.serving.workers import Workers


class Pretended:
    """A worker that is no process; all that were started are known."""

    started: list[Pretended]

    def __init__(self, config: Any, sockets: Any) -> None:
        del config, sockets
        self.pid = len(self.started) + 1
        self.exitcode: int | None = None
        self.process = SimpleNamespace(is_alive=lambda: self.exitcode is None)

    def start(self) -> None:
        self.started.append(self)

    def ping(self, timeout: float = 5) -> bool:
        del timeout
        return self.exitcode is None

    def wait_until_ready(self, timeout: float, should_exit: Any = None) -> bool:
        del timeout, should_exit
        return True

    is_ready = ping

    def terminate(self) -> None:
        self.exitcode = 0 if self.exitcode is None else self.exitcode

    kill = terminate

    def join(self) -> None:
        """Wait for nothing."""


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr(Pretended, "started", [], raising=False)
    for module in (multiprocess, workers_module):
        monkeypatch.setattr(module, "Process", Pretended)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    parent = Workers(uvicorn.Config("none:none", workers=2, log_config=None), [], tmp_path)
    parent.init_processes()
    parent.keep_subprocess_alive()
    yield parent
    alive = {each for each in Pretended.started if each.exitcode is None}
    assert alive == {*parent.processes}, "nobody ends a worker that its parent has forgotten"


def unfit(workers: Workers, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker end as one that could not start, and its place be due at once."""
    workers.processes[place].exitcode = STARTUP_FAILURE  # type: ignore[misc]
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: 0.0)
        patch.setattr(workers_module, "PAUSE", 1e-9)
        workers.keep_subprocess_alive()


def test_a_worker_that_is_gone_is_replaced(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit(workers, 0, monkeypatch)
    workers.keep_subprocess_alive()
    assert [each.exitcode for each in workers.processes] == [None, None]
    assert len(Pretended.started) == 3


def test_what_was_counted_outlives_its_worker_and_one_that_never_served_leaves_nothing(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, failed = workers.processes
    for process in (served, failed):
        for kind in ("counter", "histogram", "gauge_livemax", "gauge_livesum"):
            (tmp_path / f"{kind}_{process.pid}.db").touch()
    served.kill()
    unfit(workers, 1, monkeypatch)
    workers.keep_subprocess_alive()
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {f"counter_{served.pid}.db", f"histogram_{served.pid}.db"}


def test_a_signal_that_replaces_one_that_could_not_start_does_so_once(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit(workers, 0, monkeypatch)
    workers.handle_hup()
    workers.keep_subprocess_alive()
    assert len(Pretended.started) == 4, "each of two was replaced"


def test_a_worker_that_is_added_where_one_was_taken_away_stays(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit(workers, 1, monkeypatch)
    workers.handle_ttou()
    workers.handle_ttin()
    workers.keep_subprocess_alive()
    assert len(Pretended.started) == 3
