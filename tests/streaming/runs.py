"""Streams in processes of their own, which are killed as ``kill -9`` does."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from recprune.streaming import Learning, Pace, Publishing, StreamSettings, Watching, open_stream
from tests.forked import begun

SETTINGS = StreamSettings(
    id="event_id",
    learning=Learning(bytes=1_000_000),
    pace=Pace(chunk=512, remember=50_000, commit=1_024),
    publishing=Publishing(every=8_000, judged=3_000),
    watching=Watching(memory=4_096, window=8_192, every=8_192),
)


@dataclass(frozen=True)
class Stream:
    """One stream: where its events come from, and the folder of all that it writes.

    Args:
        source: see :func:`recprune.streaming.sources.open_source`.
        model: that it begins with.
        folder: of its state, the published model, and what it came to.
    """

    source: str
    model: Path
    folder: Path

    def run(self) -> None:
        """Read to the end, and write what it came to."""
        reached = self.folder / "reached"

        def at_commit(running: Any) -> None:
            fresh = reached.with_suffix(".new")
            fresh.write_text(str(running.counts["read"]))
            fresh.replace(reached)

        state, published = self.folder / "state", self.folder / "published"
        with open_stream(
            *(self.source, self.model, state, published, SETTINGS),
            until_end=True,
            at_commit=at_commit,
        ) as running:
            summary = running.run()
        (self.folder / "summary").write_text(json.dumps(summary.to_json()))

    def start(self) -> BaseProcess:
        """Run in a process of its own."""
        self.folder.mkdir(exist_ok=True)
        return begun(self.run)

    def finish(self) -> dict[str, Any]:
        """Run to the end, and return what it came to."""
        process = self.start()
        process.join(120)
        assert process.exitcode == 0
        return self.summary

    @property
    def summary(self) -> dict[str, Any]:
        """What it came to."""
        found: dict[str, Any] = json.loads((self.folder / "summary").read_text())
        return found

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return what its state keeps of ``alarms``, ``publications`` or ``dead_letters``."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "stream.sqlite")) as file:
            return file.execute(f"select * from {table} order by 1, 2").fetchall()

    @property
    def published(self) -> dict[str, bytes]:
        """The files of the model that is served."""
        folder = self.folder / "published"
        return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}

    def kill_at(self, read: int, delay: float) -> int:
        """Run until so many events were read and ``delay`` seconds more, kill, and return how many
        events the last commit then had.
        """
        process = self.start()
        await_(lambda: self.reached >= read or process.exitcode is not None)
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -9, "it had ended before it was killed"
        return self.reached

    @property
    def reached(self) -> int:
        """Events that its last commit had read, or the one before."""
        try:
            return int((self.folder / "reached").read_text())
        except FileNotFoundError:
            return 0


def await_(what: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.001)
