"""Do chances still mean what they meant?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.streaming.watching.alarms import BLOCK, Alarm, Bells, State, Watching

__all__ = ["CalibrationDrift"]

Floats = NDArray[np.float64]

#: Bands of logits: each held a quarter of the first window.
BANDS = 4
#: Log-odds that a band may be off without an alarm, and how far off the tests think it then is.
HARMLESS = 0.1
HARMFUL = (0.2, 0.4, 0.8)
#: The same as factors of the odds, by sign.
SIGNS = np.array([1.0, -1.0])
BASE, SIZES = np.exp(HARMLESS * SIGNS), np.exp(np.outer(SIGNS, HARMFUL))
#: Evidence beyond is not counted.
HUGE = 1e200
#: Logits beyond say no more.
MOST = 15.0


class CalibrationDrift:
    """Sequential tests of whether events are more or less likely than predicted.

    The first window says how far off the model is from the start, in log-odds, in four bands of its
    logits: neither that nor anything between that and being right is a drift. Then each band has
    tests of "at most 0.1 above (below) that" against "0.2, 0.4, 0.8 above (below)": the likelihood
    ratio of an event, p(y | z + 0.2) / p(y | z + 0.1), has a mean of at most 1 as long as the true
    log-odds are at most z + 0.1, whatever the past, since the ratio rises with y. Their CUSUM (Page
    1954, "Continuous Inspection Schemes") is an e-detector: S ← max(S, 1) · ratio, with an alarm at
    S ≥ run length, has an average run length of at least that (Lorden 1971, "Procedures for Reacting
    to a Change in Distribution"; Shin, Ramdas & Rinaldo 2023, "E-detectors"). Means of such S are
    e-detectors too, so the tests of all bands, signs and sizes are one: a single alarm, with one
    bound. It is looked at every 4,096 events.

    The bound holds for whatever drifts stay below 0.1 in each band, not for chance alone; it takes
    the first window's offsets as known (their error is about 0.025 for 50,000 events of which a
    fifth are positive).

    Args:
        options: run length, window, and the memory of the figures.
    """

    def __init__(self, options: Watching) -> None:
        self.options = options
        self.events = 0
        self._bells = Bells(1, options.window)
        self._waiting = np.empty((2, 0), np.float32)
        self._edges = np.zeros(BANDS - 1)
        self._offsets = np.zeros(BANDS)
        self._odds = np.ones((BANDS, 2, len(HARMFUL)))
        #: By band: residuals and variances of late.
        self._late = np.zeros((BANDS, 2))

    def add(self, label: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Alarm]:
        """Take a chunk.

        Args:
            label: 0 or 1, shape ``(n,)``.
            logits: from before the model learned these, shape ``(n,)``.
        """
        head = min(max(self.options.window - self.events, 0), len(label))
        if head:
            pair = np.stack([label[:head], logits[:head]])
            self._waiting = np.concatenate([self._waiting, pair], axis=1)
            self.events += head
            if self.events == self.options.window:
                self._begin()
        usual = self._offsets
        factors = np.exp([np.maximum(usual, 0.0), np.minimum(usual, 0.0), usual])
        alarms: list[Alarm] = []
        at = head
        while at < len(label):
            end = min(len(label), at + BLOCK - self.events % BLOCK)
            _test(label[at:end], logits[at:end], self._edges, factors, self._odds, self._late)
            self.events += end - at
            at = end
            if self.events % BLOCK == 0:
                alarms += self._end_of_block()
        return alarms

    def _begin(self) -> None:
        label, logits = np.clip(self._waiting.astype(np.float64), -MOST, MOST)
        self._edges = np.quantile(logits, np.arange(1, BANDS) / BANDS)
        band = np.searchsorted(self._edges, logits, side="right")
        for b in range(BANDS):
            self._offsets[b] = _offset(label[band == b], logits[band == b])
        self._waiting = np.empty((2, 0), np.float32)

    def _end_of_block(self) -> list[Alarm]:
        event = self.events - 1
        loud = np.array([self._odds.mean() >= self.options.run_length])
        off, usual = self._off(), self._offsets
        beyond = np.maximum(off - np.maximum(usual, 0.0), np.minimum(usual, 0.0) - off)
        self._bells.settle(np.array([beyond.max() < HARMLESS]), event)
        rung = self._bells.ring(loud, event)
        found = [Alarm("calibration", None, event, _named(off)) for _ in rung]
        if not self._bells.armed[0]:
            self._odds[:] = 1
        self._late *= math.exp(-BLOCK / self.options.memory)
        return found

    def _off(self) -> Floats:
        """Log-odds by which events are likelier than predicted, of late, by band: a Newton step."""
        return np.asarray(self._offsets + self._late[:, 0] / (self._late[:, 1] + 1))

    def figures(self) -> dict[str, float]:
        """Return how far off each band is of late, in log-odds; none within the first window."""
        if self.events <= self.options.window:
            return {}
        return {f"calibration.{name}": off for name, off in _named(self._off()).items()}

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        state: State = {
            "events": np.array(self.events),
            "waiting": self._waiting.copy(),
            "edges": self._edges.copy(),
            "offsets": self._offsets.copy(),
            "odds": self._odds.copy(),
            "late": self._late.copy(),
        }
        return state | {f"bells.{key}": value for key, value in self._bells.state().items()}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.events = int(state["events"])
        self._waiting, self._late = state["waiting"].copy(), state["late"].copy()
        self._edges, self._offsets = state["edges"].copy(), state["offsets"].copy()
        self._odds = state["odds"].copy()
        self._bells.restore({"armed": state["bells.armed"], "rang": state["bells.rang"]})


def _offset(label: Floats, logits: Floats) -> float:
    """Return what to add to logits so that the chances' mean is the labels'; 0 for no events."""
    offset = 0.0
    if 0 < label.sum() < len(label):
        for _ in range(20):
            chance = 1 / (1 + np.exp(-logits - offset))
            step = (label - chance).sum() / max((chance * (1 - chance)).sum(), 1e-9)
            offset += min(max(float(step), -1.0), 1.0)
    return offset


def _named(off: Floats) -> dict[str, float]:
    return {f"band_{b}": float(value) for b, value in enumerate(off)}


@compiled
def _test(
    label: NDArray[np.float32],
    logits: NDArray[np.float32],
    edges: Floats,
    factors: Floats,
    odds: Floats,
    late: Floats,
) -> None:
    for i in range(len(label)):
        z = min(max(np.float64(logits[i]), -MOST), MOST)
        band = 0
        for edge in edges:
            if z >= edge:
                band += 1
        y = label[i] > 0.5
        plain = np.exp(z)
        usual = plain * factors[2, band]
        chance = usual / (1 + usual)
        late[band, 0] += y - chance
        # The mean slope between what is usual and being right: what is off mostly lies between.
        late[band, 1] += (chance * (1 - chance) + plain / (1 + plain) ** 2) / 2
        for sign in range(2):
            base, grown = BASE[sign], plain * factors[sign, band]
            for k in range(SIZES.shape[1]):
                size = SIZES[sign, k]
                ratio = (1 + base * grown) / (1 + size * grown) * (size / base if y else 1.0)
                odds[band, sign, k] = min(max(odds[band, sign, k], 1.0) * ratio, HUGE)
