"""The difference of two models on the same rows, and its interval, for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError, nearest
from recprune.evaluation.bootstrap import (
    Clusters,
    Paired,
    PairedAuc,
    PairedMean,
    resampled_differences,
)
from recprune.evaluation.delong import delong_error
from recprune.evaluation.intervals import Interval, effective_freedom
from recprune.executor import Executor

__all__ = ["Metric", "Rows", "cross_check", "intervals"]

Metric = Literal["accuracy", "auc", "logloss"]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled rows with the scores of one or several pairs of models.

    Args:
        label: bool, shape ``(n_rows,)``.
        full, pruned: scores, shape ``(n_pairs, n_rows)``; a pair is of one seed.
        users, items: of each row, or None.
        metric: what the scores are compared by.
    """

    label: NDArray[np.bool_]
    full: NDArray[Any]
    pruned: NDArray[Any]
    users: NDArray[Any] | None
    items: NDArray[Any] | None
    metric: Metric

    @classmethod
    def checked(
        cls,
        label: NDArray[Any],
        full: NDArray[Any],
        pruned: NDArray[Any],
        users: NDArray[Any] | None = None,
        items: NDArray[Any] | None = None,
        metric: Metric = "auc",
    ) -> Rows:
        """Check the metric, shapes, labels and scores.

        Raises:
            ParameterError: see :func:`recprune.evaluation.verdict`.
        """
        known = get_args(Metric)
        if metric not in known:
            raise ParameterError(f"There is no verdict by {metric!r}.{nearest(str(metric), known)}")
        y = np.asarray(label)
        if y.ndim != 1 or not ((y == 0) | (y == 1)).all():
            raise ParameterError.of("label", "verdict", "a one-axis array of 0 and 1", y.shape)
        positive: NDArray[np.bool_] = y == 1
        if not positive.any() or positive.all():
            raise ParameterError(
                f"The labels of verdict must be of both classes. Got {len(y)} rows of one. "
                "Give it more rows."
            )
        scores = []
        for name, value in (("full", full), ("pruned", pruned)):
            array = np.asarray(value)
            shape = array.shape
            if shape != y.shape and (len(shape) != 2 or shape[0] < 2 or shape[1:] != y.shape):
                wanted = f"of shape {y.shape}, as the labels, or (two seeds or more, {len(y)})"
                raise ParameterError.of(name, "verdict", wanted, shape)
            if not np.isfinite(array).all():
                raise ParameterError(
                    f"The {name!r} scores of verdict hold values that are not finite."
                )
            scores.append(np.atleast_2d(array))
        if np.shape(full) != np.shape(pruned):
            raise ParameterError.of(
                "pruned", "verdict", f"of shape {np.shape(full)}, as full", np.shape(pruned)
            )
        owners: list[NDArray[Any] | None] = []
        for name, owner in (("users", users), ("items", items)):
            if owner is not None and np.shape(owner) != y.shape:
                raise ParameterError.of(
                    name, "verdict", f"of shape {y.shape}, as the labels", np.shape(owner)
                )
            owners.append(None if owner is None else np.asarray(owner))
        return cls(positive, scores[0], scores[1], owners[0], owners[1], metric)

    @property
    def rarer(self) -> int:
        """Rows of the rarer class."""
        ones = int(np.count_nonzero(self.label))
        return min(ones, len(self.label) - ones)

    @cached_property
    def by_user(self) -> Clusters:
        """Users, or rows where there are none."""
        return Clusters(len(self.label), self.users)

    @cached_property
    def by_item(self) -> Clusters:
        """Items, or rows where there are none."""
        return Clusters(len(self.label), self.items)

    @cached_property
    def pair(self) -> Paired:
        """What differs between the models."""
        if self.metric == "auc":
            return PairedAuc(self.label, self.full, self.pruned, self.by_user)
        return PairedMean(_gain(self), self.by_user)


