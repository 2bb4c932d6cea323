"""The loop: score, learn, watch, judge, publish; and commit all of it together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
from numpy.typing import NDArray

from recprune._support import logger
from recprune.crypto import is_pseudonym
from recprune.errors import InputError
from recprune.streaming.ahead import Ahead
from recprune.streaming.labelled import Labelled
from recprune.streaming.learner import Learner
from recprune.streaming.newcomers import Newcomers
from recprune.streaming.publishing import Publication, Publisher
from recprune.streaming.reading import Chunk, Reached, Reading
from recprune.streaming.rows import vocabulary_of
from recprune.streaming.state import Commit, DeadLetter, StreamState, prefixed, under
from recprune.streaming.watching import Alarm, Watch

__all__ = ["Flow", "Running", "Summary"]

Arrays = dict[str, NDArray[Any]]

#: Chunks that may be ready to be learned from.
DEPTH = 4
#: Events of a chunk whose columns are looked at once, whether they are there.
ENOUGH = 100


@dataclass
class Flow:
    """How events flow, in this process: nothing that is learned depends on it.

    Args:
        events: that this process has learned from.
        seconds: since it began.
        lag: events that waited in the source at the last commit; None = it cannot tell.
        source_waited: share of the time that reading waited for learning (back-pressure).
        learner_waited: share of the time that learning waited for reading.
        commits: so far.
    """

    events: int = 0
    seconds: float = 0.0
    lag: int | None = None
    source_waited: float = 0.0
    learner_waited: float = 0.0
    commits: int = 0

    @property
    def rate(self) -> float:
        """Events a second, in this process."""
        return self.events / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Summary:
    """What a stream came to.

    Args:
        counts: of all events, those of former processes too: ``read``, ``counted``, ``dead``,
            ``repeated``, ``erased``.
        figures: prequential metrics and what else is watched.
        hash: of everything that was learned: equal hashes, equal bytes.
        flow: see :class:`Flow`.
        alarms: of this process.
        publications: of this process.
    """

    counts: Mapping[str, int]
    figures: Mapping[str, float]
    hash: str
    flow: Flow
    alarms: tuple[Alarm, ...]
    publications: tuple[Publication, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "counts": dict(self.counts),
            "figures": dict(self.figures),
            "hash": self.hash,
            "flow": {**asdict(self.flow), "rate": self.flow.rate},
            "alarms": [alarm.to_json() for alarm in self.alarms],
            "publications": [
                {"event": p.event, "outcome": p.outcome, **p.to_json()} for p in self.publications
            ],
        }


@dataclass(eq=False)
class _Since:
    """What has happened since the last commit, before which so many events were read."""

    read: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    publications: list[Publication] = field(default_factory=list)


class Running:
    """One stream.

    Args:
        reading: yields chunks.
        learner: learns from them.
        watch: measures and raises alarms.
        publisher: judges candidates.
        state: in which it becomes lasting; what was committed there is gone on from.
        at_commit: called after each commit, with the flow and the figures.
    """

    def __init__(
        self,
        reading: Reading,
        learner: Learner,
        watch: Watch,
        publisher: Publisher,
        state: StreamState,
        at_commit: Callable[[Running], None] | None = None,
    ) -> None:
        self.reading, self.learner, self.watch = reading, learner, watch
        self.publisher, self.state, self.at_commit = publisher, state, at_commit
        self.flow, self.counts = Flow(), dict(reading.counts)
        self.alarms: list[Alarm] = []
        self.publications: list[Publication] = []
        self.newcomers = Newcomers(publisher.reference)
        self._since = _Since()
        self._columns_seen = self._users_seen = False
        self._restore()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.state.close()
        self.reading.source.close()

    def stop(self) -> None:
        """End after what is being read now, and commit."""
        self.reading.stop()

    def run(self) -> Summary:
        """Go on until the source ends, or ``stop`` is called; all is committed then.

        An error of the source, of learning or of the disk is raised; the state is that of the last
        commit.
        """
        began, ahead = time.perf_counter(), Ahead(self.reading, DEPTH)
        for chunk in ahead:
            try:
                self._learn(chunk)
                self.flow.seconds = max(time.perf_counter() - began, 1e-9)
                self.flow.source_waited = ahead.source_waited / self.flow.seconds
                self.flow.learner_waited = ahead.taker_waited / self.flow.seconds
                if chunk.commit is not None:
                    self._commit(chunk)
            except BaseException:
                self.stop()  # else reading may wait for more, and we for it
                raise
        return Summary(
            self.counts,
            self.watch.figures(),
            self.state.hash,
            self.flow,
            tuple(self.alarms),
            tuple(self.publications),
        )

    def _learn(self, chunk: Chunk) -> None:
        self._since.dead += chunk.dead
        before, self.counts = self.counts["counted"], dict(chunk.reached.counts)
        if chunk.events is None or chunk.encoded is None:
            return
        events, count = chunk.events, self.counts["counted"]
        self._look_for_columns(events)
        schema = self.publisher.reference.encoder.schema
        if schema.user is not None and schema.user in schema.names:
            self._look_for_users(events.frame[schema.user])
        judged = self.publisher.add(events, count)
        if judged is not None:
            self._published(judged)
        logits = self.learner.learn(chunk.encoded, events.label)
        raised = self.watch.add(
            events.frame,
            events.label,
            logits,
            encoded=chunk.encoded,
            score=self.learner.score,
            groups=events.users,
        )
        for alarm in raised:
            logger.warning(
                "event %s: %s of %r: %s", alarm.event, alarm.kind, alarm.field, alarm.detail
            )
        self.alarms += raised
        self._since.alarms += raised
        self.newcomers.add(events)
        every = self.publisher.how.every
        # One that is still judged, where chunks are long beside that, is not dropped for the next.
        if count // every > before // every and not self.publisher.judging:
            frozen = self.learner.artifact(self.publisher.reference)
            self.publisher.freeze(self.newcomers.listed(frozen), count)
        self.flow.events += len(events)

    def _look_for_columns(self, events: Labelled) -> None:
        """Warn of columns that no event has: nothing would fail, the model would only be worse."""
        if self._columns_seen or len(events) < ENOUGH:
            return
        self._columns_seen, frame = True, events.frame
        fields = self.publisher.reference.encoder.schema.fields
        gone = {f.of or f.name for f in fields if frame[f.name].null_count() == len(frame)}
        if gone:
            names = ", ".join(map(repr, sorted(gone)))
            logger.warning(
                "none of the first %s events has %s, which the model reads", len(events), names
            )

    def _look_for_users(self, users: pl.Series) -> None:
        """Refuse plain users where the model knows pseudonyms: their ids would be published."""
        if self._users_seen or users.null_count() == len(users):
            return
        self._users_seen = True
        known = vocabulary_of(self.publisher.reference.encoder.parts[users.name])
        if known is not None and _pseudonyms(known.values) and not _pseudonyms(users):
            raise InputError(
                f"The model knows users by pseudonyms, and {users.name!r} of the events is plain: none "
                "would be known, and their ids would be published. Give the key: --pseudonym-key-file."
            )

    def _published(self, made: Publication) -> None:
        logger.info(
            "model of %s events: %s; %s",
            f"{made.frozen:,}",
            made.against_reference or made.outcome,
            "published" if made.published else "not published",
        )
        self.publications.append(made)
        self._since.publications.append(made)

    def _commit(self, chunk: Chunk) -> None:
        assert chunk.commit is not None
        since, self._since = self._since, _Since()
        read = chunk.reached.counts["read"] - since.read
        self._since.read = chunk.reached.counts["read"]
        if 2 * len(since.dead) > read:
            logger.warning(
                "%s of %s events are none and lie with the dead letters: %s",
                len(since.dead), read, since.dead[-1].reason,
            )  # fmt: skip
        self.state.commit(
            Commit(
                chunk.reached.positions,
                {**prefixed("reading", chunk.commit.arrays), **self._arrays()},
                chunk.reached.counts,
                since.dead,
                [(a.event, a.kind, a.field or "", a.detail) for a in since.alarms],
                [(p.event, p.outcome, p.to_json()) for p in since.publications],
            )
        )
        self.flow.lag = chunk.commit.lag
        self.flow.commits += 1
        if self.at_commit is not None:
            self.at_commit(self)

    def _arrays(self) -> Arrays:
        return {
            **prefixed("learner", self.learner.state()),
            **prefixed("watch", self.watch.state()),
            **prefixed("publisher", self.publisher.state()),
            **prefixed("newcomers", self.newcomers.state()),
        }

    def _restore(self) -> None:
        saved = self.state.saved()
        if saved is None:
            return
        self.reading.restore(under("reading", saved.arrays), Reached(saved.positions, saved.counts))
        self.counts, self._since.read = dict(saved.counts), saved.counts["read"]
        for name, part in (
            ("learner", self.learner),
            ("watch", self.watch),
            ("publisher", self.publisher),
            ("newcomers", self.newcomers),
        ):
            part.restore(under(name, saved.arrays))


def _pseudonyms(users: Iterable[str | None]) -> bool:
    """Tell whether all are pseudonyms, and there is one."""
    told = [is_pseudonym(user) for user in users if user is not None]
    return bool(told) and all(told)
