"""Events from Redis Streams: ranges of entries, no consumer group; a stream is a partition.

An entry is an event: the JSON in its field ``event``, or, without such a field, its fields as texts.
A position counts the entries that the stream ever got beside the last one's id, so that what
trimming took is told from what was read before it was taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recprune._support import require
from recprune.errors import GapError, InputError
from recprune.streaming.sources.base import (
    MOST_BYTES,
    PATIENCE,
    Patience,
    Positions,
    Read,
    within,
)

__all__ = ["RedisStreams"]

#: The field of an entry that holds the event.
EVENT = b"event"
#: Entries of one request.
ENTRIES = 2_000
POSITION = re.compile(r"(\d{20})-(\d{20})@(\d{19})")
DELETED = "They were trimmed or deleted. Let the stream keep more, and start from a new state."


_About = Mapping[str, Any]
_Entry = tuple[bytes, list[bytes]]


@dataclass(frozen=True)
class _Place:
    """An entry's id in its two parts, and how many entries the stream had got with it."""

    time: int
    count: int
    entries: int

    def __str__(self) -> str:
        return f"{self.time:020}-{self.count:020}@{self.entries:019}"

    @property
    def id(self) -> tuple[int, int]:
        return self.time, self.count

    @classmethod
    def read(cls, position: str) -> _Place:
        found = POSITION.fullmatch(position)
        if found is None:
            raise InputError(f"{position!r} is no position in a stream of Redis'.")
        return cls(*map(int, found.groups()))


class RedisStreams:
    """Streams of one Redis server, 7.0 or later.

    Args:
        address: redis:// or rediss:// (TLS), host, port and number of the database; no password.
        streams: the keys.
        settings: more of redis-py's settings, such as ``username``, ``password``, ``ssl_ca_certs``.
        patience: seconds that the server may be away.

    Raises:
        InputError: a key holds no stream, the settings are wrong, or the server is too old.
        RunError: the server is away for too long.
        MissingExtra: redis is not installed.
    """

    def __init__(
        self,
        address: str,
        streams: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._redis = require("redis", "stream")
        self._away = self._redis.ConnectionError, self._redis.TimeoutError
        given = {"socket_timeout": 30, "socket_connect_timeout": 10, **(settings or {})}
        try:
            self._client = self._redis.Redis.from_url(address, retry=_never(), **given)
        except (ValueError, TypeError) as error:
            raise InputError(f"Redis' settings are wrong: {error}.") from error
        # As they come: entries by the thousand are not made into dictionaries.
        self._client.set_response_callback("XRANGE", lambda entries, **_: entries)
        self._patience = Patience(f"Redis at {address}", patience)
        self.partitions = tuple(sorted(set(streams)))
        for stream in self.partitions:
            self._entries(stream, None, 1)

    @property
    def retries(self) -> int:
        """How often a server that was away was tried again."""
        return self._patience.retries

    def read(self, partition: str, after: str | None, most: int) -> Read:
        """See :class:`recprune.streaming.sources.base.Source`."""
        place = None if after is None else _Place.read(after)
        ids, payloads, size, base = list[bytes](), list[bytes](), 0, 0
        while len(payloads) < most and size < MOST_BYTES:
            wanted = min(ENTRIES, most - len(payloads))
            about, entries = self._entries(partition, place, wanted)
            self._check(partition, place, about)
            if not entries:
                break
            if not ids:
                base = _removed(about) if place is None else place.entries
            found = [_event(fields) for _, fields in entries]
            count = within(found, MOST_BYTES - size)
            payloads += found[:count]
            ids += [id_ for id_, _ in entries[:count]]
            size += sum(map(len, found[:count]))
            place = _Place(*_id(ids[-1]), base + len(ids))
            if len(entries) < wanted:
                break
        more = len(payloads) < most and size >= MOST_BYTES
        at = lambda i: str(_Place(*_id(ids[i]), base + i + 1))  # noqa: E731
        return Read(payloads, Positions(len(ids), at), more)

    def waiting(self, partition: str, after: str | None) -> int | None:
        """See :class:`recprune.streaming.sources.base.Source`."""
        place = None if after is None else _Place.read(after)
        try:
            about, _ = self._both(partition, "-", 1)
        except self._away:
            return None
        if isinstance(about, Exception):
            return 0
        if place is None:
            return int(about["length"])
        return max(0, int(about["entries-added"]) - place.entries)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _entries(
        self, stream: str, after: _Place | None, most: int
    ) -> tuple[_About | None, list[_Entry]]:
        """Return what a stream says of itself, None if there is none, and the entries that come next."""
        start = "-" if after is None else f"({after.time}-{after.count}"
        about, entries = self._patience.call(lambda: self._both(stream, start, most), self._away)
        error = next((a for a in (entries, about) if isinstance(a, Exception)), None)
        if error is not None and "no such key" not in str(error):
            raise InputError(f"Stream {stream!r} of {self._patience.what} cannot be read: {error}.")
        if error is None and "entries-added" not in about:
            raise InputError(f"{self._patience.what} is older than 7.0 and does not count entries.")
        return None if error is not None else about, entries

    def _both(self, stream: str, start: str, most: int) -> list[Any]:
        """Ask for both at once, so that nothing is trimmed between."""
        refused = self._redis.exceptions
        try:
            with self._client.pipeline(transaction=True) as asked:
                asked.execute_command("XINFO STREAM", stream)
                asked.execute_command("XRANGE", stream, start, "+", "COUNT", most)
                answers: list[Any] = asked.execute(raise_on_error=False)
                return answers
        except (refused.AuthenticationError, refused.AuthorizationError) as error:
            raise InputError(f"{self._patience.what} does not let us in: {error}.") from error

    def _check(self, stream: str, place: _Place | None, about: _About | None) -> None:
        """Make sure that what comes next is what came next.

        Entries were removed that had not been read if more were removed than read, or one after the
        last that was read.
        """
        if place is None:
            return
        if about is None:
            raise GapError(stream, "all entries", "The stream is gone.")
        where = f"entries after {place.time}-{place.count}"
        if place.id > _id(about["last-generated-id"]) or place.entries > int(
            about["entries-added"]
        ):
            raise GapError(
                stream,
                where,
                "The stream ends before: the server lost what it had not written to its disk, or it is "
                "another stream of that name. Start from a new state.",
            )
        if _removed(about) > place.entries or _id(about["max-deleted-entry-id"]) > place.id:
            raise GapError(stream, where, DELETED)


def _never() -> Any:
    """Return how redis-py is to try again: not at all, we do."""
    backoff = require("redis.backoff", "stream")
    return require("redis.retry", "stream").Retry(backoff.NoBackoff(), 0)


def _id(text: bytes | str) -> tuple[int, int]:
    time, _, count = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(time), int(count)


def _removed(about: _About | None) -> int:
    return 0 if about is None else int(about["entries-added"]) - int(about["length"])


def _event(fields: list[bytes]) -> bytes:
    """Return an entry's event; fields and their values alternate."""
    if len(fields) == 2 and fields[0] == EVENT:
        return fields[1]
    texts = [field.decode(errors="backslashreplace") for field in fields or ()]
    pairs = dict(zip(texts[::2], texts[1::2], strict=True))
    if "event" in pairs:
        return fields[fields[::2].index(EVENT) * 2 + 1]
    return json.dumps(pairs).encode()
