"""The benchmark of the service: what wrk tells, what it is told, processes and their memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from benchmarks._services import free_port, service, smaps
from benchmarks._wrk import Requests, load, parsed

OUTPUT = """Running 1s test @ http://127.0.0.1:8000
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.99ms    0.70ms   9.34ms   81.11%
    Req/Sec     4.03k   213.39     4.32k    80.00%
  4008 requests in 1.00s, 645.82KB read
  Non-2xx or 3xx responses: 3
Requests/sec:   4003.03
recprune-wrk {"requests": 4008, "microseconds": 1002000, "p50": 1900, "p99": 4200, "most": 9340, "status": 3, "socket": 1}
"""


def test_figures_are_read() -> None:
    told = parsed(OUTPUT)
    assert (told.requests, told.failed) == (4008, 4)
    assert told.rps == pytest.approx(4000)
    assert (told.p50, told.p99) == (0.0019, 0.0042)


def test_output_without_figures_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="no figures"):
        parsed("unable to connect to 127.0.0.1:8000 Connection refused")


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        load("http://127.0.0.1:1", Requests("GET", "/"), 1, 1)


def test_bodies_are_told_in_lua_whatever_they_hold() -> None:
    script = Requests(
        "POST", "/v1", ['{"user": "ä\\"\n]]"}'], {"authorization": "Bearer x"}
    ).script()
    assert r'bodies, made = {"{\034user\034: \034\195\164\092\034\010]]\034}"}' in script
    assert 'wrk.format("POST", "/v1", {["authorization"] = "Bearer x"}, body)' in script


def test_memory_is_own_and_proportional() -> None:
    text = "Rss: 90 kB\nPss:  31 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 20 kB\nSwap: 0 kB\n"
    assert smaps(text) == {"uss": 21 * 1024, "pss": 31 * 1024}


def test_a_service_ends_with_its_block_and_one_that_fails_tells_why(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with contextlib.suppress(LookupError), service("files", command, port, "/") as running:
        pid = running.pid
        raise LookupError
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    wrong = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(SystemExit, match="no such thing"), service("wrong", wrong, port, "/"):
        raise AssertionError
