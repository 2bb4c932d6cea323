"""A page's blocks as a reader would type them: one shell, one Python, one folder, in its order."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.blocks import ROOT, Block, exit_codes

__all__ = ["PYTHONS", "BlockFailed", "Page", "port_of", "serving_alone"]

# Pages about tools that need an environment of their own; make bench-peers builds them.
PYTHONS = {
    "docs/howto/fuxictr.md": ".venv-peers",
    "docs/howto/deepctr-torch.md": ".venv-peers",
    "docs/howto/torch-rechub.md": ".venv-peers",
    "docs/howto/recbole.md": ".venv-recbole",
}
# A block that has said nothing for so long hangs.
LIMIT_S = 900.0
_SERVES = re.compile(r"recprune serve(?:[^\n\\]|\\\n|\\.)*?&\s*$", re.M)
_PORT = re.compile(r"--port[ =](\d+)")
_TOLERATE = 'trap \'__exit=$?; case " {codes} " in *" $__exit "*) ;; *) exit $__exit;; esac\' ERR'


class BlockFailed(AssertionError):
    """A block ended otherwise than its page lets readers expect."""

    def __init__(self, block: Block, what: str, printed: str) -> None:
        code = "\n".join(f"    {line}" for line in block.code.splitlines())
        said = printed.strip() or "(nothing)"
        super().__init__(f"{block.place}: {what}\n\n{code}\n\nIt printed:\n{said[-6000:]}")


def port_of(block: Block) -> int | None:
    """The port of a service that the block starts behind it, as ``recprune serve … &`` does."""
    found = _SERVES.search(block.code) if block.language == "sh" else None
    if found is None:
        return None
    named = _PORT.search(found[0])
    return int(named[1]) if named else 8000


@contextmanager
def serving_alone(blocks: list[Block]) -> Iterator[None]:
    """Keep a page that serves from other pages that do: their ports are those that readers type.

    The lock is of the machine's user, so that several test runs wait for each other too.
    """
    ports = {port for block in blocks if (port := port_of(block))}
    if not ports:
        yield
        return
    place = Path(tempfile.gettempdir()) / f"recprune-docs-{os.getuid()}.lock"
    with place.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in sorted(ports):
            assert not _answers(port), f"port {port}, that the page serves on, is taken: free it"
        yield


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: asked first, then not."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + 10
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            process.wait()
            return


class _Process:
    """A process that takes commands on stdin and answers each by a line on a pipe of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        ours, theirs = os.pipe()
        self._log = folder.with_suffix(f".{Path(command[0]).name}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [word.replace("{replies}", str(theirs)) for word in command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        self.replies = theirs
        self._answers = os.fdopen(ours, "r")
        self._seen = 0

    def ask(self, line: str) -> tuple[str, str]:
        """Send a line; return the answer (of a process that ended: ``exit N``), and what it printed."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        ready, _, _ = select.select([self._answers], [], [], LIMIT_S)
        answer = self._answers.readline().strip() if ready else f"no end after {LIMIT_S:.0f} s"
        if not answer:
            answer = f"exit {self._process.wait(30)}"
        return answer, self.printed()

    def printed(self) -> str:
        """What was printed since it was last asked for."""
        said = self._log.read_bytes()
        new, self._seen = said[self._seen :], len(said)
        return new.decode("utf-8", "replace")

    def close(self) -> None:
        _end(self._process)
        self._answers.close()


class Page:
    """A page that is being worked through in an empty folder, with a home and a state of its own.

    ``with Page(name, folder, state) as page: page.run(block)``; all that the blocks started is
    ended with it.
    """

    def __init__(self, name: str, folder: Path, state: str, python: Path | None = None) -> None:
        self.name = name
        self.folder = folder
        here = Path(sys.executable).parent
        python = python or Path(sys.executable)
        home = folder.with_suffix(".home")
        home.mkdir()
        folder.mkdir(exist_ok=True)
        self._environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RECPRUNE_", "PYTEST_", "PYTHON", "VIRTUAL_ENV"))
        } | {
            "PATH": os.pathsep.join([str(python.parent), str(here), os.environ["PATH"]]),
            "HOME": str(home),
            "XDG_STATE_HOME": state,
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._shell = _Process(["bash", "--noprofile", "--norc", "-s"], self._environment, folder)
        self._python = _Process(
            [str(python), str(Path(__file__).with_name("session.py")), "{replies}"],
            self._environment,
            folder,
        )

    def __enter__(self) -> Self:
        answer, printed = self._python.ask(json.dumps({"given": self.name}))
        if answer != "done":
            self.close()
            raise AssertionError(f"what {self.name} presupposes could not be made:\n{printed}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all that runs."""
        self._shell.close()
        self._python.close()

    def run(self, block: Block) -> str:
        """Run a block; return what it printed, or raise BlockFailed."""
        answer, printed = self._typed(block) if block.language == "sh" else self._executed(block)
        if answer != "done":
            raise BlockFailed(block, answer, printed)
        port = port_of(block)
        if port is not None:
            printed += self._wait_for(port, block)
        return printed

    def _typed(self, block: Block) -> tuple[str, str]:
        """Run it in the page's shell, which ends at the first command that fails."""
        script = self.folder.with_suffix(".sh")
        script.write_text(block.code, "utf-8")
        left = self.folder.with_suffix(".left")
        codes = exit_codes(block)
        careful = _TOLERATE.format(codes=" ".join(map(str, sorted(codes)))) if codes else "set -e"
        return self._shell.ask(
            f"{careful}; source '{script}' </dev/null {self._shell.replies}>&-; "
            f"trap - ERR; set +e; {{ pwd; env -0; }} >'{left}'; echo done >&{self._shell.replies}"
        )

    def _executed(self, block: Block) -> tuple[str, str]:
        """Run it in the page's Python, with the variables and the folder that the shell has now."""
        environment, folder = self._environment, str(self.folder)
        left = self.folder.with_suffix(".left")
        if left.exists():
            folder, _, variables = left.read_text("utf-8").partition("\n")
            environment = dict(each.split("=", 1) for each in variables.split("\0") if each)
        request = {
            "page": str(ROOT / block.page),
            "line": block.line,
            "code": block.code,
            "environment": environment,
            "folder": folder,
        }
        return self._python.ask(json.dumps(request))

    def _wait_for(self, port: int, block: Block) -> str:
        """Wait, as a reader does, until what the block started behind it answers."""
        until = time.monotonic() + 120
        while not _answers(port):
            if time.monotonic() > until:
                what = f"nothing answers on port {port} after two minutes"
                raise BlockFailed(block, what, self._shell.printed())
            time.sleep(0.2)
        return self._shell.printed()
