"""Would a column that the model does not read make it better?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.streaming.hashes import hashes
from recprune.streaming.watching.alarms import BLOCK, Alarm, Bells, State, Watching, under
from recprune.streaming.watching.inputs import as_texts
from recprune.streaming.watching.shadow_kernels import BUCKETS, EXPERTS, correct, foretell

__all__ = ["Shadows", "worth"]

#: The correction by intercept and slope remembers this share of the memory.
FAST = 0.25
#: Places in ``_base``: sums of late of events, variances, corrected logits, their squares.
COUNT, VARIANCE, LOGIT, SQUARE = 5, 6, 7, 8
#: Places in ``_sums``.
ODDS, GAIN, PRODUCT = 3, 4, 5


class Shadows:
    """Statistics of dropped columns, and a sequential test of each: "it does not matter".

    The model's logit z is corrected by an intercept and a slope that are learned as events come, so
    that being too sure, or too low, is nothing that a column could repair. A column's *shadow* adds
    the effect of its value: over the events of late whose values share a bucket (of 1,024, by hash),
    Σ(y − p) against its prior's precision and Σp(1 − p), less what all buckets share. The *gain* of
    an event is ln p_shadow(y) − ln p_corrected(y), each before it learns from y (prequential).

    As long as p_corrected is right, the ratio of both has a mean of 1, whatever the past, and so the
    CUSUM S ← max(S, 1) · ratio · exp(−tolerance), with an alarm at S ≥ run length, raises false
    alarms at most once in so many events on average (an e-detector: Shin, Ramdas & Rinaldo 2023,
    "E-detectors"; CUSUM: Page 1954; its bound: Lorden 1971). Two experts, of short and of long
    memory, share a test: the mean of their S. It is looked at every 4,096 events.

    The tolerance is the gain in nats of a column that adds ``options.auc`` to the AUC
    (:func:`worth`), of late. For a column whose true gain is g, the ratio's mean is about 1 + 2g:
    so the bound holds up to half the tolerance, beyond the whole of it the alarm is a question of
    time, ln(run length) / (gain − tolerance) events, and between it may come late.

    A number is taken as its text. A column with far more values than buckets is seen but dimly.

    Args:
        columns: that the model does not read.
        options: run length, AUC, memory; and the window, for which a column that raised an alarm
            raises none at least. It does so again only after its gain fell below half the tolerance.
    """

    def __init__(self, columns: Sequence[str], options: Watching) -> None:
        self.columns, self.options = tuple(columns), options
        self.events = 0
        shape = (len(self.columns), len(EXPERTS))
        self._bells = Bells(len(self.columns), options.window)
        self._base = np.array([0.0, 1.0, *[0.0] * 7])
        self._tables = np.zeros((*shape, BUCKETS, 2))
        self._sums = np.zeros((*shape, 6))
        self._sums[..., [ODDS, PRODUCT]] = 1
        self._tolerance = math.inf

    def add(
        self, frame: pl.DataFrame, label: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> list[Alarm]:
        """Take a chunk.

        Args:
            frame: has all columns.
            label: 0 or 1, shape ``(n,)``.
            logits: from before the model learned these, shape ``(n,)``.
        """
        if not self.columns:
            return []
        values = [hashes(as_texts(frame[name])) for name in self.columns]
        alarms: list[Alarm] = []
        at = 0
        while at < len(label):
            end = min(len(label), at + BLOCK - self.events % BLOCK)
            self._foretell(label[at:end], logits[at:end], [column[at:end] for column in values])
            self.events += end - at
            at = end
            if self.events % BLOCK == 0:
                alarms += self._end_of_block()
        return alarms

    def _foretell(
        self,
        label: NDArray[np.float32],
        logits: NDArray[np.float32],
        values: Sequence[NDArray[np.uint64]],
    ) -> None:
        chances = np.empty(len(label))
        correct(label, logits, self._base, math.exp(-1 / (FAST * self.options.memory)), chances)
        price, at = math.exp(-self._tolerance), self.events % BLOCK
        for column, tables, sums in zip(values, self._tables, self._sums, strict=True):
            for (_, precision), table, own in zip(EXPERTS, tables, sums, strict=True):
                foretell(label, chances, column, at, precision, price, table, own)

    def _end_of_block(self) -> list[Alarm]:
        event = self.events - 1
        n = self._base[COUNT]
        mean = self._base[LOGIT] / n
        spread = math.sqrt(max(self._base[SQUARE] / n - mean**2, 0.0))
        self._tolerance = worth(self.options.auc, spread, self._base[VARIANCE] / n)
        gains, odds = self._gain(), self._sums[..., ODDS]
        self._bells.settle(gains < self._tolerance / 2, event)
        rung = self._bells.ring(odds.mean(axis=1) >= self.options.run_length, event)
        odds[~self._bells.armed] = 1
        found = [self._alarm(i, event, float(gains[i])) for i in rung]
        fading = BLOCK / self.options.memory
        self._base[COUNT:] *= math.exp(-fading)
        self._sums[..., GAIN] *= math.exp(-fading)
        self._tables *= np.exp(-fading / EXPERTS[:, 0])[:, None, None]
        # Summed anew, so that rounding never adds up.
        self._sums[..., :2] = self._tables.sum(axis=2)
        return found

    def _alarm(self, column: int, event: int, gain: float) -> Alarm:
        detail = {"gain_nats": gain, "tolerance_nats": self._tolerance}
        return Alarm("shadow", self.columns[column], event, detail)

    def _gain(self) -> NDArray[np.float64]:
        """Return each column's mean gain of late in nats, of its better expert."""
        return np.asarray(self._sums[..., GAIN].max(axis=1) / max(self._base[COUNT], 1.0))

    def figures(self) -> dict[str, float]:
        """Return the tolerance and each column's gain of late, in nats; none at first."""
        if self.events < BLOCK or not self.columns:
            return {}
        pairs = zip(self.columns, self._gain(), strict=True)
        return {"shadow_tolerance": self._tolerance} | {f"shadow.{c}": float(g) for c, g in pairs}

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        state: State = {
            "events": np.array(self.events),
            "base": self._base.copy(),
            "tables": self._tables.copy(),
            "sums": self._sums.copy(),
            "tolerance": np.array(self._tolerance),
        }
        return state | {f"bells.{key}": value for key, value in self._bells.state().items()}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.events, self._tolerance = int(state["events"]), float(state["tolerance"])
        self._base, self._tables = state["base"].copy(), state["tables"].copy()
        self._sums = state["sums"].copy()
        self._bells.restore(under("bells", state))


def worth(auc: float, spread: float, variance: float) -> float:
    """Return the gain in nats an event of what adds so much to a model's AUC.

    In the binormal model an AUC of Φ(d / √2) comes of logits whose standard deviation within a
    class is d (Green & Swets 1966, *Signal Detection Theory*, chapter 3); what is independent of
    them and has a standard deviation of s makes it Φ(√(d² + s²) / √2), and is worth s² · p(1 − p) / 2
    in the log loss, to second order.

    Args:
        auc: to be added.
        spread: d, of calibrated logits.
        variance: mean of p(1 − p).

    Of an AUC of 0.76 and a fifth of positives:

    >>> round(worth(0.002, 1.0, 0.16), 4)
    0.0015
    """
    normal = NormalDist()
    reached = min(normal.cdf(spread / math.sqrt(2)) + auc, 1 - 1e-9)
    further = math.sqrt(2) * normal.inv_cdf(reached)
    return variance / 2 * (further**2 - spread**2)
