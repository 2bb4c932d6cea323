"""Processes that begin at once, to be killed as ``kill -9`` does."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

__all__ = ["Mortal", "Steps", "begun"]

# A server that has loaded everything, and forks. A process of tests has one, whoever asks for it.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["recprune.erasure", "recprune.streaming", "recprune.runtime"])


def begun(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """Begin work in a process of its own, under this test's environment.

    What the server forks has the environment of whichever test came to it first.
    """
    process = _SERVER.Process(target=_under, args=(dict(os.environ), work, *arguments))
    process.start()
    return process


def _under(environment: dict[str, str], work: Callable[..., None], *arguments: object) -> None:
    os.environ.clear()
    os.environ.update(environment)
    work(*arguments)


@dataclass
class Steps:
    """Counts steps; at the last one the process ends as a machine that loses power: no handler runs.

    Args:
        last: 0 = it does not end.
    """

    last: int
    done: int = 0

    def count(self, owner: object, *names: str) -> None:
        """Make every call of these functions of a class or module a step."""
        for name in names:
            self._count(owner, name, getattr(owner, name))

    def _count(self, owner: object, name: str, whole: Callable[..., object]) -> None:
        def call(*arguments: object, **options: object) -> object:
            self.done += 1
            if self.done == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*arguments, **options)

        setattr(owner, name, call)


class Mortal:
    """Work in a process of its own, which ends at its n-th step.

    Args:
        work: tells :class:`Steps` what a step is, and does it.
        last: 0 = it does not end.
    """

    def __init__(self, work: Callable[[Steps], None], last: int = 0) -> None:
        self.last = last
        self.told, done = _SERVER.Pipe(duplex=False)
        self.process = begun(_run, work, Steps(last), done)
        done.close()

    @property
    def killed(self) -> bool:
        """Whether it ended itself, rather than its work."""
        self.process.join(120)
        assert self.process.exitcode in (0, -signal.SIGKILL), self.last
        return self.process.exitcode != 0

    @property
    def steps(self) -> int:
        """Steps of what it did to the end."""
        assert not self.killed
        return int(self.told.recv())


def _run(work: Callable[[Steps], None], steps: Steps, done: Connection) -> None:
    work(steps)
    done.send(steps.done)
