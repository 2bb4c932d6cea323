"""The first thread of three: take events from the source in a fixed order, and make columns of them.

So that a stream that is killed comes to the same bytes, chunks are cut by positions: partitions take
turns, each with as many events as were asked for. Only where a source has no more for the moment is
a chunk shorter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.streaming.events import EventReader, Events
from recprune.streaming.forms import Forms
from recprune.streaming.one_event import Poison
from recprune.streaming.sources import Read, Source

__all__ = ["Pace", "Taken", "Taking", "only"]

#: Seconds after which a source that had nothing is asked again.
AGAIN = 0.1


@dataclass(frozen=True)
class Pace:
    """How events are taken. What a stream comes to depends on the first three.

    Args:
        chunk: events read together.
        remember: ids of at least so many of the latest events are known, so that an event that is
            sent again does not count again.
        commit: events after which everything becomes lasting.
        linger: seconds that a chunk waits to be full, in a stream that does not end.

    Raises:
        ParameterError: a number out of range.
    """

    chunk: int = 32_768
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
class Taken:
    """A chunk of one partition.

    Args:
        turn: place of the partition whose turn is next.
        partition: whose it is.
        read: the payloads and positions; None = the source has no more for the moment.
        events: that can be learned from, as far as they alone tell.
        poison: what cannot.
        lag: events that wait in the source, where all is to become lasting; None = it cannot tell.
    """

    turn: int
    partition: str = ""
    read: Read | None = None
    events: Events | None = None
    poison: tuple[Poison, ...] = ()
    lag: int | None = None


class Taking:
    """Yields what is taken.

    Args:
        source: of the events.
        reader: of their payloads.
        forms: of the columns.
        pace: how events are taken.
        until_end: whether to end where the source has no more; else it waits for more.
    """

    def __init__(
        self, source: Source, reader: EventReader, forms: Forms, pace: Pace, until_end: bool
    ) -> None:
        self.source, self.reader, self.forms = source, reader, forms
        self.pace, self.until_end = pace, until_end
        #: Where to go on: partition → position of the last event, whose turn it is, events so far.
        self.positions: dict[str, str] = {}
        self.turn, self.read = 0, 0
        #: Set to end after the chunk that is being taken.
        self.stop = threading.Event()

    def __iter__(self) -> Iterator[Taken]:
        names = self.source.partitions
        ended, idle = set[str](), 0
        while len(ended) < len(names):
            partition = names[self.turn]
            read = None if partition in ended else self._read(partition)
            if self.stop.is_set():
                return
            self.turn = (self.turn + 1) % len(names)
            if read is not None and len(read):
                idle = 0
                yield self._taken(partition, read)
                continue
            idle += 1
            if self.until_end:
                ended.add(partition)
            elif idle == len(names):
                yield Taken(self.turn, lag=self._lag())
                self.stop.wait(AGAIN)
                idle = 0

    def due(self, before: int, after: int) -> bool:
        """Tell whether all is to become lasting once so many events were read."""
        return after // self.pace.commit > before // self.pace.commit

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

    def _taken(self, partition: str, read: Read) -> Taken:
        events, poison = self._events(read)
        self.positions[partition] = read.positions[-1]
        before, self.read = self.read, self.read + len(read)
        lag = self._lag() if self.due(before, self.read) else None
        return Taken(self.turn, partition, read, events, tuple(poison), lag)

    def _events(self, read: Read) -> tuple[Events, list[Poison]]:
        """Return the events that the fields can be made of, and what is none, in order."""
        events, poison = self.reader.read(read.payloads)
        fit = np.ones(len(events), np.bool_)
        for reason, wrong in self.forms.unfit(events.frame):
            unfit = wrong.to_numpy() & fit
            poison += [Poison(int(i), "type", reason) for i in events.at[unfit]]
            fit &= ~unfit
        if fit.all():
            return events, poison
        return only(events, fit), sorted(poison, key=lambda each: each.index)

    def _lag(self) -> int | None:
        waiting = [self.source.waiting(p, self.positions.get(p)) for p in self.source.partitions]
        known = [n for n in waiting if n is not None]
        return sum(known) if len(known) == len(waiting) else None


def only(events: Events, mask: NDArray[np.bool_]) -> Events:
    """Return some of the events."""
    return replace(
        events,
        frame=events.frame.filter(mask),
        **{name: getattr(events, name)[mask] for name in ("label", "ids", "at")},
    )
