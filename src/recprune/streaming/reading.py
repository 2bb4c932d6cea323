"""The reading side: leave out of what is taken what does not count, and turn the rest into what can
be learned from.

It runs ahead of learning (:mod:`recprune.streaming.ahead`), as taking runs ahead of it
(:mod:`recprune.streaming.taking`), and never sees a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.streaming.ahead import Ahead
from recprune.streaming.events import EventReader, Events
from recprune.streaming.forms import Forms
from recprune.streaming.hashes import hashes
from recprune.streaming.labelled import Labelled
from recprune.streaming.learner import Learner
from recprune.streaming.remembered import RememberedIds
from recprune.streaming.rows import Encoded
from recprune.streaming.sources import Read, Source
from recprune.streaming.state import DeadLetter, under
from recprune.streaming.taking import Pace, Taken, Taking, only

__all__ = ["Chunk", "Reached", "Reading", "Snapshot"]

#: Chunks that may be taken ahead.
DEPTH = 2
#: Bytes of a dead letter's payload that are kept, and how many letters may wait for a commit.
PAYLOAD, MOST_DEAD = 4096, 8192


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
    """Yields chunks. Taking them from the source runs ahead of it in a thread of its own.

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
        self.source, self.learner = source, learner
        self.forms = Forms(learner.rows.encoder, shadows)
        self.taking = Taking(source, reader, self.forms, pace, until_end)
        self.ids = RememberedIds(pace.remember)
        self.positions: dict[str, str] = {}
        self.counts = dict.fromkeys(("read", "counted", "dead", "repeated", "erased"), 0)
        self._committed, self._buried = 0, 0
        # The place of the partition whose turn it is: part of the state, since the order counts.
        self._turn = 0

    def stop(self) -> None:
        """End after the chunk that is being read."""
        self.taking.stop.set()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that :meth:`restore` goes on from."""
        parts = {"ids": self.ids.state(), "rows": self.learner.rows.state()}
        parts["turn"] = {"next": np.array([self._turn])}
        return {
            f"{part}/{n}": np.array(a) for part, state in parts.items() for n, a in state.items()
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], reached: Reached) -> None:
        """Go on from a state, and how far reading was."""
        self.ids.restore(under("ids", arrays))
        self.learner.rows.restore(under("rows", arrays))
        self.positions, self.counts = dict(reached.positions), dict(reached.counts)
        self._committed, self._buried = self.counts["read"], self.counts["dead"]
        self._turn = int(arrays["turn/next"][0])
        self.taking.positions, self.taking.turn = dict(self.positions), self._turn
        self.taking.read = self._committed

    def __iter__(self) -> Iterator[Chunk]:
        lag: int | None = None
        for taken in Ahead(self.taking, DEPTH):
            self._turn = taken.turn
            if taken.read is not None:
                yield self._chunk(taken, taken.read)
            elif self.counts["read"] > self._committed:
                yield self._here(self._snapshot(taken.lag))
            lag = taken.lag
        if self.counts["read"] > self._committed:
            yield self._here(self._snapshot(lag))

    def _chunk(self, taken: Taken, read: Read) -> Chunk:
        events, before = taken.events, self.counts["read"]
        assert events is not None
        # Where users have other names, or are to be forgotten, no text with their ids is kept.
        kept = 0 if self.taking.reader.private else PAYLOAD
        dead = tuple(
            DeadLetter(
                taken.partition, read.positions[p.index], p.reason, read.payloads[p.index][:kept]
            )
            for p in taken.poison
        )
        new = self.ids.add(events.ids)
        repeated = len(new) - int(np.count_nonzero(new))
        if repeated:
            events = only(events, new)
        self.positions[taken.partition] = read.positions[-1]
        self.counts["read"] += len(read)
        self.counts["dead"] += len(dead)
        self.counts["repeated"] += repeated
        self.counts["counted"] += len(events)
        self.counts["erased"] += events.erased
        labelled = self._labelled(events) if len(events) else None
        encoded = None if labelled is None else self.learner.encode(labelled.frame)
        due = self.taking.due(before, self.counts["read"])
        due |= self.counts["dead"] - self._buried >= MOST_DEAD
        return replace(
            self._here(self._snapshot(taken.lag) if due else None),
            dead=dead,
            events=labelled,
            encoded=encoded,
        )

    def _labelled(self, events: Events) -> Labelled:
        frame, schema = self.forms.fields(events.frame), self.learner.rows.encoder.schema
        users, items = (
            None if name is None else _owners(frame[name], events.ids)
            for name in (schema.user, schema.item)
        )
        return Labelled(frame, events.label, users, items)

    def _here(self, commit: Snapshot | None) -> Chunk:
        return Chunk(Reached(dict(self.positions), dict(self.counts)), commit=commit)

    def _snapshot(self, lag: int | None) -> Snapshot:
        self._committed, self._buried = self.counts["read"], self.counts["dead"]
        return Snapshot(self.state(), lag)


def _owners(texts: pl.Series, ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each text, shape (n,); where it is missing, of the event: nobody's but its own."""
    gone = texts.is_null().to_numpy()
    return np.where(gone, ids, hashes(texts)) if gone.any() else hashes(texts)
