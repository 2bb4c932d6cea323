"""Where independent parts of work run: one after the other, or in processes.

Results come in the parts' order and do not depend on the number of workers: a part's draws are
those of its own stream, and every worker, the serial one too, computes with one thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from recprune._support import logger, progress, stream
from recprune.errors import ParameterError, RunError

__all__ = ["Executor"]

P = TypeVar("P")
R = TypeVar("R")

#: What a worker was started with.
_shared: Any = None


@dataclass(frozen=True)
class Executor:
    """How parts of work run.

    Args:
        workers: processes; 1 = in this one.
        retries: times that a part is tried again after its process died.
    """

    workers: int = 1
    retries: int = 2

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError.of(name, "Executor", f"an int ≥ {least}", value)

    def map(
        self,
        work: Callable[[Any, P, np.random.Generator], R],
        parts: Sequence[P],
        *,
        shared: Any = None,
        seed: int = 0,
        text: str = "parts",
    ) -> list[R]:
        """Return ``work(shared, part, draws)`` of every part, in the parts' order.

        Args:
            work: a function at the top of a module. It may not change ``shared``.
            parts: what to work on.
            shared: what every part needs (arrays, a data set): sent once to each worker.
            seed: of all draws; part ``i`` draws from the stream ``(seed, text, i)``.
            text: what the progress bar and messages call the work.

        Raises:
            RunError: a part's process died more often than it may be tried again.

        An exception that ``work`` raises is raised here, and what has not begun is not begun.

        >>> Executor().map(lambda shared, part, draws: shared * part, [1, 2, 3], shared=10)
        [10, 20, 30]
        """
        streams = [(seed, text, number) for number in range(len(parts))]
        if self.workers == 1 or len(parts) < 2:
            with _one_thread():
                each = zip(parts, streams, strict=True)
                return [
                    work(shared, part, stream(*key))
                    for part, key in progress(each, text, len(parts))
                ]
        results: dict[int, R] = {}
        tries = [0] * len(parts)
        for _ in progress(
            self._done(work, parts, streams, shared, results, tries), text, len(parts)
        ):
            pass
        return [results[number] for number in range(len(parts))]

    def _done(
        self,
        work: Callable[[Any, P, np.random.Generator], R],
        parts: Sequence[P],
        streams: Sequence[tuple[int, str, int]],
        shared: Any,
        results: dict[int, R],
        tries: list[int],
    ) -> Iterator[int]:
        """Yield each part's number when it is done; begin again with the rest when a process died."""
        while left := [number for number in range(len(parts)) if number not in results]:
            pool = ProcessPoolExecutor(
                min(self.workers, len(left)), get_context("spawn"), _start, (shared,)
            )
            try:
                with _environment_of_one_thread():
                    running = {
                        pool.submit(_run, work, parts[number], streams[number]): number
                        for number in left
                    }
                    yield from _finished(running, results)
            except BrokenProcessPool as error:
                # Which part's process died is not told: all that were not done may have been it.
                for number in left:
                    tries[number] += number not in results
                if max(tries) > self.retries:
                    raise RunError(
                        f"A worker process died {max(tries)} times while it worked on {streams[0][1]!r}, "
                        "perhaps for want of memory. Use fewer workers."
                    ) from error
                logger.warning("a worker process died; what it worked on is tried again")
            finally:
                # Also on Ctrl-C and on a part's error: nothing new begins, nobody is left behind.
                processes = list((getattr(pool, "_processes", None) or {}).values())
                pool.shutdown(wait=False, cancel_futures=True)
                if len(results) < len(parts):
                    for process in processes:
                        process.terminate()
                for process in processes:
                    process.join()


def _finished(running: dict[Future[R], int], results: dict[int, R]) -> Iterator[int]:
    """Yield the number of each part that is done, its result stored."""
    open_ones = set(running)
    while open_ones:
        done, open_ones = wait(open_ones, return_when=FIRST_COMPLETED)
        for future in done:
            results[running[future]] = future.result()
            yield running[future]


def _start(shared: Any) -> None:
    """Begin a worker's life."""
    global _shared
    _shared = shared


def _run(work: Callable[..., R], part: Any, key: tuple[int, str, int]) -> R:
    with _one_thread():
        return work(_shared, part, stream(*key))


#: What the numeric libraries read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def _environment_of_one_thread() -> Iterator[None]:
    """Let processes that are started meanwhile load their libraries with one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: the order of sums, and so their last bits, depend on how many."""
    torch: Any = sys.modules.get("torch")  # only where somebody loaded it
    threads = torch.get_num_threads() if torch else 1
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(threads)
