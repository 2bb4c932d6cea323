"""What an engine runs: one function on many parts, and how often a part may be tried again."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from recprune._support import logger, stream
from recprune.errors import RunError

__all__ = ["THREADS", "Key", "Tries", "Work", "one_thread", "run", "set_environment"]

#: Of a part's stream of draws: seed, text, number.
Key = tuple[int, str, int]

#: What the numeric libraries read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Work:
    """One function on many parts.

    Args:
        function: ``function(shared, part, draws)``.
        parts: what to work on.
        shared: what every part needs.
        seed: of all draws.
        text: what the work is called.
    """

    function: Callable[[Any, Any, np.random.Generator], Any]
    parts: Sequence[Any]
    shared: Any
    seed: int
    text: str

    def key(self, number: int) -> Key:
        """Return the key of a part's draws."""
        return self.seed, self.text, number

    def here(self, number: int) -> Any:
        """Do a part in this process."""
        return run(self.function, self.shared, self.parts[number], self.key(number))


class Tries:
    """Counts how often each part's worker died.

    Args:
        work: whose parts.
        most: times that a part may be tried again.
    """

    def __init__(self, work: Work, most: int) -> None:
        self.text, self.most = work.text, most
        self.count = [0] * len(work.parts)

    def died(self, numbers: Iterable[int], who: str, why: str, cause: Exception) -> None:
        """Count a death; warn, or give up.

        Args:
            numbers: the parts that it may have been.
            who: died.
            why: perhaps, and what to do about it.
            cause: how it was noticed.

        Raises:
            RunError: a part's worker died more often than it may be tried again.
        """
        for number in numbers:
            self.count[number] += 1
        if max(self.count) > self.most:
            raise RunError(
                f"{who} died {max(self.count)} times while it worked on {self.text!r}, {why}"
            ) from cause
        logger.warning("%s died; what it worked on is tried again", who)


def run(function: Callable[..., Any], shared: Any, part: Any, key: Key) -> Any:
    """Do one part, with one thread and its own draws."""
    with one_thread():
        return function(shared, part, stream(*key))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
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


@contextlib.contextmanager
def set_environment(**values: str | None) -> Iterator[None]:
    """Set variables of the environment meanwhile, of processes that are started too; None = unset."""
    before = {name: os.environ.get(name) for name in values}
    _put(values)
    try:
        yield
    finally:
        _put(before)


def _put(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
