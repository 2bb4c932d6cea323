"""The workers: processes that are replaced when they end, and that end with their parent."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from recprune._support import logger
from recprune.errors import RunError
from recprune.serving.settings import ServeSettings

__all__ = ["Workers", "worker"]

#: Seconds before another try where a worker could not start.
PAUSE = 5.0
#: Seconds in which a worker says that it lives; it is asked twice a second.
PING = 0.2
#: Files of a worker's figures that hold for as long as it lives, as prometheus_client names them.
LIVE = "gauge_live*"


class Workers(Multiprocess):
    """uvicorn's supervisor, which keeps the others going where one cannot be replaced.

    A worker that could not start ends uvicorn's own: a damaged model in place of the one that is
    served, and one worker killed, would be the end of the service. Here it is tried again.

    Args:
        config: of the workers.
        sockets: that they share.
        folder: of the metrics; a dead worker's live figures are taken out of it.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], folder: Path) -> None:
        super().__init__(config, sockets)
        self._folder = folder
        self._served = False
        self._failed = False
        #: When another is started in the place of one that is gone. By worker and not by position,
        #: where a signal may have put another meanwhile.
        self._due: weakref.WeakKeyDictionary[Process, float] = weakref.WeakKeyDictionary()
        #: When each was last heard of.
        self._heard: weakref.WeakKeyDictionary[Process, float] = weakref.WeakKeyDictionary()

    def run(self) -> None:
        """Keep workers until told to end.

        Raises:
            RunError: not one could start.
        """
        super().run()
        if self._failed:
            raise RunError("No worker could start; what each met with is said above.")

    def keep_subprocess_alive(self) -> None:
        """Replace workers that are gone, and those that have not been heard of for long."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process not in self._due:
                if self._lives(process):
                    continue
                self._ended(process)
            if self._due.get(process, float("inf")) <= time.monotonic():
                self.processes[place] = fresh = Process(self.config, self.sockets)
                fresh.start()

    def _lives(self, process: Process) -> bool:
        """Tell whether a worker is there and not stuck; one that still starts cannot answer yet."""
        now = time.monotonic()
        if not process.process.is_alive():
            return False
        if process.ping(PING):
            self._served = self._served or process.is_ready(PING)
            self._heard[process] = now
        return now - self._heard.setdefault(process, now) < self.config.timeout_worker_healthcheck

    def handle_hup(self) -> None:
        """Replace all workers, one after the other."""
        before = self.processes[:]
        super().handle_hup()
        for process in before:
            if process not in self.processes:
                self._forget(process)

    def _ended(self, process: Process) -> None:
        process.kill()  # it may hang
        process.join()
        unfit = process.exitcode == STARTUP_FAILURE
        # One that never served has counted nothing, and is tried again every few seconds: what it
        # leaves would fill the memory of all.
        self._forget(process, "*" if unfit else LIVE)
        if unfit and not self._served:
            self._failed = True
            self.should_exit.set()
            return
        self._due[process] = time.monotonic() + (PAUSE if unfit else 0)
        why = "could not start" if unfit else f"ended ({process.exitcode})"
        logger.warning("Worker %s %s; another takes its place.", process.pid, why)

    def _forget(self, process: Process, what: str = LIVE) -> None:
        for file in self._folder.glob(f"{what}_{process.pid}.db"):
            file.unlink(missing_ok=True)


def worker(make_app: Callable[[ServeSettings], Any], settings: ServeSettings, level: int) -> Any:
    """Return a worker's application, in its own process, which ends when the parent does.

    Args:
        make_app: makes it.
        settings: of the service.
        level: from which on it logs: a new process knows nothing of the parent's logging.
    """
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return make_app(settings)


def _end_with(parent: BaseProcess) -> None:
    """Wait for the parent to end; then end as if it had said so."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
