"""Runs benchmarks one after the other, each once: what was finished is not run again.

Quick ones run two at a time: nothing is published of their seconds.

A result is known by a hash of the code, the peers, the machine and the settings that it comes from.
Where a run was stopped, the next one goes on with the benchmark that it was at; those that keep their
parts on disk (:mod:`benchmarks._cells`) go on within it. One that fails does not stop the others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._catalog import benchmarks, fingerprint
from benchmarks._cells import RESULTS
from benchmarks._common import ROOT, environment

__all__ = ["Outcome", "Runner", "table"]

#: A benchmark is stopped after so many times its minutes, and not before so many seconds: the first
#: that needs a model trains it for all. A quick one is stopped after so many seconds.
PATIENCE, LEAST_LIMIT, QUICK_LIMIT = 3.0, 3600.0, 900.0
#: Seconds between two notes of how long a benchmark has run, and those it gets to end in.
NOTE, FAREWELL = 1.0, 20.0
QUICK_AT_ONCE = 2
#: Timings are of the machine's own BLAS kernel, not of one that the environment forces.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass(frozen=True)
class Outcome:
    """How one benchmark ended.

    Args:
        name: of the benchmark.
        seconds: of its measuring, those of earlier tries that were stopped included.
        status: ``"done"``, ``"kept"`` (finished before) or what went wrong.
    """

    name: str
    seconds: float
    status: str

    @property
    def good(self) -> bool:
        """Whether there is a result."""
        return self.status in ("done", "kept")


@dataclass(frozen=True)
class Runner:
    """Runs benchmarks and keeps their results.

    Args:
        quick: small and rough, into a folder of their own.
        again: names of those that run although they were finished.
        folder: of the results of whole runs.
    """

    quick: bool = False
    again: frozenset[str] = frozenset()
    folder: Path = RESULTS

    def run(self, names: Sequence[str]) -> list[Outcome]:
        """Run benchmarks in turn; return how each of them ended."""
        self._place.mkdir(parents=True, exist_ok=True)
        stop = threading.Event()

        def one(number: int, name: str) -> Outcome:
            _say(f"[{number}/{len(names)}] benchmarks.{name}{' --quick' if self.quick else ''}")
            outcome = self._one(name, stop)
            _say(f"[{number}/{len(names)}] {name}: {outcome.status}, {outcome.seconds:.0f} s")
            return outcome

        with ThreadPoolExecutor(QUICK_AT_ONCE if self.quick else 1) as pool:
            running = [pool.submit(one, *pair) for pair in enumerate(names, 1)]
            try:
                return [each.result() for each in running]
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    @property
    def _place(self) -> Path:
        return self.folder / "quick" if self.quick else self.folder

    def _one(self, name: str, stop: threading.Event) -> Outcome:
        mark, file = self._mark(name), self._place / f"{name}.json"
        spent = _Spent(self._place / f"{name}.spent", mark)
        if name in self.again:
            file.unlink(missing_ok=True)
        elif file.exists() and (known := json.loads(file.read_text("utf-8")))["code"] == mark:
            return Outcome(name, known["seconds"], "kept")
        part = file.with_suffix(".part")
        with part.open("wb") as out:
            status = self._process(name, out, spent, stop)
        if status != "done":
            return Outcome(name, spent.seconds, status)
        result = _result(name, part.read_text("utf-8"))
        if result is None or result["quick"] != self.quick:
            return Outcome(name, spent.seconds, "printed something else than a result")
        before = spent.before
        result |= {"seconds": round(result["seconds"] + before, 1), "code": mark}
        part.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(file)
        spent.clear()
        return Outcome(name, result["seconds"], "done")

    def _mark(self, name: str) -> str:
        about = environment()
        machine = (about["cpu"], str(about["threads"]), json.dumps(about["versions"]))
        return fingerprint(name, (*machine, "quick" if self.quick else "whole"))

    def _process(self, name: str, out: Any, spent: _Spent, stop: threading.Event) -> str:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
        command += ["--quick"] if self.quick else []
        limit = max(PATIENCE * 60 * benchmarks()[name].minutes, LEAST_LIMIT)
        limit = QUICK_LIMIT if self.quick else limit
        own = {key: value for key, value in os.environ.items() if key not in FORCED}
        # A session of its own, so that it ends with all that it started.
        child = subprocess.Popen(command, cwd=ROOT, env=own, stdout=out, start_new_session=True)
        start = time.monotonic()
        try:
            while True:
                try:
                    code = child.wait(NOTE)
                    return "done" if code == 0 else f"failed, exit code {code}"
                except subprocess.TimeoutExpired:
                    spent.note(time.monotonic() - start)
                if stop.is_set():
                    return "stopped"
                if time.monotonic() - start > limit:
                    return f"stopped after {limit / 60:.0f} minutes"
        finally:
            spent.note(time.monotonic() - start)
            _end(child)


class _Spent:
    """Seconds of a benchmark's tries, kept on disk, so that a result tells them all."""

    def __init__(self, file: Path, mark: str) -> None:
        self._file, self._mark = file, mark
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        #: Of earlier tries of the same code.
        self.before: float = known["seconds"] if known.get("code") == mark else 0.0
        #: Of all tries.
        self.seconds = self.before

    def note(self, now: float) -> None:
        """Note the seconds of this try."""
        self.seconds = self.before + now
        part = self._file.with_suffix(".spent-part")
        part.write_text(json.dumps({"code": self._mark, "seconds": self.seconds}), "utf-8")
        part.replace(self._file)

    def clear(self) -> None:
        """Forget them: the result tells."""
        self._file.unlink(missing_ok=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as lines: name, seconds, status."""
    width = max(len("benchmark"), *(len(one.name) for one in outcomes))
    lines = [f"{'benchmark':<{width}}  seconds  status"]
    lines += [f"{one.name:<{width}}  {one.seconds:>7.0f}  {one.status}" for one in outcomes]
    total = sum(one.seconds for one in outcomes)
    good = sum(one.good for one in outcomes)
    return "\n".join([*lines, f"{'all':<{width}}  {total:>7.0f}  {good} of {len(outcomes)} done"])


def _result(name: str, text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    whole = isinstance(found, dict) and found.get("benchmark") == name and "claims" in found
    return found if whole else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a benchmark with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(FAREWELL)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
