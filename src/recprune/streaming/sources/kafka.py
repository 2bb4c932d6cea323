"""Events from a topic of Kafka's protocol: partitions assigned by hand, no group, no commits.

Each partition has a consumer of its own, so that one can be read while another waits. The broker
keeps no position for us; where to start comes with each reading, and an offset that is not the next
one is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recprune._support import logger, require
from recprune.errors import GapError, InputError, RunError
from recprune.streaming.sources.base import (
    MOST_BYTES,
    PATIENCE,
    Patience,
    Positions,
    Read,
    within,
)

__all__ = ["Kafka"]

#: Seconds for one request, and for one wait.
REQUEST, WAIT = 5.0, 1.0
#: Messages that are taken at once.
TAKEN = 10_000
#: What the reading depends on, so that no properties may set it.
OURS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
}
DELETED = (
    "Retention deleted them. Let the topic keep events for longer, and start from a new state."
)
HOLES = (
    "Offsets are left out. If the topic is compacted, or written by transactions, allow holes; else "
    "start from a new state."
)


class _AwayError(Exception):
    """The brokers did not answer."""


@dataclass
class _Cursor:
    """One partition's consumer, the offset that comes next, and events that were not asked for yet."""

    consumer: Any
    next: int | None = None
    offsets: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    at_end: bool = False


