"""Parts of work on Ray: an instance of our own, or a cluster that is named.

What all parts share is put into the object store once, and NumPy arrays in it are read where they
lie. A part is tried again by the executor's own count, not by Ray's: Ray's retries are off, so that
every engine gives up after the same number of deaths. Results travel pickled, so that they are the
caller's own memory and outlive the store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import pickle  # nosec B403
import platform
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recprune import ray_access
from recprune._support import logger
from recprune.errors import RunError
from recprune.ray_access import LOCAL, check_address, ray_module
from recprune.work import THREADS, Key, Tries, Work, run, set_environment

__all__ = ["about", "check_address", "done", "hold", "nodes", "release"]


@dataclass
class _Held:
    """The connection of this process: Ray has one a process."""

    address: str
    workers: int
    uses: int = 0
    close: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


_held: _Held | None = None

#: Times that a start which takes too long is tried.
STARTS = 3

#: In a worker: which shared object it has, and the object.
_shared: tuple[str, Any] = ("", None)


def hold(address: str, workers: int) -> None:
    """Connect, or use the connection that is held already; each call needs a :func:`release`.

    Args:
        address: ``"local"`` or ``"host:port"``.
        workers: of an instance of our own.

    Raises:
        MissingExtra: Ray is not installed.
        RunError: it cannot be started or reached, refuses us, or is one that nobody should use; or
            this process is connected to another.
    """
    global _held
    if _held is None:
        held = _Held(address, workers)
        try:
            held.close.enter_context(_local(workers) if address == LOCAL else _attached(address))
        except BaseException:
            held.close.close()
            raise
        _held = held
    elif (_held.address, _held.workers if address == LOCAL else workers) != (address, workers):
        raise RunError(
            f"This process is connected to Ray at {_held.address!r} ({_held.workers} workers), and "
            f"{address!r} ({workers} workers) is asked for. End the other executor first."
        )
    _held.uses += 1


def release() -> None:
    """Give a connection back; the last one closes it."""
    global _held
    assert _held is not None
    _held.uses -= 1
    if not _held.uses:
        held, _held = _held, None
        held.close.close()


@contextlib.contextmanager
def _local(workers: int) -> Iterator[None]:
    ray = ray_module()
    _alone(ray)
    settings = {"RAY_ADDRESS": None, "RAY_USAGE_STATS_ENABLED": "0", **dict.fromkeys(THREADS, "1")}
    # Its processes load while all cores are busy with others' work.
    settings["RAY_agent_register_timeout_ms"] = "120000"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(ray_access.temporary_folder())
        stack.callback(ray_access.read_anew)
        stack.callback(ray.shutdown, wait_for_processes=True)
        stack.enter_context(_told_to_log())
        with (
            set_environment(**settings),
            ray_access.authenticated(ray_access.new_token()),
            ray_access.loopback_alone(),
            _signals_kept(),
        ):
            _start(ray, workers, folder)
        yield


def _start(ray: Any, workers: int, folder: Path) -> None:
    """Start an instance; again, where the machine was too busy to do so in Ray's half a minute."""
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(
                address=LOCAL,
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            ray.shutdown()
            slow = "timed out during startup" in str(error)
            if slow and attempt == STARTS:
                raise RunError(
                    f"Ray was not up in half a minute, {STARTS} times: this machine is too busy. "
                    "Try again when less runs on it, or use processes (--engine processes)."
                ) from error
            if not slow:
                raise RunError(
                    f"Ray does not start: {' '.join(str(error).split())[:300]} See what "
                    "'recprune doctor --engine ray' says."
                ) from error
            logger.warning("Ray did not start in time; tried again")
        else:
            return


@contextlib.contextmanager
def _attached(address: str) -> Iterator[None]:
    ray = ray_module()
    _alone(ray)
    ray_access.reach(address)
    ray_access.admitted(address)
    with contextlib.ExitStack() as stack:
        stack.callback(ray_access.read_anew)
        stack.callback(ray.shutdown)
        stack.enter_context(_told_to_log())
        with (
            set_environment(RAY_ADDRESS=None),
            ray_access.authenticated(),
            ray_access.own_machine(address),
            _signals_kept(),
        ):
            ray_access.known(address)
            try:
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except Exception as error:
                raise RunError(_refused(address, error)) from error
        nodes()
        yield


def _alone(ray: Any) -> None:
    if ray.is_initialized():
        raise RunError(
            "This process is connected to Ray already, by its own ray.init(). Call ray.shutdown() "
            "before, and name the cluster's address instead."
        )


def _refused(address: str, error: Exception) -> str:
    return (
        f"Ray at {address!r} cannot be used from here. Its Ray and Python have to be ours "
        f"(Ray {ray_module().__version__}, Python {platform.python_version()}), and this machine one "
        f"of its nodes (ray start --address={address}). Ray says: "
        f"{' '.join(str(error).split())[:300]}"
    )


@contextlib.contextmanager
def _told_to_log() -> Iterator[None]:
    """Let what Ray says of dead workers and nodes go to the log: it prints it where results go."""
    worker: Any = importlib.import_module("ray._private.worker")
    before = worker.print_to_stdstream

    def log(data: dict[str, Any], *_: Any, **__: Any) -> None:
        logger.debug("Ray: %s", " ".join(data.get("lines", ())))

    worker.print_to_stdstream = log
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back what SIGTERM does, which Ray replaces: a service ends by a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before):
            signal.signal(signal.SIGTERM, before)


