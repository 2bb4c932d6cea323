"""When a model that learned from the stream is served: when it is no worse than the reference.

Every so many events a *candidate* is frozen, as it would be stored. The events that follow judge it:
it has learned from none of them, and neither has the reference. It is published if the verdict
passes against the *reference* artefact, the one that the stream began with and that never moves: so
however many are published, one after the other, none is worse than the reference by more than the
tolerance. A candidate that is shown to be worse than the model served now is not published either.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.artifact import CONFIG, Artifact, read_artifact, write_artifact
from recprune.data.encode import encode_frame
from recprune.envelope import holds, seal
from recprune.errors import InputError, ParameterError
from recprune.evaluation import Verdict, verdict
from recprune.evaluation.noninferiority import Outcome
from recprune.folders import folder_written_whole
from recprune.runtime import Scorer
from recprune.streaming.labelled import Labelled

__all__ = ["Publication", "Publisher", "Publishing", "files_of"]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Publishing:
    """How models are published.

    Args:
        every: events after which a candidate is frozen.
        judged: events that judge it; fewer than ``every``.
        tolerance: largest drop of the AUC against the reference that passes.
        seed: of the verdicts' resamples.

    Raises:
        ParameterError: a number out of range.
    """

    every: int = 500_000
    judged: int = 100_000
    tolerance: float = 0.002
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ParameterError.of("every", "Publishing", "an int ≥ 1", self.every)
        if not 1 <= self.judged < self.every:
            raise ParameterError.of("judged", "Publishing", "at least 1, below every", self.judged)
        if not 0 < self.tolerance < 1:
            raise ParameterError.of("tolerance", "Publishing", "a float in (0, 1)", self.tolerance)


@dataclass(frozen=True)
class Publication:
    """What became of a candidate.

    Args:
        frozen: events that it had learned from.
        event: events when it was decided.
        published: whether it is served now.
        against_reference: PASS publishes; None = the events were of one class alone.
        against_served: the same rows against the model served so far, where that is another than
            the reference: FAIL holds it back.
    """

    frozen: int
    event: int
    published: bool
    against_reference: Verdict | None
    against_served: Verdict | None

    @property
    def outcome(self) -> Outcome:
        """The verdict against the reference."""
        return "INCONCLUSIVE" if self.against_reference is None else self.against_reference.outcome

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; None = a bound that is infinite, for which JSON has no word."""
        verdicts = {"reference": self.against_reference, "served": self.against_served}
        return {
            "frozen": self.frozen,
            "published": self.published,
            **{n: None if v is None else _finite(v.to_json()) for n, v in verdicts.items()},
        }


