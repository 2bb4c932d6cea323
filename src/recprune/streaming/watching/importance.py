"""Does the model still lean on the columns that it leaned on?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.evaluation.delong import clustered_delong
from recprune.metrics import auc
from recprune.streaming.watching.alarms import Alarm, Bells, State, Watching, under

__all__ = ["Encoded", "RollingImportance", "Score"]

#: Rows of a look, and looks that say what is usual.
ROWS, FIRST = 1_000, 5
#: A chunk of fewer events is not looked at: the next one is.
FEWEST = 200
#: Looks over which the means of late fade by e.
MEMORY = 5.0
FALLEN, RISEN = 0, 1


class Encoded(Protocol):
    """Events as the model reads them."""

    def __getitem__(self, index: NDArray[np.int64], /) -> Self:
        """Return some of the events."""

    def shuffled(self, field: str, order: NDArray[np.int64], /) -> Self:
        """Return the events with one field's values taken from other events of theirs."""


Score = Callable[[Any], NDArray[np.float32]]


class RollingImportance:
    """Permutation importance on a sample of the stream: how far AUC falls when a field is shuffled.

    Every ``options.every`` events, 1,000 events of the chunk at hand (of the next one with both
    labels and 200 events, if it is small) are scored, and again with each
    field's values shuffled among them (:func:`recprune.importance.permutation`'s definition, one
    shuffle). DeLong's error of the paired difference comes along. The chunk has just been learned,
    once; all fields and all looks alike.

    The mean of the first five looks is what is usual, m. Each field then has two Gaussian CUSUMs:
    *fallen*, "at least m / 2" against 0, where m is worth noticing (four times ``options.auc``), and
    *risen*, "at most 2m + 2a" against "3m + 4a" (a = ``options.auc``). Their likelihood ratios have
    means of at most 1 while the tested statement holds, so that an alarm at a CUSUM of run length /
    every raises false ones at most once in a run length (as in
    :class:`~recprune.streaming.watching.shadows.Shadows`); this takes the differences as normal and
    m as known.

    Args:
        fields: that the model reads.
        options: run length, every, AUC and seed.
    """

    def __init__(self, fields: Sequence[str], options: Watching) -> None:
        self.fields, self.options = tuple(fields), options
        n = len(self.fields)
        self.events, self.looks = 0, 0
        #: From which event on the next chunk is looked at.
        self._due = options.every
        self._bells = Bells(2 * n, options.every)
        self._usual = np.zeros(n)
        #: Weighted sums of late: of weights, falls, and falls' variances.
        self._late = np.zeros((3, n))
        self._odds = np.ones((2, n))

    def add(
        self, label: NDArray[np.float32], encoded: Encoded | None, score: Score | None
    ) -> list[Alarm]:
        """Take a chunk; look at it if it is time.

        Args:
            label: 0 or 1, shape ``(n,)``.
            encoded: the chunk as ``score`` takes it; None = this chunk cannot be looked at.
            score: returns logits without learning, shape ``(n,)``.
        """
        self.events += len(label)
        if encoded is None or score is None or self.events < self._due or len(label) < FEWEST:
            return []
        number = self.looks + 1
        draws = stream(self.options.seed, "rolling importance", number)
        chosen = np.sort(draws.permutation(len(label))[:ROWS])
        sample, truth = encoded[chosen], label[chosen]
        if not 0 < truth.sum() < len(truth):
            return []
        self._due = (self.events // self.options.every + 1) * self.options.every
        base = score(sample)
        falls, errors = np.empty(len(self.fields)), np.empty(len(self.fields))
        for i, field in enumerate(self.fields):
            order = stream(self.options.seed, "shuffle", field, number).permutation(len(chosen))
            shuffled = score(sample.shuffled(field, order))
            falls[i] = auc(truth, base) - auc(truth, shuffled)
            errors[i] = clustered_delong(truth, shuffled, base)[1]
        return self._look(falls, np.maximum(np.nan_to_num(errors), 1 / len(chosen)))

    def _look(self, falls: NDArray[np.float64], errors: NDArray[np.float64]) -> list[Alarm]:
        self.looks += 1
        self._late = self._late * math.exp(-1 / MEMORY) + [np.ones_like(falls), falls, errors**2]
        if self.looks <= FIRST:
            self._usual += falls / FIRST
            return []
        least, usual = self.options.auc, np.maximum(self._usual, 0.0)
        self._odds = np.maximum(self._odds, 1.0) * np.stack(
            [
                _ratio(falls, errors, usual / 2, np.zeros_like(usual)),
                _ratio(falls, errors, 2 * usual + 2 * least, 3 * usual + 4 * least),
            ]
        )
        # What hardly mattered cannot fall.
        self._odds[FALLEN, usual < 4 * least] = 1
        event, late = self.events - 1, self._late[1] / self._late[0]
        calm = np.stack([late > 0.75 * usual, late < 1.5 * usual + least]).ravel()
        self._bells.settle(calm, event)
        limit = max(self.options.run_length / self.options.every, 1.0)
        rung = self._bells.ring((self._odds >= limit).ravel(), event)
        self._odds[~self._bells.armed.reshape(2, -1)] = 1
        return [self._alarm(*divmod(int(i), len(self.fields)), event, late) for i in rung]

    def _alarm(self, way: int, field: int, event: int, late: NDArray[np.float64]) -> Alarm:
        detail = {"auc_fall": float(late[field]), "usual": float(self._usual[field])}
        return Alarm("importance", self.fields[field], event, detail)

    def figures(self) -> dict[str, float]:
        """Return each field's mean fall of AUC of late and its error; none before the first look."""
        if not self.looks:
            return {}
        found: dict[str, float] = {}
        # Weights of looks that fade: the sum of their squares, for the error of the mean.
        weights = np.exp(-np.arange(min(self.looks, 200)) / MEMORY)
        shrunk = math.sqrt((weights**2).sum()) / weights.sum()
        for i, name in enumerate(self.fields):
            found[f"importance.{name}"] = float(self._late[1, i] / self._late[0, i])
            error = math.sqrt(self._late[2, i] / self._late[0, i]) * shrunk
            found[f"importance_error.{name}"] = error
        return found

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        state: State = {
            "events": np.array(self.events),
            "looks": np.array(self.looks),
            "due": np.array(self._due),
            "usual": self._usual.copy(),
            "late": self._late.copy(),
            "odds": self._odds.copy(),
        }
        return state | {f"bells.{key}": value for key, value in self._bells.state().items()}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.events, self.looks = int(state["events"]), int(state["looks"])
        self._due = int(state["due"])
        self._usual, self._late = state["usual"].copy(), state["late"].copy()
        self._odds = state["odds"].copy()
        self._bells.restore(under("bells", state))


def _ratio(
    x: NDArray[np.float64],
    error: NDArray[np.float64],
    null: NDArray[np.float64],
    other: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the likelihood ratio of a normal mean of ``other`` to one of ``null``."""
    exponent = (other - null) / error**2 * (x - (null + other) / 2)
    return np.exp(np.clip(exponent, -50.0, 50.0))
