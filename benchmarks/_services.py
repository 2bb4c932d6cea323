"""Services as processes of their own: started, waited for, measured, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Service", "free_port", "service", "smaps"]

#: Seconds for a service to be ready, and to end when it is told to.
READY, END = 120.0, 10.0


@dataclass(frozen=True)
class Service:
    """A service that runs.

    Args:
        name: for messages.
        url: without a path.
        pid: of the parent of its workers.
    """

    name: str
    url: str
    pid: int

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON that it answers.

        Raises:
            SystemExit: it answers with another status than 200.
        """
        data = None if body is None else json.dumps(body).encode()
        told = {"content-type": "application/json", **(headers or {})}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, data, told), timeout=60
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{self.name} answers {path} with {error.code}: {error.read()[:300]!r}")

    def workers(self) -> list[int]:
        """Return the worker processes."""
        file = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = []
        for child in map(int, file.read_text("ascii").split()):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                found.append(child)
        return found

    def seconds(self) -> float:
        """Return what its workers have computed so far, in seconds of one processor."""
        ticks = 0
        for pid in self.workers():
            # After the name, which may hold anything, in brackets.
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        """Return the bytes of its largest worker: see :func:`smaps`."""
        each = [
            smaps(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")) for pid in self.workers()
        ]
        if not each:
            sys.exit(f"{self.name} has no workers.")
        return max(each, key=lambda memory: memory["uss"])


def smaps(text: str) -> dict[str, int]:
    """Return bytes of a process's memory: its own (``uss``), and with its share of what is shared
    (``pss``).

    >>> smaps("Pss: 30 kB\\nPrivate_Clean: 4 kB\\nPrivate_Dirty: 20 kB\\n")
    {'uss': 24576, 'pss': 30720}
    """
    sizes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            sizes[name] = int(rest.split()[0]) * 1024
    return {"uss": sizes["Private_Clean"] + sizes["Private_Dirty"], "pss": sizes["Pss"]}


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def service(
    name: str, command: Sequence[str], port: int, ready: str, env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Run a service until the block is left, however that is.

    Args:
        name: for messages.
        command: of its parent process.
        port: where it listens.
        ready: a path that is answered, with whatever status below 500, when it is ready.
        env: of the environment, on top of this process's.

    Raises:
        SystemExit: it ends, or is not ready in time.
    """
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **alone, **(env or {})},
            start_new_session=True,
        )
        started = Service(name, f"http://127.0.0.1:{port}", process.pid)
        try:
            _wait(started, process, ready, log)
            yield started
        finally:
            _end(process)


def _wait(started: Service, process: subprocess.Popen[Any], ready: str, log: Any) -> None:
    until = time.monotonic() + READY
    while True:
        try:
            urllib.request.urlopen(started.url + ready, timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            log.seek(0)
            sys.exit(f"{started.name} did not start:\n{log.read()[-3000:]}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END)
    # Its session is its own: no worker outlives it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
