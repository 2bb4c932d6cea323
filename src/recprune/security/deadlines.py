"""A limit of time that costs nothing where nothing is waited for.

A timer of the event loop takes longer to set up and to take down than the rest of a request's way
through the gate. Most requests never wait: their body has arrived with their headers, and a model
answers without giving way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from types import coroutine
from typing import Any, TypeVar

__all__ = ["TimeIsUp", "within"]

T = TypeVar("T")


class TimeIsUp(Exception):
    """Something took longer than it may."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return what a coroutine returns.

    Args:
        seconds: that it may take, from where it waits for the first time; until then nothing could
            interrupt it.
        work: the coroutine.

    Raises:
        TimeIsUp: it took longer, and was cancelled.

    >>> async def quick():
    ...     return "done"
    >>> asyncio.run(within(0.1, quick()))
    'done'
    >>> asyncio.run(within(0.1, asyncio.sleep(60)))
    Traceback (most recent call last):
    recprune.security.deadlines.TimeIsUp
    """
    steps = work.__await__()
    try:
        waited_for = steps.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    try:
        async with asyncio.timeout(seconds) as timer:
            return await _resumed(steps, waited_for)
    except TimeoutError as error:
        if timer.expired():
            raise TimeIsUp from error
        raise


@coroutine
def _resumed(steps: Generator[Any, Any, T], waited_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that waits: as ``await`` does, which can only begin with one."""
    while True:
        try:
            try:
                sent = yield waited_for
            except BaseException as error:  # noqa: BLE001 (cancelling, which is the coroutine's)
                waited_for = steps.throw(error)
            else:
                waited_for = steps.send(sent)
        except StopIteration as done:
            result: T = done.value
            return result