class Kafka:
    """A topic.

    Args:
        brokers: host:port of some, with commas between.
        topic: its name.
        properties: more of librdkafka's settings, such as those of TLS and SASL.
        holes: whether offsets may be left out, as in compacted topics and in those written by
            transactions; what retention deleted is noticed all the same.
        patience: seconds that the brokers may be away.

    Raises:
        InputError: there is no such topic, or a property is wrong, or not the caller's to set.
        RunError: the brokers are away for too long.
        MissingExtra: confluent-kafka is not installed.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        properties: Mapping[str, str] | None = None,
        holes: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._kafka = require("confluent_kafka", "stream")
        properties = properties or {}
        for name in properties.keys() & {*OURS, "bootstrap.servers"}:
            raise InputError(f"Kafka's property {name!r} is recprune's to set. Leave it out.")
        self._settings = {"group.id": "recprune", "fetch.wait.max.ms": 100, **properties, **OURS}
        self._settings |= {"bootstrap.servers": brokers, "error_cb": self._hear}
        self._topic, self._holes, self._heard = topic, holes, ""
        self._patience = Patience(f"Kafka at {brokers}", patience)
        self._request = min(REQUEST, patience)
        self._cursors: dict[str, _Cursor] = {}
        self.partitions = self._found()

    @property
    def retries(self) -> int:
        """How often a broker that was away was tried again."""
        return self._patience.retries

    def read(self, partition: str, after: str | None, most: int) -> Read:
        """See :class:`recprune.streaming.sources.base.Source`."""
        cursor = self._at(partition, after)
        offsets, payloads, size = list[int](), list[bytes](), 0
        while len(payloads) < most and size < MOST_BYTES:
            if not cursor.payloads and not self._fetch(partition, cursor):
                break
            count = within(cursor.payloads[: most - len(payloads)], MOST_BYTES - size)
            size += sum(map(len, cursor.payloads[:count]))
            payloads += cursor.payloads[:count]
            offsets += cursor.offsets[:count]
            del cursor.payloads[:count], cursor.offsets[:count]
            cursor.next = offsets[-1] + 1
        more = len(payloads) < most and size >= MOST_BYTES
        return Read(payloads, Positions(len(offsets), lambda i: f"{offsets[i]:019}"), more)

    def waiting(self, partition: str, after: str | None) -> int | None:
        """See :class:`recprune.streaming.sources.base.Source`."""
        consumer, place = self._cursor(partition).consumer, self._place(partition)
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=self._request)
        except self._kafka.KafkaException:
            return None
        return max(0, int(high) - (int(low) if after is None else _offset(after) + 1))

    def close(self) -> None:
        """Let go of the connections."""
        for cursor in self._cursors.values():
            cursor.consumer.close()
        self._cursors.clear()

    def _found(self) -> tuple[str, ...]:
        consumer = self._consumer()
        try:
            about = self._asked(lambda: consumer.list_topics(self._topic, timeout=self._request))
        finally:
            consumer.close()
        topic = about.topics[self._topic]
        if topic.error is not None or not topic.partitions:
            raise InputError(f"{self._patience.what} has no topic {self._topic!r}: {topic.error}.")
        return tuple(map(str, sorted(topic.partitions)))

    def _consumer(self) -> Any:
        try:
            return self._kafka.Consumer(self._settings, logger=logger)
        except self._kafka.KafkaException as error:
            raise InputError(f"Kafka's properties are wrong: {error.args[0].str()}.") from error

    def _cursor(self, partition: str) -> _Cursor:
        if partition not in self._cursors:
            self._cursors[partition] = _Cursor(self._consumer())
        return self._cursors[partition]

    def _at(self, partition: str, after: str | None) -> _Cursor:
        """Return a partition's cursor, standing where reading goes on."""
        cursor = self._cursor(partition)
        start = None if after is None else _offset(after) + 1
        if start is not None and start == cursor.next:
            return cursor
        low, high = self._marks(partition, cursor.consumer)
        start = low if start is None else start
        if start < low:
            raise self._gap(partition, start, low - 1, DELETED)
        if start > high:
            why = f"The partition ends before offset {high}: it is another topic of that name."
            raise self._gap(partition, high, start - 1, why)
        cursor.consumer.assign([self._place(partition, start)])
        cursor.next, cursor.at_end = start, False
        cursor.offsets.clear()
        cursor.payloads.clear()
        return cursor

    def _fetch(self, partition: str, cursor: _Cursor) -> bool:
        """Hold the events that come next; False = there are no more now."""
        messages = self._patience.call(lambda: self._messages(partition, cursor), (_AwayError,))
        offsets = [message.offset() for message in messages]
        wanted = cursor.next
        assert wanted is not None
        for offset in offsets if not self._holes else ():
            if offset != wanted:
                raise self._gap(partition, wanted, offset - 1, HOLES)
            wanted += 1
        cursor.offsets = offsets
        cursor.payloads = [message.value() or b"" for message in messages]
        return bool(offsets)

    def _messages(self, partition: str, cursor: _Cursor) -> list[Any]:
        """Return events; none = there are no more now."""
        code = self._kafka.KafkaError
        first = cursor.consumer.poll(0 if cursor.at_end else WAIT)
        if first is None and cursor.at_end:
            return []
        if first is None:
            raise _AwayError(self._heard or f"no answer within {WAIT:.0f} s")
        messages = [first, *cursor.consumer.consume(TAKEN, timeout=0)]
        cursor.at_end = False
        events, failed = [], None
        for message in messages:
            error = message.error()
            cursor.at_end = error is not None and error.code() == code._PARTITION_EOF
            if error is None:
                events.append(message)
            elif error.code() in (code._AUTO_OFFSET_RESET, code.OFFSET_OUT_OF_RANGE):
                low, _ = self._marks(partition, cursor.consumer)
                raise self._gap(partition, cursor.next or 0, low - 1, DELETED)
            elif error.fatal():
                raise RunError(f"{self._patience.what} cannot be read: {error.str()}.")
            elif not cursor.at_end:
                failed = error.str()
        if not events and not cursor.at_end:
            raise _AwayError(failed)
        return events

    def _marks(self, partition: str, consumer: Any) -> tuple[int, int]:
        """Return the first offset there is, and the one after the last."""
        place = self._place(partition)
        marks: tuple[int, int] = self._asked(
            lambda: consumer.get_watermark_offsets(place, timeout=self._request)
        )
        return marks

    def _asked(self, request: Callable[[], Any]) -> Any:
        return self._patience.call(request, (self._kafka.KafkaException,))

    def _place(self, partition: str, *offset: int) -> Any:
        return self._kafka.TopicPartition(self._topic, int(partition), *offset)

    def _hear(self, error: Any) -> None:
        self._heard = error.str()

    def _gap(self, partition: str, first: int, last: int, why: str) -> GapError:
        missing = f"offset {first}" if first == last else f"offsets {first} to {last}"
        return GapError(partition, f"{missing} of topic {self._topic!r}", why)


def _offset(position: str) -> int:
    if not position.isdecimal():
        raise InputError(f"{position!r} is no position in a topic of Kafka's.")
    return int(position)