def intervals(
    rows: Rows, draws: int, seed: int, executor: Executor | None = None
) -> dict[str, Interval]:
    """Return the interval of each method that applies to these rows, by its name.

    Of one pair the variance is that of its resampled differences. Of several, one a seed, it is
    that of crossed random effects, as of readers who see the same cases (Obuchowski & Rockette 1995,
    "Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests"): the
    covariance of two seeds' differences, which share their rows, and the seeds' variance over
    their number. The degrees of freedom are Satterthwaite's of the parts; the seeds' are
    n_seeds − 1 (Hillis 2007, "A comparison of denominator degrees of freedom methods for multiple
    observer ROC analysis").

    Where items repeat, what they add to the variance is the variance clustered by item less that
    clustered by user and item (Cameron, Gelbach & Miller 2011, "Robust inference with multiway
    clustering"; Owen 2007, "The pigeonhole bootstrap"), in closed form. Never less than
    nothing, so that the wider interval decides.
    """
    pair, users, items = rows.pair, rows.by_user, rows.by_item
    by, both = ("row", "rows and items") if rows.users is None else ("user", "users and items")
    if users.size < 2:  # one user: nothing is known of how users differ
        return {f"{by} bootstrap": Interval(float(pair.observed.mean()), math.inf, 0.0, 1.0)}
    resampled = resampled_differences(pair, users, draws, seed, executor)
    centred = resampled - resampled.mean(axis=0)
    variance = _shared(centred) / (draws - 1) / (1 - _concentration(users))
    influence = pair.influence.mean(axis=0)
    # The draws are a sample too: their own freedom joins that of the users.
    parts = [
        (variance, effective_freedom(influence, users.code, users.size)),
        (variance, draws - 1.0),
    ]
    out = {f"{by} bootstrap": _interval(pair, variance, parts)}
    if 1 < items.size < len(rows.label):
        by_item = _clustered(pair, items) / (1 - _concentration(items))
        cells = Clusters(len(rows.label), users.code * items.size + items.code)
        added = max(by_item - _clustered(pair, cells), 0.0)
        parts.append((by_item, effective_freedom(influence, items.code, items.size)))
        out[both] = _interval(pair, variance + added, parts)
    return out


def cross_check(rows: Rows) -> dict[str, Any]:
    """Return difference and standard error in closed form, clustered by user; of several pairs
    each one's difference.
    """
    pair, users = rows.pair, rows.by_user
    first = float(pair.observed[0])
    if len(pair.observed) > 1:
        sd = float(pair.observed.std(ddof=1))
        return {"differences": pair.observed.tolist(), "seed_sd": sd}
    if isinstance(pair, PairedAuc):
        error = delong_error(rows.label, pair.gain[0], users)
        return {"delong_difference": first, "delong_se": error}
    error = math.sqrt(users.size / max(users.size - 1, 1) * _clustered(pair, users))
    return {"clustered_difference": first, "clustered_se": error}


def _interval(pair: Paired, variance: float, parts: Sequence[tuple[float, float]]) -> Interval:
    """Return the interval with this variance over rows, and that of the seeds.

    Args:
        pair: the differences.
        variance: of sampling rows.
        parts: variances that it is made of, with the degrees of freedom of each.
    """
    n = len(pair.observed)
    seeds = float(pair.observed.var(ddof=1)) / n if n > 1 else 0.0
    if n > 1:
        parts = [*parts, (seeds, n - 1.0)]
    spread = sum(part**2 / freedom for part, freedom in parts)
    total = variance + seeds
    freedom = max(1.0, total**2 / spread) if spread else math.inf
    return Interval(float(pair.observed.mean()), variance, seeds, freedom)


def _shared(sums: Array) -> float:
    """Return the sum over columns' entries of their product, mean over pairs of columns.

    Args:
        sums: shape ``(n, n_pairs)``; with one column, the sum of its squares.
    """
    n: int = sums.shape[1]
    squares = float(np.einsum("ij,ij->", sums, sums))
    if n == 1:
        return squares
    total = sums.sum(axis=1)
    crossed = float(np.einsum("i,i->", total, total)) - squares
    return max(crossed, 0.0) / (n * (n - 1))


def _clustered(pair: Paired, clusters: Clusters) -> float:
    """Return the variance in closed form: the squares of the clusters' influences."""
    sums = [np.bincount(clusters.code, each, clusters.size) for each in pair.influence]
    return _shared(np.stack(sums, axis=1))


def _concentration(clusters: Clusters) -> float:
    """Return the sum of the squared shares of the rows, 1 / clusters if they are alike.

    The mean that is subtracted is the clusters' own: a variance is understated by this share.
    """
    share = np.bincount(clusters.code, minlength=clusters.size) / len(clusters.code)
    return float(np.einsum("i,i->", share, share))


def _gain(rows: Rows) -> Array:
    """Return by how much the pruned models do better on each row, shape ``(n_pairs, n_rows)``."""
    full, pruned = rows.full.astype(np.float64), rows.pruned.astype(np.float64)
    if rows.metric == "accuracy":
        right = [(each >= 0) == rows.label for each in (full, pruned)]
        gain: Array = right[1].astype(np.float64) - right[0]
        return gain
    side = np.where(rows.label, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, side * full) - np.logaddexp(0, side * pruned))
