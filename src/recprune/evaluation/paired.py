"""The difference of two models on the same rows, and its interval, for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import (
    Clusters,
    Paired,
    PairedAuc,
    PairedMean,
    resampled_differences,
)
from recprune.evaluation.delong import clustered_delong, influences
from recprune.evaluation.intervals import effective_freedom, t_quantile

__all__ = ["Interval", "Metric", "Rows", "cross_check", "intervals"]

Metric = Literal["accuracy", "auc", "logloss"]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled rows with two models' scores.

    Args:
        label: bool, shape ``(n_rows,)``.
        full, pruned: scores, shape ``(n_rows,)``.
        users, items: of each row, or None.
    """

    label: NDArray[np.bool_]
    full: NDArray[Any]
    pruned: NDArray[Any]
    users: NDArray[Any] | None
    items: NDArray[Any] | None

    @classmethod
    def checked(
        cls,
        label: NDArray[Any],
        full: NDArray[Any],
        pruned: NDArray[Any],
        users: NDArray[Any] | None,
        items: NDArray[Any] | None,
    ) -> Rows:
        """Check lengths, labels and scores.

        Raises:
            ParameterError: see :func:`recprune.evaluation.verdict`.
        """
        y = np.asarray(label)
        if y.ndim != 1 or not ((y == 0) | (y == 1)).all():
            raise ParameterError.of("label", "verdict", "a one-axis array of 0 and 1", y.shape)
        positive: NDArray[np.bool_] = y == 1
        if not positive.any() or positive.all():
            raise ParameterError(
                f"The labels of verdict must be of both classes. Got {len(y)} rows of one. "
                "Give it more rows."
            )
        for name, value in (("full", full), ("pruned", pruned), ("users", users), ("items", items)):
            if value is None:
                continue
            if np.shape(value) != y.shape:
                raise ParameterError.of(
                    name, "verdict", f"of shape {y.shape}, as the labels", np.shape(value)
                )
            if name in ("full", "pruned") and not np.isfinite(value).all():
                raise ParameterError(
                    f"The {name!r} scores of verdict hold values that are not finite."
                )
        owner, thing = (None if each is None else np.asarray(each) for each in (users, items))
        return cls(positive, np.asarray(full), np.asarray(pruned), owner, thing)

    @property
    def rarer(self) -> int:
        """Rows of the rarer class."""
        ones = int(np.count_nonzero(self.label))
        return min(ones, len(self.label) - ones)

    @property
    def clusters(self) -> int:
        """Users, or rows where there are none."""
        return len(self.label) if self.users is None else len(np.unique(self.users))


@dataclass(frozen=True)
class Interval:
    """A difference, its standard error, and its two one-sided 95 % bounds."""

    difference: float
    error: float
    bounds: tuple[float, float]

    @property
    def width(self) -> float:
        """Upper bound − lower bound."""
        return self.bounds[1] - self.bounds[0]


def intervals(rows: Rows, metric: Metric, draws: int, seed: int) -> dict[str, Interval]:
    """Return the interval of each method that applies to these rows, by its name."""
    ways: dict[str, Sequence[NDArray[Any] | None]] = {
        "row bootstrap" if rows.users is None else "user bootstrap": [rows.users]
    }
    if rows.items is not None and len(np.unique(rows.items)) < len(rows.items):
        if rows.users is None:
            ways["item bootstrap"] = [rows.items]
        else:
            ways["two-way bootstrap"] = [rows.users, rows.items]
    influence = _influences(rows, metric)
    return {
        name: _interval(rows, metric, influence, way, draws, seed) for name, way in ways.items()
    }


def cross_check(rows: Rows, metric: Metric) -> dict[str, float]:
    """Return difference and standard error in closed form, clustered by user."""
    if metric == "auc":
        difference, error = clustered_delong(rows.label, rows.full, rows.pruned, rows.users)
        return {"delong_difference": difference, "delong_se": error}
    value = _gain(rows, metric)
    code, (size,) = (c := Clusters(len(value), [rows.users])).codes[0], c.sizes
    sums = np.bincount(code, value - value.mean(), size)
    error = float(np.sqrt(size / max(size - 1, 1) * (sums @ sums))) / len(value)
    return {"clustered_difference": float(value.mean()), "clustered_se": error}


def _interval(
    rows: Rows,
    metric: Metric,
    influence: Array,
    way: Sequence[NDArray[Any] | None],
    draws: int,
    seed: int,
) -> Interval:
    clusters = Clusters(len(rows.label), way)
    pair: Paired
    if metric == "auc":
        pair = PairedAuc(rows.label, rows.full, rows.pruned, clusters)
    else:
        pair = PairedMean(_gain(rows, metric), clusters)
    difference = pair.difference([np.ones(size) for size in clusters.sizes])
    assert difference is not None, "both classes are present: Rows.checked"
    if min(clusters.sizes) < 2:  # one user: nothing is known of how users differ
        return Interval(difference, np.inf, (-np.inf, np.inf))
    kind = "users" if len(way) == 1 else "users and items"
    resampled = resampled_differences(pair, clusters, draws, seed, f"verdict by {kind}")
    # Drawing n of n with replacement understates a variance by (n − 1) / n.
    fewest = min(clusters.sizes)
    error = float(resampled.std(ddof=1)) * np.sqrt(fewest / (fewest - 1))
    freedom = min(
        effective_freedom(influence, code, size)
        for code, size in zip(clusters.codes, clusters.sizes, strict=True)
    )
    # The draws are a sample too: their own freedom joins that of the clusters.
    reach = t_quantile(0.95, max(1.0, 1 / (1 / freedom + 1 / (draws - 1)))) * error
    return Interval(
        difference, float(error), (float(difference - reach), float(difference + reach))
    )


def _gain(rows: Rows, metric: Metric) -> Array:
    """Return by how much the pruned model does better on each row, shape ``(n_rows,)``."""
    full, pruned = rows.full.astype(np.float64), rows.pruned.astype(np.float64)
    if metric == "accuracy":
        right = [(each >= 0) == rows.label for each in (full, pruned)]
        gain: Array = right[1].astype(np.float64) - right[0]
        return gain
    side = np.where(rows.label, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, side * full) - np.logaddexp(0, side * pruned))


def _influences(rows: Rows, metric: Metric) -> Array:
    if metric == "auc":
        return influences(rows.label, rows.full, rows.pruned)
    value = _gain(rows, metric)
    centred: Array = (value - value.mean()) / len(value)
    return centred
