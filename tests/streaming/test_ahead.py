"""Reading ahead: in order, by so much and no more, and never left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from recprune.streaming.ahead import Ahead


def test_all_come_in_order() -> None:
    assert list(Ahead(range(1000), 3)) == list(range(1000))
    assert list(Ahead([], 1)) == []


def test_it_is_ahead_by_so_much_and_no_more() -> None:
    taken = 0
    most = 0

    def source() -> Iterator[int]:
        nonlocal most
        for number in range(50):
            most = max(most, number - taken)
            yield number

    ahead = Ahead(source(), 4)
    for number in ahead:
        time.sleep(0.002)
        taken = number + 1
    assert 2 <= most <= 6  # four ready, one held by each side
    assert ahead.source_waited > 0


def test_an_error_comes_where_it_happened() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    ahead = iter(Ahead(source(), 4))
    assert next(ahead) == 1
    with pytest.raises(LookupError, match="gone"):
        next(ahead)


def test_who_stops_taking_ends_the_source() -> None:
    before, closed = threading.active_count(), threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    made = source()
    ahead = iter(Ahead(made, 2))
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    made.close()
    assert closed.is_set()
