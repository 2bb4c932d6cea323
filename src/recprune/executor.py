"""Where independent parts of work run: one after the other, in processes, or on Ray.

Results come in the parts' order and do not depend on the engine or the number of workers: a part's
draws are those of its own stream, and every worker, the serial one too, computes with one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Literal, TypeVar

import numpy as np

from recprune import ray_engine
from recprune._support import progress
from recprune.errors import ParameterError
from recprune.work import THREADS, Key, Tries, Work, run, set_environment

__all__ = ["ENGINES", "Engine", "Executor"]

P = TypeVar("P")
R = TypeVar("R")

Engine = Literal["processes", "ray"]
ENGINES: tuple[Engine, ...] = ("processes", "ray")

#: What a worker was started with.
_shared: Any = None


@dataclass(frozen=True)
class Executor:
    """How parts of work run.

    Args:
        workers: parts that are worked on at once; with processes, 1 = in this one.
        retries: times that a part is tried again after its worker died.
        engine: ``"processes"`` of this machine, or ``"ray"``.
        address: of Ray, always stated: ``"local"`` = an instance of our own, which ends with the
            map, or with the ``with`` block that the executor is used in; ``"host:port"`` = a
            cluster that runs already.
    """

    workers: int = 1
    retries: int = 2
    engine: Engine = "processes"
    address: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError.of(name, "Executor", f"an int ≥ {least}", value)
        if self.engine not in ENGINES:
            raise ParameterError.of("engine", "Executor", f"one of {ENGINES}", self.engine)
        if self.engine == "ray":
            ray_engine.check_address(self.address, "Executor")
        elif self.address is not None:
            raise ParameterError.of("address", "Executor", "None without Ray", self.address)

    def __enter__(self) -> Executor:
        if self.engine == "ray":
            ray_engine.hold(str(self.address), self.workers)
        return self

    def __exit__(self, *error: object) -> None:
        if self.engine == "ray":
            ray_engine.release()

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
            work: a function at the top of a module. It may not change ``shared``: on Ray, NumPy
                arrays in it are one memory for all workers of a machine, which nobody may write.
            parts: what to work on.
            shared: what every part needs (arrays, a data set): sent once to each worker, on Ray
                once to each machine.
            seed: of all draws; part ``i`` draws from the stream ``(seed, text, i)``.
            text: what the progress bar and messages call the work.

        Raises:
            RunError: a part's worker died more often than it may be tried again; or Ray cannot be
                started or reached.
            MissingExtra: Ray is not installed.

        An exception that ``work`` raises is raised here, and what has not begun is not begun.

        >>> Executor().map(lambda shared, part, draws: shared * part, [1, 2, 3], shared=10)
        [10, 20, 30]
        """
        job = Work(work, parts, shared, seed, text)
        with self:
            results = dict(progress(self._done(job), text, len(parts)))
        return [results[number] for number in range(len(parts))]

    def _done(self, job: Work) -> Iterator[tuple[int, Any]]:
        """Yield each part's number and result as it is done."""
        tries = Tries(job, self.retries)
        if not job.parts:
            return iter(())
        if self.engine == "ray":
            return ray_engine.done(job, self.workers, tries)
        if self.workers == 1 or len(job.parts) == 1:
            return ((number, job.here(number)) for number in range(len(job.parts)))
        return _in_processes(job, self.workers, tries)


def _in_processes(job: Work, workers: int, tries: Tries) -> Iterator[tuple[int, Any]]:
    """Yield what is done; begin again with the rest when a process died."""
    left = set(range(len(job.parts)))
    while left:
        pool = ProcessPoolExecutor(
            min(workers, len(left)), get_context("spawn"), _start, (job.shared,)
        )
        try:
            with set_environment(**dict.fromkeys(THREADS, "1")):
                running = {
                    pool.submit(_run, job.function, job.parts[number], job.key(number)): number
                    for number in sorted(left)
                }
                for number, result in _finished(running):
                    left.remove(number)
                    yield number, result
        except BrokenProcessPool as error:
            # Which part's process died is not told: all that were not done may have been it.
            why = "perhaps for want of memory. Use fewer workers."
            tries.died(left, "A worker process", why, error)
        finally:
            # Also on Ctrl-C and on a part's error: nothing new begins, nobody is left behind.
            processes = list((getattr(pool, "_processes", None) or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            if left:
                for process in processes:
                    process.terminate()
            for process in processes:
                process.join()


def _finished(running: dict[Future[Any], int]) -> Iterator[tuple[int, Any]]:
    """Yield the number and result of each part that is done."""
    open_ones = set(running)
    while open_ones:
        done, open_ones = wait(open_ones, return_when=FIRST_COMPLETED)
        for future in done:
            yield running[future], future.result()


def _start(shared: Any) -> None:
    """Begin a worker's life."""
    global _shared
    _shared = shared


def _run(work: Callable[..., Any], part: Any, key: Key) -> Any:
    return run(work, _shared, part, key)
