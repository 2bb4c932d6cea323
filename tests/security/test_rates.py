"""Counters shared by processes, held against the library's own in memory; and what kills them."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import limits.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from recprune.errors import InputError, MissingExtra, ParameterError
from recprune.security import Caller, Limits, Rates
from recprune.security import rates as rates_module
from recprune.security.shared_counters import BUCKET, START, SharedCounters

from . import counting

SHOP = Caller("shop", frozenset(), "key")


@pytest.fixture
def counters(tmp_path: Path) -> SharedCounters:
    return SharedCounters(tmp_path / "limits")


class Clock:
    """A time that both storages see."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1.7e9
        patch.setattr(time, "time", lambda: self.now)


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 3), st.floats(0, 30)), max_size=60
)


@pytest.mark.parametrize("kind", [SlidingWindowCounterRateLimiter, FixedWindowRateLimiter])
@given(steps=STEPS)
@settings(max_examples=40)
def test_it_grants_what_the_librarys_own_storage_grants(
    kind: Any, steps: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        ours = kind(SharedCounters(tmp_path_factory.mktemp("limits") / "limits", 64))
        library = MemoryStorage()
        library.timer.cancel()
        theirs, item = kind(library), RateLimitItemPerMinute(5)
        for who, cost, wait in steps:
            clock.now += wait
            granted = [limiter.hit(item, who, cost=cost) for limiter in (ours, theirs)]
            assert granted[0] == granted[1]
            left = [limiter.get_window_stats(item, who) for limiter in (ours, theirs)]
            assert left[0].remaining == left[1].remaining
            assert left[0].reset_time == pytest.approx(left[1].reset_time, abs=1e-3)
            assert ours.test(item, who) == theirs.test(item, who)


def test_windows_taken_together_are_taken_all_or_none(counters: SharedCounters) -> None:
    wide, narrow = counters.spot("wide", 100, 3600), counters.spot("narrow", 2, 3600)
    assert [counters.take([wide, narrow]) for _ in range(4)] == [-1, -1, 1, 1]
    assert counters.get_sliding_window("wide", 3600)[2] == 2
    assert counters.full([wide]) == -1
    assert counters.full([wide, narrow]) == 1


def test_a_clock_set_back_locks_nobody_out(counters: SharedCounters) -> None:
    limiter, item = SlidingWindowCounterRateLimiter(counters), RateLimitItemPerSecond(1)
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        assert [limiter.hit(item, "a") for _ in range(2)] == [True, False]
        clock.now -= 1e6
        assert [limiter.hit(item, "a") for _ in range(2)] == [True, False]


def test_keys_may_be_any_text(counters: SharedCounters) -> None:
    for key in ("", "/", "\ud800", "x" * 100_000, "\0"):
        assert counters.incr(key, 60) == 1
        assert counters.get(key) == 1
        counters.clear(key)
        assert counters.get(key) == 0


def test_room_is_bounded_and_whoever_is_near_a_limit_stays_known(tmp_path: Path) -> None:
    counters = SharedCounters(tmp_path / "limits", 64)
    size = (tmp_path / "limits").stat().st_size
    for _ in range(100):
        counters.incr("heavy", 3600)
    for i in range(10_000):
        counters.incr(f"light {i}", 3600)
    assert counters.get("heavy") == 100
    assert (tmp_path / "limits").stat().st_size == size == START + 8 * BUCKET
    assert counters.reset() == 64
    assert counters.get("heavy") == 0


def test_what_is_over_gives_room_first(tmp_path: Path) -> None:
    counters = SharedCounters(tmp_path / "limits", 8)
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        counters.incr("over", 10, 1000)
        for i in range(7):
            counters.incr(f"light {i}", 3600)
        clock.now += 20
        counters.incr("new", 3600)
        assert [counters.get(f"light {i}") for i in range(7)] == [1] * 7
        assert (counters.get("over"), counters.get("new")) == (0, 1)


def test_it_lasts_as_long_as_the_file(tmp_path: Path) -> None:
    SharedCounters(tmp_path / "limits").incr("a", 3600, 5)
    assert SharedCounters(tmp_path / "limits").get("a") == 5
    assert SharedCounters(tmp_path / "limits").check()


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_a_file_of_another_kind_is_replaced_and_not_written_into(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "limits"
    file.write_bytes(content)
    with file.open("rb") as before:
        counters = SharedCounters(file)
        assert counters.incr("a", 60) == 1
        assert before.read() == content
    assert counters.check()
    file.unlink()
    assert not counters.check()


def test_a_disk_without_room_is_told_when_the_file_is_made(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from recprune.security.shared_counters import SharedCounters\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "SharedCounters(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "limits")], capture_output=True, text=True
    )
    assert "InputError: The counters" in done.stderr
    assert not list(tmp_path.iterdir())


def test_workers_at_once_grant_exactly_what_there_is(tmp_path: Path) -> None:
    ways = multiprocessing.get_context("spawn")
    files = [tmp_path / f"granted {i}" for i in range(3)]
    workers = [
        ways.Process(target=counting.spend, args=(tmp_path, "1000/day", 800, file))
        for file in files
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    granted = [int(file.read_text()) for file in files]
    assert sum(granted) == 1000, "a day's end between them would be bad luck indeed"


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str, *files: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.security.counting", what, *map(str, files)]
        started.append(subprocess.Popen(words))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _until(true: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


def test_a_lock_dies_with_its_process(tmp_path: Path, helper: Any) -> None:
    file, ready = tmp_path / "limits", tmp_path / "ready"
    holder = helper("hold", file, ready)
    _until(ready.exists)
    counters = SharedCounters(file)
    started = time.monotonic()
    assert counters.incr("a", 3600) == 1, "a lock that is not given back holds nobody up for long"
    assert time.monotonic() - started < 20
    assert counters.unlocked == 1
    holder.kill()
    holder.wait()
    time.sleep(1.1)  # until it is asked for again
    assert counters.incr("a", 3600) == 2
    assert counters.unlocked == 1, "the lock was had"


def test_killing_a_process_in_its_work_spoils_nothing(tmp_path: Path, helper: Any) -> None:
    file = tmp_path / "limits"
    counters = SharedCounters(file)
    for _ in range(5):
        process = helper("count", file)
        before = counters.get("busy")
        _until(lambda before=before: counters.get("busy") > before + 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        count = counters.get("busy")
        assert counters.incr("busy", 3600) == count + 1
        assert counters.incr("mine", 3600) >= 1
    assert counters.get("mine") == 5
    assert counters.unlocked == 0


def test_a_lock_that_fails_holds_nobody_up(
    counters: SharedCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network's disk: an error, and not a worker that waits for itself."""

    def fails(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fails)
        with pytest.raises(OSError, match="No locks"):
            counters.incr("a", 3600)
    done: list[int] = []
    next_one = threading.Thread(target=lambda: done.append(counters.incr("a", 3600)), daemon=True)
    next_one.start()
    next_one.join(10)
    assert done == [1]


def test_a_child_of_a_fork_has_a_lock_of_its_own(counters: SharedCounters) -> None:
    handle = counters._handle
    child = os.fork()
    if not child:
        counters.incr("a", 3600)
        os._exit(0 if counters._handle != handle else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counters.get("a") == 1


@pytest.mark.parametrize("texts", [("often",), ("0/minute",), ("-5/minute",), ("5",), ("",)])
def test_a_limit_that_is_none_is_an_error(tmp_path: Path, texts: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError, match="caller"):
        Rates(Limits(caller=texts), tmp_path / "limits")


@pytest.mark.parametrize("uri", ["memory://", "nothing://host", "async+memory://", "host:6379"])
def test_a_store_that_cannot_be_shared_is_an_error(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ParameterError, match="store"):
        Rates(Limits(), tmp_path / "limits", uri)


def test_what_a_store_needs_and_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "redis":
                raise ModuleNotFoundError(name=name)

    monkeypatch.delitem(sys.modules, "redis", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r"'redis' is needed .* pip install redis"):
        Rates(Limits(), tmp_path / "limits", "redis://user:secret@host")


def test_a_counters_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="counters"):
        Rates(Limits(), tmp_path / "none" / "limits")


def test_windows_that_are_full_say_how_long_to_wait(tmp_path: Path) -> None:
    rates = Rates(Limits(("100/hour", "2/second"), (), ()), tmp_path / "limits")
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        assert [rates.request("x", SHOP) for _ in range(3)] == [0, 0, 1]
        clock.now += 2
        assert rates.request("x", SHOP) == 0
        assert rates.request("x", Caller("shop", frozenset(), "jwt")) == 0


class Elsewhere(MemoryStorage):
    """A store on another machine, which may be out of reach."""

    STORAGE_SCHEME = None
    gone = False
    asked = 0

    def acquire_sliding_window_entry(self, *words: Any, **more: Any) -> bool:
        type(self).asked += 1
        if self.gone:
            raise limits.errors.StorageError(ConnectionError("redis://user:secret@host"))
        return super().acquire_sliding_window_entry(*words, **more)


def test_what_a_store_refuses_burdens_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = SlidingWindowCounterRateLimiter(MemoryStorage())
    monkeypatch.setattr(rates_module, "_far", lambda uri: far)
    for number, store in enumerate(("elsewhere://", None)):
        rates = Rates(Limits(("1/hour",), ("3/hour",), ()), tmp_path / f"limits {number}", store)
        assert [rates.request("x", SHOP) > 0 for _ in range(9)] == [False] + [True] * 8
        others = [Caller(name, frozenset(), "key") for name in ("bakery", "dairy", "mill")]
        assert [rates.request("x", each) > 0 for each in others] == [False, False, True]


def test_a_store_out_of_reach_leaves_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rates_module, "_far", lambda uri: SlidingWindowCounterRateLimiter(store))
    store: Storage = Elsewhere()
    rates = Rates(Limits(("3/hour",), (), ()), tmp_path / "limits", "elsewhere://")
    assert not rates.quick
    assert rates.request("x", SHOP) == 0
    monkeypatch.setattr(Elsewhere, "gone", True)
    assert [rates.request("x", SHOP) > 0 for _ in range(4)] == [False] * 3 + [True]
    assert Elsewhere.asked == 2, "it is not asked again at once"
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text
    monkeypatch.setattr(Elsewhere, "gone", False)
    monkeypatch.setattr(rates, "_sulks_until", 0.0)
    assert rates.request("x", SHOP) == 0, "two more, there"
