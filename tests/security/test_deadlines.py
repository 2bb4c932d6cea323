"""A limit of time without a timer where nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from recprune.security.deadlines import TimeIsUp, within


def run(work: Callable[[], Awaitable[Any]], seconds: float = 5.0) -> Any:
    async def begun() -> Any:
        return await within(seconds, work())

    return asyncio.run(begun())


def test_what_waits_goes_on_with_what_it_waited_for() -> None:
    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        told = []
        for number in range(3):
            future = loop.create_future()
            loop.call_later(0.001, future.set_result, number)
            told.append(await future)
            await asyncio.sleep(0)
        return told

    assert run(work) == [0, 1, 2]


def test_errors_go_both_ways() -> None:
    async def work() -> str:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KeyError("given"))
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await future
        raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        run(work)


def test_what_is_late_is_cancelled_and_may_clean_up() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(TimeIsUp):
        run(work, 0.01)
    assert ended == [True]


def test_a_timeout_of_its_own_is_its_own() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        run(work)


def test_being_cancelled_from_outside_is_no_timeout() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    async def begun() -> None:
        task = asyncio.create_task(within(60, work()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(begun())


def test_nothing_is_timed_where_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> int:
        return 7

    monkeypatch.setattr(asyncio, "timeout", None)
    assert run(work) == 7
