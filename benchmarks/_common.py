"""What all benchmarks share: their environment, paired timing, claims, and the printed form.

A benchmark is a module with a function from ``quick`` to claims::

    def measure(quick: bool) -> list[Claim]: ...

    if __name__ == "__main__":
        main("speed", measure)

With ``--json`` it prints one object on stdout and nothing else there; logs go to stderr.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "Claim",
    "PeerProcess",
    "Timing",
    "alternate",
    "environment",
    "main",
    "one_thread",
    "peer",
    "python_of",
]

ROOT = Path(__file__).resolve().parents[1]
#: What figures come from; results that were published before are not.
CODE = (
    "src",
    "benchmarks",
    "tests/planted.py",
    "pyproject.toml",
    ":(exclude,glob)benchmarks/*.json",
)
PACKAGES = ("recprune", "numpy", "numba", "torch", "polars", "scikit-learn", "lightgbm")


@dataclass(frozen=True)
class Claim:
    """One measured number.

    Args:
        id: its name; the one that an issue gave it, to the letter.
        value: the number; a ratio is peer ÷ ours in time, so more is better.
        unit: ``"ratio"``, ``"share"``, ``"seconds"``, ``"bytes"``, …
        peer: what it is compared with, and its version; None = nothing.
        detail: how it came about: medians, spreads, sizes.
    """

    id: str
    value: float
    unit: str
    peer: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the claim as it is printed."""
        shown = {"id": self.id, "value": self.value, "unit": self.unit}
        return {**shown, "peer": self.peer, "detail": dict(self.detail)}


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat, by contestant; repeat ``i`` of all was run side by side."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Return the median seconds of one contestant."""
        return statistics.median(self.seconds[name])

    def ratio(self, peer: str, ours: str) -> float:
        """Return the median over repeats of peer ÷ ours: paired, so that drift cancels.

        >>> Timing({"peer": (2.0, 6.0, 4.0), "ours": (1.0, 2.0, 2.0)}).ratio("peer", "ours")
        2.0
        """
        pairs = zip(self.seconds[peer], self.seconds[ours], strict=True)
        return statistics.median(p / o for p, o in pairs)

    def detail(self) -> dict[str, Any]:
        """Return medians, fastest and slowest, for a claim."""
        return {
            name: {"median_s": self.median(name), "min_s": min(s), "max_s": max(s)}
            for name, s in self.seconds.items()
        }


def alternate(
    contestants: Mapping[str, Callable[[], object]], repeats: int = 7, calls: int = 1
) -> Timing:
    """Time the contestants in turn, after one warm-up each.

    Args:
        contestants: name → the work, on the same data.
        repeats: rounds, at least five. Every other round runs in the opposite order.
        calls: calls of the work a round; seconds are of one call.

    Raises:
        ValueError: fewer than five repeats, or no call.
    """
    if repeats < 5 or calls < 1:
        raise ValueError(f"At least 5 repeats of 1 call are needed. Got {repeats} of {calls}.")
    for work in contestants.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(repeats):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            work = contestants[name]
            start = time.perf_counter()
            for _ in range(calls):
                work()
            seconds[name].append((time.perf_counter() - start) / calls)
    return Timing({name: tuple(s) for name, s in seconds.items()})


def environment() -> dict[str, Any]:
    """Return what the numbers depend on: cpu, threads, versions, date, commit."""
    return {
        "cpu": _cpu(),
        "threads": os.cpu_count(),
        "versions": {"python": platform.python_version(), **_versions(PACKAGES)},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
    }


def peer(script: str, *arguments: str, folder: str = ".venv-peers") -> Any:
    """Run a script in the peers' environment and return the JSON that it prints last.

    Args:
        script: Python code; it gets ``arguments`` in ``sys.argv``.
        folder: ``.venv-peers`` or ``.venv-recbole``.

    Raises:
        SystemExit: the environment is missing or the script fails. A peer that is not there is
            an error, never a claim that is left out.
    """
    python = python_of(folder)
    run = subprocess.run(
        [python, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode:
        sys.exit(f"The peer in {folder} failed with exit code {run.returncode}.")
    return json.loads(run.stdout.strip().splitlines()[-1])


class PeerProcess:
    """A peer's process: built once, then asked as often as wanted.

    Args:
        name: of the peer, for messages.
        script: Python code; it gets ``arguments`` in ``sys.argv``. It prints one JSON object when it
            is ready, with ``"peer"``: package and version; and one for each line that it reads.
        arguments: of the script.

    Raises:
        SystemExit: the environment is missing, or the script fails.
    """

    def __init__(self, name: str, script: str, arguments: Sequence[str] = ()) -> None:
        self.name, self.log = name, tempfile.TemporaryFile("w+")  # noqa: SIM115 (kept open)
        self.process = subprocess.Popen(
            [python_of(".venv-peers"), "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        #: What it told when it was ready.
        self.ready: dict[str, Any] = self._answer()
        #: Its package and version.
        self.peer: str = self.ready["peer"]

    def ask(self, line: str = "") -> Any:
        """Let it do its work once, the one that ``line`` asks for; return what it tells."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.log.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            sys.exit(f"The peer {self.name} failed:\n{self.log.read()[-2000:]}")
        return json.loads(line)


def main(
    name: str,
    measure: Callable[..., Sequence[Claim]],
    arguments: Sequence[str] | None = None,
    full: str | None = None,
) -> None:
    """Run a benchmark from the command line and print its claims.

    Args:
        name: of the benchmark's module.
        measure: ``measure(quick)``, or, where there is a full size, ``measure(quick, full)``.
        arguments: of the command line; None = those typed.
        full: what ``--full`` adds, and its hours; None = there is no such option.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small and rough, for development")
    if full is not None:
        parser.add_argument("--full", action="store_true", help=full)
    options = parser.parse_args(arguments)
    sizes = (options.quick,) if full is None else (options.quick, options.full)
    # Before anything is measured: a tree that changes meanwhile is not what runs.
    about, start = environment(), time.perf_counter()
    claims = [claim.to_json() for claim in measure(*sizes)]
    result = {
        "benchmark": name,
        "quick": options.quick,
        "full": sizes[1:] == (True,),
        "seconds": round(time.perf_counter() - start, 1),
        "environment": about,
        "claims": claims,
    }
    if options.json:
        print(json.dumps(result, indent=1, ensure_ascii=False))
        return
    print(f"{name}{' (quick: not for publication)' if options.quick else ''}")
    for claim in claims:
        against = f"  against {claim['peer']}" if claim["peer"] else ""
        print(f"  {claim['id']:<40} {claim['value']:.4g} {claim['unit']}{against}")


def one_thread(name: str) -> None:
    """Start a benchmark again with one BLAS thread and the machine's own kernel, unless it is so.

    These settings count where NumPy is imported.
    """
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    own = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | alone
    if own != os.environ:
        os.execve(sys.executable, [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], own)


def python_of(folder: str) -> str:
    """Return the interpreter of an environment of peers.

    Raises:
        SystemExit: the environment is missing.
    """
    python = ROOT / folder / "bin" / "python"
    if not python.exists():
        sys.exit(f"{folder} is missing; make it with: make bench-peers")
    return str(python)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit, with ``+`` if code has changed since; None outside a repository."""
    try:
        git = ["git", "-C", str(ROOT)]
        commit = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True)
        status = [*git, "status", "--porcelain", "--", *CODE]
        changed = subprocess.check_output(status, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changed.strip() else "")
