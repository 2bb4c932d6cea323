"""From events to answers: the service takes each model that the stream publishes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

import recprune as rp

from .shop import some_events, trained
from .test_running import lines, write

RECPRUNE = (sys.executable, "-m", "recprune")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    trained(tmp_path / "model", rp.DeepFM, 6_000)
    write(tmp_path / "events", lines(some_events(4_000)))
    return tmp_path


def stream(place: Path, *more: str) -> list[str]:
    options = ["--model", "model", "--state", "state", "-o", "served", "--id", "event_id"]
    options += ["--publish-every", "4000", "--judged-by", "2000", "--tolerance", "0.2"]
    return [*RECPRUNE, "stream", "events", *options, "--chunk", "500", "--linger", "0.2", *more]


@pytest.fixture
def started(place: Path) -> Iterator[Any]:
    running: list[subprocess.Popen[str]] = []

    def start(command: list[str]) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                command,
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "XDG_STATE_HOME": str(place / "home")},
            )
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.wait()


def until(true: Any, process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 90
    while not true():
        assert time.monotonic() < ends
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)


def segment(place: Path, number: int, first: int, last: int) -> None:
    """Let a segment of further events appear."""
    hidden = place / "events/p0" / f".{number}"
    hidden.write_bytes(b"\n".join(lines(some_events(last)[first:])) + b"\n")
    hidden.rename(place / "events/p0" / f"9{number:07}.jsonl")


def said(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.mark.slow
def test_a_service_answers_with_what_was_published_last(place: Path, started: Any) -> None:
    learning = started(stream(place, "--json"))
    until((place / "served/config.json").exists, learning)
    serving = started([*RECPRUNE, "serve", "served", "--insecure", "--port", "0", "--workers", "1"])
    lines_ = iter(lambda: said(serving.stderr), "")
    url = next(line.split()[-1] for line in lines_ if "serving on" in line)
    with httpx.Client(base_url=url, timeout=60) as client:
        first = client.get("/v1/model").json()["model"]
        new = some_events(8_000)["item_id"].to_list()
        before = client.post("/v1/recommend", json={"user": "u1", "k": 50}).json()
        segment(place, 1, 4_000, 8_000)
        until(lambda: client.get("/v1/model").json()["model"] != first, serving)
        after = client.post("/v1/recommend", json={"user": "u1", "k": 50}).json()
    known = {i["item"] if isinstance(i, dict) else i for i in before["items"]}
    assert after["items"] != before["items"]
    assert {i["item"] if isinstance(i, dict) else i for i in after["items"]} & (set(new) - known)
    learning.send_signal(signal.SIGTERM)
    out, error = learning.communicate(timeout=60)
    assert learning.returncode == 0, error
    told = json.loads(out)
    assert told["counts"]["counted"] == 8_000
    assert told["publications"][0]["published"]
    assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_a_last_commit(
    place: Path, started: Any, number: signal.Signals
) -> None:
    learning = started(stream(place, "--json"))
    until((place / "state/metrics.prom").exists, learning)
    learning.send_signal(number)
    out, error = learning.communicate(timeout=60)
    assert (learning.returncode, "Traceback" in error) == (0, False), error
    told = json.loads(out)
    again = started(stream(place, "--json", "--until-end"))
    out, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    assert json.loads(out)["counts"]["counted"] == 4_000 >= told["counts"]["counted"] > 0
