"""The reading side: take events from the source in a fixed order, leave out what does not count,
and turn the rest into what can be learned from.

It runs ahead of learning (:mod:`recprune.streaming.ahead`) and never sees a weight. So that a
stream that is killed comes to the same bytes, chunks are cut by positions: partitions take turns,
each with as many events as were asked for. Only where a source has no more for the moment is a
chunk shorter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.streaming.events import EventReader, Events
from recprune.streaming.forms import Forms
from recprune.streaming.hashes import hashes
from recprune.streaming.labelled import Labelled
from recprune.streaming.learner import Learner
from recprune.streaming.one_event import Poison
from recprune.streaming.remembered import RememberedIds
from recprune.streaming.rows import Encoded
from recprune.streaming.sources import Read, Source
from recprune.streaming.state import DeadLetter

__all__ = ["Chunk", "Pace", "Reached", "Reading", "Snapshot"]

#: Seconds after which a source that had nothing is asked again.
AGAIN = 0.1
#: Bytes of a dead letter's payload that are kept.
PAYLOAD = 4096


@dataclass(frozen=True)
class Pace:
    """How events are taken. What a stream comes to depends on the first three.

    Args:
        chunk: events read together; new ids are admitted between chunks.
        remember: ids of at least so many of the latest events are known, so that an event that is
            sent again does not count again.
        commit: events after which everything becomes lasting.
        linger: seconds that a chunk waits to be full, in a stream that does not end.

    Raises:
        ParameterError: a number out of range.
    """

    chunk: int = 8192
    remember: int = 1_000_000
    commit: int = 131_072
    linger: float = 1.0

    def __post_init__(self) -> None:
        for name in ("chunk", "remember", "commit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParameterError.of(name, "Pace", "an int ≥ 1", value)
        if not 0 <= self.linger < float("inf"):
            raise ParameterError.of("linger", "Pace", "seconds ≥ 0", self.linger)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The reading side as of a chunk's end.

    Args:
        arrays: what reading goes on from.
        lag: events that wait in the source; None = it cannot tell.
    """

    arrays: Mapping[str, NDArray[Any]]
    lag: int | None


