"""All that is watched, as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.streaming.hashes import hashes
from recprune.streaming.watching.alarms import Alarm, State, Watching, under
from recprune.streaming.watching.calibration import CalibrationDrift
from recprune.streaming.watching.importance import Encoded, RollingImportance, Score
from recprune.streaming.watching.inputs import InputDrift
from recprune.streaming.watching.prequential import Prequential
from recprune.streaming.watching.shadows import Shadows

__all__ = ["Watch"]


class Watch:
    """Watch a model that learns from a stream: its figures, and alarms of four kinds.

    See :class:`~recprune.streaming.watching.prequential.Prequential`,
    :class:`~recprune.streaming.watching.inputs.InputDrift`,
    :class:`~recprune.streaming.watching.calibration.CalibrationDrift`,
    :class:`~recprune.streaming.watching.importance.RollingImportance` and
    :class:`~recprune.streaming.watching.shadows.Shadows`.

    All but NDCG and the importances are functions of the events alone, not of where chunks end.

    Args:
        fields: columns that the model reads, in the order of its schema.
        dropped: columns of the events that it does not read.
        options: how closely to watch.
        dated: fields that are parts of dates: they move as time does, which is no drift of inputs.

    Raises:
        ParameterError: a column is in both.

    >>> watch = Watch(["age"], ["coupon"])
    >>> frame = pl.DataFrame({"age": ["5", "6"], "coupon": ["x", None]})
    >>> watch.add(frame, np.array([0, 1], np.float32), np.array([-1, 1], np.float32))
    []
    >>> watch.figures()["log_loss"]
    0.3132...
    """

    def __init__(
        self,
        fields: Sequence[str],
        dropped: Sequence[str],
        options: Watching | None = None,
        dated: Collection[str] = (),
    ) -> None:
        twice = sorted(set(fields) & set(dropped))
        if twice:
            raise ParameterError.of(
                "dropped", "Watch", "columns that the model does not read", twice
            )
        self.options = options or Watching()
        self.prequential = Prequential(self.options.memory)
        self.inputs = InputDrift([f for f in fields if f not in dated], self.options.window)
        self.calibration = CalibrationDrift(self.options)
        self.importance = RollingImportance(fields, self.options)
        self.shadows = Shadows(dropped, self.options)

    def add(
        self,
        frame: pl.DataFrame,
        label: NDArray[np.float32],
        logits: NDArray[np.float32],
        encoded: Encoded | None = None,
        score: Score | None = None,
        groups: pl.Series | NDArray[np.uint64] | None = None,
    ) -> list[Alarm]:
        """Take a chunk of events that were scored before they were learned.

        Args:
            frame: their columns, shape ``(n, …)``.
            label: 0 or 1, shape ``(n,)``.
            logits: finite, shape ``(n,)``.
            encoded: the same events as ``score`` takes them; None = no importance of this chunk.
            score: returns logits of encoded events, without learning.
            groups: each event's user, texts or numbers, shape ``(n,)``; None = no NDCG.

        Returns:
            the alarms that were raised, in the order of their events.

        Raises:
            ParameterError: lengths differ, a label is not 0 or 1, or a logit is not finite.
        """
        n = len(frame)
        for name, array in (("label", label), ("logits", logits)):
            if array.shape != (n,):
                raise ParameterError.of(name, "Watch.add", f"of shape ({n},)", array.shape)
        if not np.isfinite(logits).all():
            raise ParameterError.of("logits", "Watch.add", "finite numbers", "NaN or infinity")
        if not ((label == 0) | (label == 1)).all():
            raise ParameterError.of("label", "Watch.add", "an array of 0 and 1", "another value")
        y, z = label.astype(np.float32, copy=False), logits.astype(np.float32, copy=False)
        self.prequential.add(y, z, _numbers(groups))
        alarms = [
            *self.inputs.add(frame),
            *self.calibration.add(y, z),
            *self.importance.add(y, encoded, score),
            *self.shadows.add(frame, y, z),
        ]
        return sorted(alarms, key=lambda alarm: alarm.event)

    def figures(self) -> dict[str, float]:
        """Return what is known now, by name: what the parts' ``figures()`` return."""
        return {
            name: value for part in self._parts().values() for name, value in part.figures().items()
        }

    def state(self) -> State:
        """Return everything as arrays, by name; to be stored without pickle."""
        return {
            f"{name}.{key}": array
            for name, part in self._parts().items()
            for key, array in part.state().items()
        }

    def restore(self, state: State) -> None:
        """Go on from a state of a watch of the same columns and options."""
        for name, part in self._parts().items():
            part.restore(under(name, state))

    def _parts(
        self,
    ) -> dict[str, Prequential | InputDrift | CalibrationDrift | RollingImportance | Shadows]:
        return {
            "prequential": self.prequential,
            "inputs": self.inputs,
            "calibration": self.calibration,
            "importance": self.importance,
            "shadows": self.shadows,
        }


def _numbers(groups: pl.Series | NDArray[np.uint64] | None) -> NDArray[np.uint64] | None:
    if groups is None:
        return None
    if isinstance(groups, pl.Series) and groups.dtype == pl.String:
        return hashes(groups)
    return np.asarray(groups).astype(np.uint64)
