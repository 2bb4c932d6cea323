"""How good an estimator's answers are, and whether others are as good on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.evaluation.bootstrap import Clusters
from recprune.evaluation.delong import clustered_delong
from recprune.metrics import auc

__all__ = ["Judge", "Target", "answers", "target_of"]

Array = NDArray[np.float64]
#: What the rows' answers are compared to: one of two classes, one of several, or a number.
Target = Literal["binary", "classes", "number"]


def target_of(y: NDArray[Any], classifier: bool) -> Target:
    """Return what a column of targets is for an estimator of this kind."""
    if not classifier:
        return "number"
    return "binary" if len(np.unique(y)) <= 2 else "classes"


def answers(estimator: Any, x: Any, target: Target) -> NDArray[Any]:
    """Return what a fitted estimator says of each row, shape ``(n_rows,)``.

    A score that ranks the rows by the second of two classes, the class where there are several, a
    number in a regression.
    """
    if target == "binary" and hasattr(estimator, "predict_proba"):
        chance: Array = np.asarray(estimator.predict_proba(x), np.float64)
        return chance[:, -1]
    if target == "binary" and hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(x), np.float64).ravel()
    told = np.asarray(estimator.predict(x)).ravel()
    return told if target != "binary" else (told == estimator.classes_[-1]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Judge:
    """Rows with their truth.

    Quality is the AUC of two classes, the share of rows that are right of several, and in a
    regression R², 1 − Σ(y − answer)² / Σ(y − mean)².

    Args:
        y: 0 or 1 with two classes, else classes or numbers, shape ``(n_rows,)``.
        target: which of them.
        weight: how much each row counts, shape ``(n_rows,)``; None = alike.
        groups: which rows hang together, shape ``(n_rows,)``; None = every row by itself.
    """

    y: NDArray[Any]
    target: Target
    weight: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None

    def take(self, rows: NDArray[Any]) -> Judge:
        """Return some of the rows."""
        weight, groups = (None if a is None else a[rows] for a in (self.weight, self.groups))
        return Judge(self.y[rows], self.target, weight, groups)

    def quality(self, answer: NDArray[Any]) -> float:
        """Return how good the answers are; higher is better."""
        if self.target == "binary":
            return auc(self.y, answer, self.weight) if 0 < self._ones < len(self.y) else 0.5
        return float(np.average(self._gain(answer), weights=self.weight))

    def difference(self, first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float]:
        """Return quality(second) − quality(first) and its standard error, NaN where none is known.

        The error of the AUC is DeLong's (:func:`recprune.evaluation.clustered_delong`); of the others
        the root of the summed squares of what each group adds to the difference, by n / (n − 1) of
        n groups.
        """
        if self.target == "binary":
            if not 0 < self._ones < len(self.y):
                return 0.0, float("nan")
            return clustered_delong(self.y, first, second, self.groups, self.weight)
        weight = np.ones(len(self.y)) if self.weight is None else self.weight.astype(np.float64)
        gain = self._gain(second) - self._gain(first)
        d = float(np.average(gain, weights=weight))
        owner = Clusters(len(self.y), self.groups)
        if owner.size < 2:
            return d, float("nan")
        part = np.bincount(owner.code, weight * (gain - d) / weight.sum(), owner.size)
        return d, float(np.sqrt(part @ part * owner.size / (owner.size - 1)))

    @property
    def _ones(self) -> int:
        return int(np.count_nonzero(self.y == 1))

    def _gain(self, answer: NDArray[Any]) -> Array:
        """Return what each row adds to the quality, as a mean over rows."""
        if self.target == "classes":
            return np.asarray(answer == self.y, np.float64)
        spread = np.average(
            (self.y - np.average(self.y, weights=self.weight)) ** 2, weights=self.weight
        )
        gain: Array = 1 - (self.y - answer.astype(np.float64)) ** 2 / (spread or 1.0)
        return gain
