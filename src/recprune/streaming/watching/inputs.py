"""Have the columns' values moved?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.metrics import population_stability
from recprune.streaming.hashes import MISSING, hashes
from recprune.streaming.watching.alarms import Alarm, Bells, State, under

__all__ = ["InputDrift", "as_texts"]

#: Parts: of a text's hash, or of a number's range; one more for missing values.
PARTS = 64
#: One event of so many is looked at.
SHARE = 8
#: "Much has moved" (Siddiqi 2006); and what counts as calm again.
MUCH, LITTLE = 0.25, 0.1

Counts = NDArray[np.int64]


class InputDrift:
    """Population stability of each column: the last window against the first.

    Every eighth event is counted. A text falls into one of 64 parts by its hash, so that new ids,
    scattered over all, are no drift by themselves; a number into one of 64 that hold as many of the
    first window's values each; missing is a part of its own. An index of much (0.25 and what chance
    adds) raises an alarm, once until it is little again (0.1 and that).

    Of n values a window with nothing moved, PSI · n / 2 is close to χ² of 64 degrees; what chance
    adds is taken as six standard deviations above its mean, so that events drawn independently
    practically never raise an alarm (for 50,000 events, n = 6,250, the limit is 0.29, 70 standard
    deviations away). What can is a wave in windows that are shorter than it: hours of the day.

    Args:
        columns: to look at; one that the events do not have, such as a part of a date, is left out.
        window: events.
    """

    def __init__(self, columns: Sequence[str], window: int) -> None:
        self.columns, self.window = tuple(columns), window
        self.events = 0
        self._bells = Bells(len(self.columns), window)
        self._reference: Counts = np.zeros((len(self.columns), PARTS + 1), np.int64)
        self._counts: Counts = np.zeros_like(self._reference)
        self._edges: dict[str, NDArray[np.float64]] = {}
        self._waiting: dict[str, list[NDArray[np.float64]]] = {}
        self._indices = np.zeros(len(self.columns))

    def add(self, frame: pl.DataFrame) -> list[Alarm]:
        """Take a chunk: texts, numbers, truth values, or lists of them.

        Args:
            frame: the events, each chunk with the same columns.
        """
        alarms: list[Alarm] = []
        at = 0
        while at < len(frame):
            most = self.window - self.events % self.window
            piece = frame[at : at + most]
            self._count(piece, slice(-self.events % SHARE, None, SHARE))
            at += len(piece)
            self.events += len(piece)
            if self.events % self.window == 0:
                alarms += self._look()
        return alarms

    def _count(self, frame: pl.DataFrame, part: slice) -> None:
        for i, name in enumerate(self.columns):
            if name not in frame.columns:
                continue
            column = frame[name]
            if not column.dtype.is_numeric():
                hashed = hashes(as_texts(column), part=part)
                place = (hashed >> np.uint64(58)).astype(np.int64)
                place[hashed == MISSING] = PARTS
                self._counts[i] += np.bincount(place, minlength=PARTS + 1)
                continue
            values = column.cast(pl.Float64).to_numpy()[part]
            if name in self._edges:
                self._counts[i] += _parts(values, self._edges[name])
            else:
                self._waiting.setdefault(name, []).append(values)

    def _look(self) -> list[Alarm]:
        for name, values in self._waiting.items():
            joined = np.concatenate(values)
            known = joined[~np.isnan(joined)]
            shares = np.arange(1, PARTS) / PARTS
            self._edges[name] = np.quantile(known, shares) if len(known) else np.zeros(PARTS - 1)
            self._counts[self.columns.index(name)] = _parts(joined, self._edges[name])
        self._waiting = {}
        if self.events == self.window:
            self._reference = self._counts
        else:
            for i in np.flatnonzero(self._reference.any(axis=1)):
                self._indices[i] = population_stability(self._counts[i], self._reference[i])
        self._counts = np.zeros_like(self._counts)
        event = self.events - 1
        chance = 2 / (self.window // SHARE) * (PARTS + 6 * math.sqrt(2 * PARTS))
        self._bells.settle(self._indices < LITTLE + chance, event)
        rung = self._bells.ring(self._indices >= MUCH + chance, event)
        return [
            Alarm("input", self.columns[i], event, {"psi": float(self._indices[i])}) for i in rung
        ]

    def figures(self) -> dict[str, float]:
        """Return each column's index in the last whole window; none before the second."""
        if self.events < 2 * self.window:
            return {}
        there = np.flatnonzero(self._reference.any(axis=1))
        return {f"psi.{self.columns[i]}": float(self._indices[i]) for i in there}

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        state: State = {
            "events": np.array(self.events),
            "reference": self._reference.copy(),
            "counts": self._counts.copy(),
            "indices": self._indices.copy(),
        }
        state |= {f"bells.{key}": value for key, value in self._bells.state().items()}
        state |= {f"edges.{name}": edges.copy() for name, edges in self._edges.items()}
        return state | {f"waiting.{k}": np.concatenate(v) for k, v in self._waiting.items()}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.events = int(state["events"])
        self._reference, self._counts = state["reference"].copy(), state["counts"].copy()
        self._indices = state["indices"].copy()
        self._bells.restore(under("bells", state))
        self._edges = dict(under("edges", state))
        self._waiting = {name: [values] for name, values in under("waiting", state).items()}


def as_texts(column: pl.Series) -> pl.Series:
    """Return a column as texts: numbers and truth values as they are written, lists joined."""
    if isinstance(column.dtype, pl.List | pl.Array):
        return column.cast(pl.List(pl.String)).list.join("\x1f")
    return column if column.dtype == pl.String else column.cast(pl.String)


def _parts(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Counts:
    place = np.where(np.isnan(values), PARTS, np.searchsorted(edges, values, side="right"))
    return np.bincount(place, minlength=PARTS + 1)