@dataclass(frozen=True)
class Reached:
    """How far reading is.

    Args:
        positions: partition → position of the last event read.
        counts: of all events so far: ``read``, ``counted``, ``dead``, ``repeated``, ``erased``.
    """

    positions: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Events of one partition, in order.

    Args:
        reached: how far reading is with these.
        dead: what could not be read.
        events: that count, at least one; None = there are none.
        encoded: these, as the learner takes them.
        commit: what becomes lasting now; None = not now.
    """

    reached: Reached
    dead: tuple[DeadLetter, ...] = ()
    events: Labelled | None = None
    encoded: Encoded | None = None
    commit: Snapshot | None = None


class Reading:
    """Yields chunks.

    Args:
        source: of the events.
        reader: of their payloads.
        learner: whose reading side encodes, and is changed.
        pace: how events are taken.
        until_end: whether to end where the source has no more; else it waits for more.
        shadows: columns that the model does not read.
    """

    def __init__(
        self,
        source: Source,
        reader: EventReader,
        learner: Learner,
        pace: Pace,
        until_end: bool,
        shadows: Sequence[str] = (),
    ) -> None:
        self.source, self.reader, self.learner = source, reader, learner
        self.pace, self.until_end = pace, until_end
        self.forms = Forms(learner.rows.encoder, shadows)
        self.ids = RememberedIds(pace.remember)
        self.positions: dict[str, str] = {}
        self.counts = dict.fromkeys(("read", "counted", "dead", "repeated", "erased"), 0)
        #: Set to end after the chunk that is being read.
        self.stop = threading.Event()
        self._committed = 0
        # The place of the partition whose turn it is: part of the state, since the order counts.
        self._turn = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`restore` goes on from."""
        parts = {"ids": self.ids.state(), "rows": self.learner.rows.state()}
        parts["turn"] = {"next": np.array([self._turn])}
        return {
            f"{part}/{n}": np.array(a) for part, state in parts.items() for n, a in state.items()
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], reached: Reached) -> None:
        """Go on from a state, and how far reading was."""
        for part, what in (("ids", self.ids), ("rows", self.learner.rows)):
            prefix = f"{part}/"
            own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            what.restore(own)
        self.positions, self.counts = dict(reached.positions), dict(reached.counts)
        self._committed = self.counts["read"]
        self._turn = int(arrays["turn/next"][0])

    def __iter__(self) -> Iterator[Chunk]:
        names = self.source.partitions
        ended, idle = set[str](), 0
        while len(ended) < len(names):
            partition = names[self._turn]
            read = None if partition in ended else self._read(partition)
            if self.stop.is_set():
                break
            self._turn = (self._turn + 1) % len(names)
            if read is not None and len(read):
                idle = 0
                yield self._chunk(partition, read)
                continue
            idle += 1
            if self.until_end:
                ended.add(partition)
            elif idle == len(names):
                if self.counts["read"] > self._committed:
                    yield self._nothing()
                self.stop.wait(AGAIN)
                idle = 0
        if self.counts["read"] > self._committed:
            yield self._nothing()

    def _read(self, partition: str) -> Read:
        """Return a whole chunk of a partition, or what there is."""
        most, after = self.pace.chunk, self.positions.get(partition)
        read = self.source.read(partition, after, most)
        if self.until_end or read.more or not len(read):
            return read
        ends = time.monotonic() + self.pace.linger
        while not read.more and len(read) < most and time.monotonic() < ends:
            if self.stop.wait(AGAIN):
                break
            later = self.source.read(partition, read.positions[-1], most - len(read))
            read = read.followed_by(later)
        return read

    def _chunk(self, partition: str, read: Read) -> Chunk:
        events, poison = self._read_as_events(read)
        before = self.counts["read"]
        # Where users have other names, or are to be forgotten, no text with their ids is kept.
        kept = 0 if self.reader.private else PAYLOAD
        dead = tuple(
            DeadLetter(partition, read.positions[p.index], p.reason, read.payloads[p.index][:kept])
            for p in poison
        )
        new = self.ids.add(events.ids)
        repeated = len(new) - int(np.count_nonzero(new))
        if repeated:
            events = _only(events, new)
        self.positions[partition] = read.positions[-1]
        self.counts["read"] += len(read)
        self.counts["dead"] += len(dead)
        self.counts["repeated"] += repeated
        self.counts["counted"] += len(events)
        self.counts["erased"] += events.erased
        labelled = self._labelled(events) if len(events) else None
        encoded = None if labelled is None else self.learner.encode(labelled.frame)
        due = self.counts["read"] // self.pace.commit > before // self.pace.commit
        return replace(
            self._here(self._snapshot() if due else None),
            dead=dead,
            events=labelled,
            encoded=encoded,
        )

    def _read_as_events(self, read: Read) -> tuple[Events, list[Poison]]:
        """Return the events that the fields can be made of, and what is none, in order."""
        events, poison = self.reader.read(read.payloads)
        fit = np.ones(len(events), np.bool_)
        for reason, wrong in self.forms.unfit(events.frame):
            unfit = wrong.to_numpy() & fit
            poison += [Poison(int(i), "type", reason) for i in events.at[unfit]]
            fit &= ~unfit
        if fit.all():
            return events, poison
        return _only(events, fit), sorted(poison, key=lambda each: each.index)

    def _labelled(self, events: Events) -> Labelled:
        frame, schema = self.forms.fields(events.frame), self.learner.rows.encoder.schema
        users, items = (
            None if name is None else _owners(frame[name], events.ids)
            for name in (schema.user, schema.item)
        )
        return Labelled(frame, events.label, users, items)

    def _nothing(self) -> Chunk:
        return self._here(self._snapshot())

    def _here(self, commit: Snapshot | None) -> Chunk:
        return Chunk(Reached(dict(self.positions), dict(self.counts)), commit=commit)

    def _snapshot(self) -> Snapshot:
        self._committed = self.counts["read"]
        waiting = [self.source.waiting(p, self.positions.get(p)) for p in self.source.partitions]
        known = [n for n in waiting if n is not None]
        return Snapshot(self.state(), sum(known) if len(known) == len(waiting) else None)


def _owners(texts: pl.Series, ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each text, shape (n,); where it is missing, of the event: nobody's but its own."""
    gone = texts.is_null().to_numpy()
    return np.where(gone, ids, hashes(texts)) if gone.any() else hashes(texts)


def _only(events: Events, mask: NDArray[np.bool_]) -> Events:
    return replace(
        events,
        frame=events.frame.filter(mask),
        **{name: getattr(events, name)[mask] for name in ("label", "ids", "at")},
    )