def done(job: Work, workers: int, tries: Tries) -> Iterator[tuple[int, Any]]:
    """Yield each part's number and result as it is done.

    Args:
        job: what to do; the connection is held.
        workers: parts that are under way at once.
        tries: counts lost workers and nodes.
    """
    ray = ray_module()
    errors = ray.exceptions
    lost = (
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.OutOfMemoryError,
        errors.ObjectLostError,
    )
    task = ray.remote(num_cpus=1, max_retries=0)(_part)
    shared = ray.put(job.shared)
    common = (about(), shared.hex(), [shared], job.function)
    # An instance of our own has as many places as workers: the next part may wait beside each.
    window = 2 * workers if _held is not None and _held.address == LOCAL else workers
    waiting, running = deque(range(len(job.parts))), dict[Any, int]()
    try:
        while waiting or running:
            while waiting and len(running) < window:
                number = waiting.popleft()
                running[task.remote(*common, job.parts[number], job.key(number))] = number
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            number = running.pop(ready)
            try:
                result = pickle.loads(ray.get(ready))  # nosec B301
            except errors.RayTaskError as error:
                if not isinstance(error.cause, lost):
                    if isinstance(error.cause, Exception):
                        raise error.cause from error  # which tells where, in the worker
                    raise
                tries.died([number], "A worker of Ray", WHY, error)
                waiting.appendleft(number)
            except lost as error:
                tries.died([number], "A worker of Ray", WHY, error)
                waiting.appendleft(number)
            else:
                yield number, result
    finally:
        # Also on Ctrl-C and on a part's error: nothing new begins, what runs is ended.
        for ref in running:
            ray.cancel(ref, force=True)


WHY = "perhaps for want of memory, or its node was lost. Use fewer workers, or look at Ray's nodes."


def _part(
    wanted: dict[str, str],
    key: str,
    shared: list[Any],
    function: Callable[..., Any],
    part: Any,
    draws: Key,
) -> bytes:
    """Do a part in a worker of Ray."""
    global _shared
    if wanted != about():
        raise RunError(
            f"Node {platform.node()!r} of the Ray cluster has {_listed(about())}, and the caller "
            f"{_listed(wanted)}: results would differ. Install the same on all nodes."
        )
    os.environ.update(dict.fromkeys(THREADS, "1"))
    if _shared[0] != key:
        _shared = ("", None)  # what came before may go
        _shared = (key, ray_module().get(shared[0]))
    return pickle.dumps(run(function, _shared[1], part, draws), protocol=5)


def nodes() -> list[dict[str, Any]]:
    """Return the nodes of the cluster that is held, each asked for its versions.

    Raises:
        RunError: one has other code than this process.
    """
    ray = ray_module()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    task = ray.remote(num_cpus=0, max_retries=0)(_part)
    found = [node for node in ray.nodes() if node["Alive"]]
    shared = ray.put(None)
    asked = [
        task.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(
            about(), shared.hex(), [shared], _versions, None, (0, "nodes", 0)
        )
        for node in found
    ]
    told = []
    for node, answer in zip(found, asked, strict=True):
        host = node["NodeManagerAddress"]
        try:
            versions = pickle.loads(ray.get(answer))  # nosec B301
        except ray.exceptions.RayError as error:
            raise _caused(error, f"Node {host} of the Ray cluster cannot work") from error
        told.append({"address": host, "cpus": node["Resources"].get("CPU", 0.0), **versions})
    return told


def _versions(shared: None, part: None, draws: np.random.Generator) -> dict[str, str]:
    return about()


def _caused(error: Exception, what: str) -> RunError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, RunError):
        return cause
    last = str(error).strip().splitlines()[-1]
    return RunError(f"{what}: {last[:300]} Install recprune there as it is here.")


@functools.cache
def about() -> dict[str, str]:
    """Return what decides a result's bits besides its input: versions, and a hash of our code."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("recprune")
    except PackageNotFoundError:
        own = "unknown"
    code = hashlib.blake2b(digest_size=8)
    folder = Path(__file__).parent
    for file in sorted(folder.rglob("*.py")):
        code.update(file.relative_to(folder).as_posix().encode())
        code.update(file.read_bytes())
    return {
        "recprune": own,
        "code": code.hexdigest(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
