"""A metric's value with its interval: how far it may be off, as users (or rows) are a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.evaluation.bootstrap import Clusters, PairedAuc
from recprune.evaluation.delong import delong_error
from recprune.evaluation.intervals import effective_freedom, t_quantile

__all__ = ["Estimate", "auc_interval", "mean_interval"]

Array = NDArray[Any]
Interval = tuple[float, float]

#: Of the two-sided interval.
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """One metric of one model.

    Args:
        value: the metric.
        interval: its two-sided 95 % interval; None where there is none in closed form, or too few
            users to tell.
        of: what ``count`` and ``skipped`` count: ``"rows"`` or ``"users"``.
        count: how many the value is of.
        skipped: how many have no value, and are left out.
    """

    value: float
    interval: Interval | None
    of: str
    count: int
    skipped: int = 0

    def __str__(self) -> str:
        shown = f"{self.value:.4f}" if np.isfinite(self.value) else "none"
        bounds = "" if self.interval is None else "{:.4f} to {:.4f}".format(*self.interval)
        left_out = f", {self.skipped:,} skipped" if self.skipped else ""
        return f"{shown:>8}  {bounds:<18}  {self.count:,} {self.of}{left_out}"


def mean_interval(values: Array, weights: Array, clusters: Array) -> Interval | None:
    """Return the 95 % interval of a weighted mean Σ w v ÷ Σ w, with rows clustered by user.

    The mean moves by w (v − mean) ÷ Σ w with each row; these are summed within a user, and the
    variance is G ÷ (G − 1) times the sum of their squares over G users (the linearised ratio
    estimator: Cochran 1977, "Sampling Techniques", section 6; Liang & Zeger 1986). With one row a
    user and equal weights it is the usual interval of a mean, ± t · sd ÷ √G. t is Student's quantile
    with Satterthwaite's degrees of freedom of the users.

    Args:
        values: shape ``(n_rows,)``; those of weight 0 are not looked at.
        weights: ≥ 0, shape ``(n_rows,)``.
        clusters: each row's user, shape ``(n_rows,)``.

    Returns:
        Lower and upper bound; None with fewer than two users of a weight above 0, or where a value
        is infinite.

    >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]), np.ones(3), np.arange(3))
    >>> round(low, 2), round(high, 2)  # 2 ± 4.303 · 1 / √3
    (-0.48, 4.48)
    """
    counted = np.asarray(weights) > 0
    if not counted.any():
        return None
    w, v = np.asarray(weights, np.float64)[counted], np.asarray(values, np.float64)[counted]
    if not np.isfinite(v).all():  # a loss may be infinite
        return None
    mean = float(w @ v / w.sum())
    return _interval(mean, w * (v - mean) / w.sum(), np.asarray(clusters)[counted])


def auc_interval(label: Array, score: Array, clusters: Array) -> Interval | None:
    """Return the 95 % interval of an AUC, with rows clustered by user.

    Obuchowski 1997, by :func:`recprune.evaluation.clustered_delong`: a constant score has AUC ½
    and no spread, so that the difference to it has the spread of the other alone. The interval is
    cut at 0 and 1.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        score: shape ``(n_rows,)``.
        clusters: each row's user, shape ``(n_rows,)``.

    Returns:
        Lower and upper bound; None where a class lies in a single user.
    """
    positive, owner = np.asarray(label) == 1, Clusters(len(label), np.asarray(clusters))
    pair = PairedAuc(positive, np.zeros((1, len(score))), np.asarray(score)[None], owner)
    error = delong_error(positive, pair.gain[0], owner)
    if not np.isfinite(error):
        return None
    freedom = effective_freedom(pair.influence[0], owner.code, owner.size)
    reach = t_quantile(0.5 + LEVEL / 2, freedom) * error
    middle = float(pair.observed[0]) + 0.5
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _interval(mean: float, influence: NDArray[np.float64], clusters: Array) -> Interval | None:
    names, code = np.unique(clusters, return_inverse=True)
    size = len(names)
    if size < 2:
        return None
    sums = np.bincount(code, influence, size)
    error = float(np.sqrt(size / (size - 1) * (sums @ sums)))
    reach = t_quantile(0.5 + LEVEL / 2, effective_freedom(influence, code, size)) * error
    return mean - reach, mean + reach
