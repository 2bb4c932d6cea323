"""What every source must do: the same events in the same order from any position, and no gap unseen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recprune.errors import GapError, InputError, RunError
from recprune.streaming.sources import Source, open_source
from recprune.streaming.sources.base import within

from .brokers import Feed, KafkaMock, RedisServer

New = Callable[[int], Feed]


def payloads(n: int, start: int = 0) -> list[bytes]:
    return [b'{"event": %d, "clicked": %d}' % (i, i % 2) for i in range(start, start + n)]


def drained(source: Source, partition: str, after: str | None, most: int) -> list[bytes]:
    """Read on until a reading brings less than was asked for."""
    out = list[bytes]()
    while True:
        read = source.read(partition, after, most)
        assert len(read.positions) == len(read.payloads) == len(read) <= most
        out += read.payloads
        if len(read) < most and not read.more:
            return out
        after = read.positions[-1]


def eventually(source: Source, partition: str, after: str | None, n: int, most: int) -> list[bytes]:
    """Read until so many events have come: Kafka's take a moment from the broker to the client."""
    found = list[bytes]()
    deadline = time.monotonic() + 30
    while len(found) < n and time.monotonic() < deadline:
        read = source.read(partition, after, most)
        found += read.payloads
        after = read.positions[-1] if len(read) else after
    return found


def test_each_partition_is_read_in_order_whatever_the_steps(feed: New) -> None:
    to = feed(3)
    wanted = {p: payloads(100 * i, 1000 * i) for i, p in enumerate(to.partitions)}
    for partition, events in wanted.items():
        for start in range(0, len(events), 60):
            to.write(partition, events[start : start + 60])
    source = open_source(to.text)
    assert source.partitions == to.partitions
    for most in (1_000, 100, 7):
        for partition, events in wanted.items():
            assert drained(source, partition, None, most) == events
    source.close()


def test_reading_goes_on_after_any_position(feed: New) -> None:
    to = feed(1)
    (partition,) = to.partitions
    events = payloads(90)
    for start in (0, 20, 40):
        to.write(partition, events[start : start + 20])
    to.write(partition, events[60:])
    source, other = open_source(to.text), open_source(to.text)
    read = source.read(partition, None, 90)
    positions = list(read.positions)
    assert positions == sorted(set(positions))
    assert positions[-3:] == read.positions[-3:]
    steps = source.read(partition, None, 30), source.read(partition, positions[29], 61)
    assert [*steps[0].positions, *steps[1].positions] == positions

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 89), st.integers(1, 100), st.booleans())
    def check(index: int, most: int, fresh: bool) -> None:
        found = (other if fresh else source).read(partition, positions[index], most)
        assert list(found.payloads) == events[index + 1 : index + 1 + most]
        assert list(found.positions) == positions[index + 1 : index + 1 + most]

    check()
    source.close()
    other.close()


def test_what_comes_later_is_read_later(feed: New) -> None:
    to = feed(2)
    one, two = to.partitions
    to.write(one, payloads(5))
    source = open_source(to.text)
    assert len(source.read(two, None, 10)) == 0
    after = source.read(one, None, 10).positions[-1]
    for start in (5, 10):
        assert len(source.read(one, after, 10)) == 0
        to.write(one, payloads(5, start))
        found = eventually(source, one, after, 5, 2)
        assert found == payloads(5, start)
        after = source.read(one, after, 10).positions[-1]
    to.write(two, payloads(1))
    assert eventually(source, two, None, 1, 10) == payloads(1)
    source.close()


def test_what_waits_is_counted(feed: New) -> None:
    to = feed(2)
    full, empty = to.partitions
    to.write(full, payloads(400, 1000))
    source = open_source(to.text)
    after = source.read(full, None, 100).positions[-1]
    assert source.waiting(full, after) == pytest.approx(300, abs=1)
    to.write(full, payloads(200, 1400))
    to.write(full, payloads(200, 1600))
    waiting = source.waiting(full, after)
    assert waiting is not None
    assert 400 <= waiting <= 700  # a folder goes by bytes, and one segment is compressed
    ends = time.monotonic() + 30
    while source.waiting(full, after) != 0:  # Kafka's client hears of new events in its own time
        read = source.read(full, after, 1000)
        after = read.positions[-1] if len(read) else after
        assert time.monotonic() < ends
    assert source.waiting(empty, None) == 0
    source.close()


