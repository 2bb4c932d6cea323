"""Killed at random moments, its broker restarted, a stream comes to what it would have come to."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recprune._support import stream
from recprune.streaming import open_stream

from .brokers import Feed, FolderFeed, KafkaMock, RedisServer
from .runs import SETTINGS, Stream, await_
from .shop import some_events, trained

N = 24_000


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("model") / "model", n=5_000)


@functools.cache
def payloads() -> list[bytes]:
    """Events; every 20th came before, every 100th is cut off."""
    rows = some_events(N).rows(named=True)
    out = []
    for i, row in enumerate(rows):
        row = rows[i - 701] if i % 20 == 19 and i > 701 else row
        line = json.dumps(row).encode()
        out.append(line[: 1 + i % 200] if i % 100 == 50 else line)
    return out


def fed(to: Feed) -> Feed:
    """Write the events: in turns to the partitions, piece by piece."""
    events, parts = payloads(), len(to.partitions)
    for start in range(0, N, 6_000):
        for i, partition in enumerate(to.partitions):
            to.write(partition, events[start + i : start + 6_000 : parts])
    return to


@pytest.fixture(scope="session")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """The stream to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run = Stream(fed(FolderFeed(folder / "events", 3)).text, model, folder / "run")
    found = run.finish()
    assert found["counts"]["read"] == N
    assert found["counts"]["dead"] == N // 100
    assert found["counts"]["repeated"] > N // 25
    assert run.rows("publications")
    return run


def same_end(run: Stream, other: Stream) -> None:
    """Finish a stream, and compare all that it and another come to."""
    found = run.finish()
    for name in ("counts", "figures", "hash"):
        assert found[name] == other.summary[name]
    for table in ("alarms", "publications"):
        assert run.rows(table) == other.rows(table)
    assert len(run.rows("dead_letters")) == found["counts"]["dead"]
    assert run.published == other.published


def test_a_stream_that_was_killed_goes_on(model: Path, undisturbed: Stream, tmp_path: Path) -> None:
    """Once, within a turn of the partitions: the long tests do so for every source."""
    run = Stream(undisturbed.source, model, tmp_path / "run")
    assert 0 < run.kill_at(5_000, 0.01) < N
    same_end(run, undisturbed)
    assert run.rows("dead_letters") == undisturbed.rows("dead_letters")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_three_kills_and_a_broker_that_goes_away_change_nothing(
    feed: Callable[[int], Feed],
    broker: KafkaMock | RedisServer | None,
    model: Path,
    undisturbed: Stream,
    tmp_path: Path,
    seed: int,
) -> None:
    """Killed at random moments; the broker is away while the stream begins again.

    All sources come to the same as the undisturbed folder: what they are does not count.
    """
    run = Stream(fed(feed(3)).text, model, tmp_path / "run")
    draws = stream(seed, "kills")
    targets, reached = np.sort(draws.integers(1, N * 3 // 4, 3)), []
    for number, target in enumerate(targets.tolist()):
        if broker is not None and number == 1:
            broker.kill()
            threading.Timer(draws.uniform(0.5, 1.5), broker.start).start()
        reached.append(run.kill_at(target, draws.uniform(0, 0.05)))
    assert all(0 < count < N for count in reached), "it was killed before or after all"
    same_end(run, undisturbed)


@pytest.mark.slow
def test_a_stream_without_an_end_takes_what_comes(
    feed: Callable[[int], Feed],
    broker: KafkaMock | RedisServer | None,
    model: Path,
    tmp_path: Path,
) -> None:
    """In bursts, with the broker away between two of them; each event once, none waits for ever."""
    to, events, sent = feed(2), payloads()[:6_000], 0
    running = open_stream(to.text, model, tmp_path / "state", settings=SETTINGS)
    with running, ThreadPoolExecutor(1) as thread:
        end = thread.submit(running.run)
        try:
            for start in range(0, len(events), 1_500):
                to.write(to.partitions[(start // 1_500) % 2], events[start : start + 1_500])
                sent += 1_500
                await_(lambda: running.counts["read"] == sent or end.done())  # noqa: B023
                if broker is not None and start == 1_500:
                    broker.kill()
                    broker.start()
        finally:
            running.stop()
        assert end.result().counts["read"] == len(events)


@pytest.mark.slow
def test_the_program_killed_as_it_is_goes_on(
    model: Path, undisturbed: Stream, tmp_path: Path
) -> None:
    """``recprune stream``, with kill -9, and settings of its own."""
    command = [
        *(sys.executable, "-m", "recprune", "stream", undisturbed.source, "--model", str(model)),
        *("--id", "event_id", "--until-end", "--chunk", "256", "--commit", "512", "--json"),
        *("--publish-every", "8000", "--judged-by", "3000", "--bytes", "1MB"),
    ]

    def begun(name: str) -> subprocess.Popen[str]:
        place = ["--state", str(tmp_path / name), "-o", str(tmp_path / f"{name}-model")]
        return subprocess.Popen([*command, *place], stdout=subprocess.PIPE, text=True)

    draws = stream(0, "kills of the program")
    for _ in range(3):
        killed = begun("killed")
        metrics = tmp_path / "killed" / "metrics.prom"
        before = metrics.stat().st_mtime_ns if metrics.exists() else 0
        await_(lambda: metrics.exists() and metrics.stat().st_mtime_ns > before)  # noqa: B023
        time.sleep(draws.uniform(0, 0.2))
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
    ends = [json.loads(begun(name).communicate()[0]) for name in ("killed", "whole")]
    for name in ("counts", "figures", "hash"):
        assert ends[0][name] == ends[1][name]
    assert ends[0]["flow"]["events"] < ends[1]["flow"]["events"]