class Publisher:
    """Judges candidates and publishes those that pass.

    Args:
        reference: files of the artefact that none may be worse than, by name.
        how: see :class:`Publishing`.
        folder: where the model that is served lies, in which the reference is put first, unless
            there is a model; None = candidates are judged and nothing is written.
        master: the key under which models are sealed there; None = they are plain.

    Raises:
        InputError: the folder holds something else.
    """

    def __init__(
        self,
        reference: Mapping[str, bytes],
        how: Publishing,
        folder: Path | None = None,
        master: bytes | None = None,
    ) -> None:
        self.how, self.folder, self._master = how, folder, master
        self._reference = _Scored(reference)
        self._served: _Scored | None = None
        self._candidate: _Scored | None = None
        self._frozen = 0
        self._rows: list[Arrays] = []
        self._first = folder is not None and not holds(folder, CONFIG)
        if self._first:
            self._put(reference)

    @property
    def judging(self) -> bool:
        """Whether a candidate waits for more events to be judged by."""
        return self._candidate is not None

    @property
    def reference(self) -> Artifact:
        """The artefact that none may be worse than."""
        return self._reference.artifact

    def freeze(self, candidate: Artifact, event: int) -> None:
        """Let a candidate be judged by the events that follow ``event`` ones; a former one is dropped."""
        self._candidate = _Scored(files_of(candidate))
        self._frozen, self._rows = event, []

    def add(self, events: Labelled, event: int) -> Publication | None:
        """Take events that nobody has learned from when the candidate was frozen.

        Args:
            events: in order.
            event: how many events there have been with these.

        Returns:
            What was decided, if these were enough to.
        """
        if self._candidate is None:
            return None
        missing = self.how.judged - sum(len(rows["label"]) for rows in self._rows)
        events = events.first(missing)
        scored = {"reference": self._reference, "candidate": self._candidate}
        if self._served is not None:
            scored["served"] = self._served
        rows: Arrays = {name: each(events.frame) for name, each in scored.items()}
        rows["label"] = events.label
        for name, owner in (("users", events.users), ("items", events.items)):
            if owner is not None:
                rows[name] = owner
        self._rows.append(rows)
        return self._decide(event) if len(events.label) == missing else None

    def _decide(self, event: int) -> Publication:
        assert self._candidate is not None
        rows = _joined(self._rows)
        against, served = (self._verdict(rows, other) for other in ("reference", "served"))
        passed = against is not None and against.outcome == "PASS"
        passed = passed and (served is None or served.outcome != "FAIL")
        made = Publication(self._frozen, event, passed, against, served)
        if passed:
            self._served = self._candidate
            self._put(self._served.files)
        self._candidate, self._rows = None, []
        return made

    def _verdict(self, rows: Arrays, other: str) -> Verdict | None:
        if other not in rows or rows["label"].min() == rows["label"].max():
            return None
        return verdict(
            rows["label"],
            rows[other],
            rows["candidate"],
            users=rows.get("users"),
            items=rows.get("items"),
            tolerance=self.how.tolerance,
            seed=self.how.seed,
        )

    def state(self) -> Arrays:
        """Return what :meth:`restore` goes on from."""
        state: Arrays = {"frozen": np.array(self._frozen)}
        models = {"reference": self._reference, "served": self._served}
        for name, model in {**models, "candidate": self._candidate}.items():
            if model is not None:
                state |= {f"{name}/{f}": np.frombuffer(d, np.uint8) for f, d in model.files.items()}
        if self._rows:
            state |= {f"rows/{name}": array for name, array in _joined(self._rows).items()}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state.

        Raises:
            InputError: it was begun with another reference.
        """
        parts: dict[str, Arrays] = {"reference": {}, "served": {}, "candidate": {}, "rows": {}}
        for name, array in state.items():
            part, _, rest = name.partition("/")
            if rest:
                parts[part][rest] = array
        rows = parts.pop("rows")
        files = {p: {n: a.tobytes() for n, a in own.items()} for p, own in parts.items()}
        if files["reference"] != self._reference.files:
            raise InputError(
                "The stream was begun with another model than the one given, or one of them has "
                "forgotten a user and the other not. Give that model, or begin anew with another state."
            )
        self._served, self._candidate = (
            _Scored(f) if f else None for f in (files["served"], files["candidate"])
        )
        self._rows = [rows] if rows else []
        self._frozen = int(state["frozen"])
        if self._first and self._served is not None:
            self._put(self._served.files)  # the folder is another than before, or was lost

    def _put(self, files: Mapping[str, bytes]) -> None:
        if self.folder is None:
            return
        if self._master is not None:
            seal(files, self.folder, self._master)
            return
        with folder_written_whole(self.folder) as partial:
            for name, data in files.items():
                (partial / name).write_bytes(data)


class _Scored:
    """A model as it is stored, rounded by its encodings, that scores raw columns."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        artifact = read_artifact(files.__getitem__)
        self.files, self.artifact, self.scorer = dict(files), artifact, Scorer(artifact)
        self.scorer.warm_up()  # else how many requests there were decides who computes

    def __call__(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        return self.scorer.logits(encode_frame(self.artifact.encoder, frame))


def _joined(rows: list[Arrays]) -> Arrays:
    return {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}


def files_of(artifact: Artifact) -> dict[str, bytes]:
    """Return the files that an artefact is stored as, by name."""
    from recprune import __version__

    with tempfile.TemporaryDirectory() as folder:
        write_artifact(Path(folder), artifact, __version__)
        return {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir())}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