def test_what_retention_took_unread_is_a_gap(feed: New) -> None:
    to = feed(2)
    partition, other = to.partitions
    for start in (0, 50, 100):
        to.write(partition, payloads(50, start))
    to.write(other, payloads(3))
    source = open_source(to.text)
    early = source.read(partition, None, 20).positions[-1]
    late = source.read(partition, early, 100).positions[-1]
    to.expire(partition, 50)
    for _ in range(2):  # it does not go by itself
        for reader in (source, open_source(to.text)):
            with pytest.raises(GapError, match="has a gap") as caught:
                reader.read(partition, early, 10)
            assert caught.value.partition == partition
            assert len(reader.read(other, None, 10)) == 3
    if not to.text.startswith("kafka"):  # the mock drops more than was asked for
        assert len(source.read(partition, late, 1000)) == 30


def test_nothing_is_missing_from_what_starts_late(feed: New) -> None:
    """Whoever has read nothing starts at what there is, and from there on all is counted."""
    to = feed(1)
    (partition,) = to.partitions
    for start in (0, 50):
        to.write(partition, payloads(50, start))
    to.expire(partition, 50)
    to.write(partition, payloads(50, 100))
    source = open_source(to.text)
    read = source.read(partition, None, 20)
    assert source.read(partition, read.positions[-1], 5).payloads
    to.expire(partition, 40)
    with pytest.raises(GapError):
        open_source(to.text).read(partition, read.positions[0], 5)


@pytest.mark.parametrize("kind", ["kafka", "redis"], indirect=False)
def test_a_broker_may_go_and_come_back(feed: New, broker: KafkaMock | RedisServer) -> None:
    to = feed(1)
    (partition,) = to.partitions
    events = payloads(3_000)
    to.write(partition, events)
    source = open_source(to.text)
    first = source.read(partition, None, 1_000)
    broker.kill()
    back = threading.Timer(1.0, broker.start)
    back.start()
    rest = drained(source, partition, first.positions[-1], 500)
    back.join()
    assert [*first.payloads, *rest] == events
    source.close()


@pytest.mark.parametrize("kind", ["kafka", "redis"], indirect=False)
def test_a_broker_that_stays_away_is_told(feed: New, broker: KafkaMock | RedisServer) -> None:
    to = feed(1)
    (partition,) = to.partitions
    to.write(partition, payloads(10))
    source = open_source(to.text, patience=0.5)
    broker.kill()
    try:
        with pytest.raises(RunError, match=r"has been away for .* reading goes on where it ended"):
            open_source(to.text, patience=0.5).read(partition, None, 10)
        assert source.waiting(partition, None) is None
    finally:
        broker.start()
    assert drained(source, partition, None, 100) == payloads(10)
    assert source.waiting(partition, None) == 10
    source.close()


def test_a_position_of_another_source_is_refused(feed: New) -> None:
    to = feed(1)
    (partition,) = to.partitions
    to.write(partition, payloads(1))
    with pytest.raises(InputError, match="is no position in a"):
        open_source(to.text).read(partition, "of something else", 1)


def test_a_reading_ends_by_bytes_too(feed: New, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("folder", "kafka", "redis"):
        monkeypatch.setattr(f"recprune.streaming.sources.{module}.MOST_BYTES", 1_000)
    to = feed(1)
    (partition,) = to.partitions
    events = [b'{"event": %d, "other": "%s"}' % (i, b"x" * (i % 400)) for i in range(120)]
    to.write(partition, events[:70])
    to.write(partition, events[70:])
    source = open_source(to.text)
    ends, after, found = list[int](), None, list[bytes]()
    while True:
        read = source.read(partition, after, 50)
        found += read.payloads
        if len(read) < 50 and not read.more:
            break
        after = read.positions[-1]
        ends.append(len(found))
        assert within(read.payloads, 1_000) == len(read)
        again = open_source(to.text).read(partition, after, 50)
        assert again.payloads == open_source(to.text).read(partition, after, 50).payloads
    assert found == events
    assert len(ends) > 7
