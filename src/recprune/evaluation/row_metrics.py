"""The metrics of labelled rows: of all of them, with intervals, and of each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError
from recprune.evaluation.estimates import Estimate, auc_interval, mean_interval
from recprune.metrics import (
    Metric,
    accuracy,
    auc,
    group_auc,
    log_loss_of_logits,
    precision,
    recall,
)

__all__ = ["ScoredRows", "probability", "row_facts"]

Array = NDArray[Any]
#: Metrics that call a row positive or not.
OF_CALLS = ("accuracy", "f1", "precision", "recall")


def row_facts(logits: Array, label: Array, threshold: float) -> dict[str, float]:
    """Return AUC, log loss, and accuracy, precision and recall at a threshold, by name.

    ``majority_accuracy`` is what calling every row the commoner class would reach.

    Args:
        logits: shape ``(n_rows,)``.
        label: 0 or 1, shape ``(n_rows,)``, both present.
        threshold: of the probability, chosen on other rows.

    Raises:
        ParameterError: lengths differ, a logit is NaN, a label is not 0/1, or one class only.

    >>> facts = row_facts(np.array([-1.0, 0.5, 2.0]), np.array([0, 0, 1]), 0.5)
    >>> {name: round(value, 3) for name, value in facts.items()}  # row 1 is a false alarm
    {'auc': 1.0, 'logloss': 0.471, 'accuracy': 0.667, 'precision': 0.5, 'recall': 1.0,
     'majority_accuracy': 0.667, 'threshold': 0.5}
    """
    prob, rate = probability(logits), float(np.mean(label))
    return {
        "auc": auc(label, logits),
        "logloss": log_loss_of_logits(label, logits),
        "accuracy": accuracy(label, prob, threshold),
        "precision": precision(label, prob, threshold),
        "recall": recall(label, prob, threshold),
        "majority_accuracy": max(rate, 1 - rate),
        "threshold": threshold,
    }


def probability(logits: Array) -> NDArray[np.float64]:
    """Return the sigmoid, shape as given; no logit overflows."""
    x = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Labelled rows with a model's scores.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        logits: shape ``(n_rows,)``.
        users: each row's user, shape ``(n_rows,)``, or None.
        threshold: of the probability, from which a row is called positive.
    """

    label: Array
    logits: Array
    users: Array | None
    threshold: float

    def take(self, index: Array) -> ScoredRows:
        """Return some of the rows."""
        users = None if self.users is None else self.users[index]
        return ScoredRows(self.label[index], self.logits[index], users, self.threshold)

    def estimate(self, metric: Metric) -> Estimate:
        """Return the metric of all rows, with its interval where it has one in closed form.

        Raises:
            ParameterError: rows that the metric cannot judge, such as those of one class.
            DataError: it is one of users, and the rows have none.
        """
        n = len(self.label)
        clusters = np.arange(n) if self.users is None else self.users
        if metric.name == "gauc":
            values, rows = self._auc_by_user()
            known = ~np.isnan(values)
            interval = mean_interval(values, rows * known, np.arange(len(rows)))
            count = int(known.sum())
            return Estimate(self._value(metric), interval, "users", count, len(rows) - count)
        value, interval = self._value(metric), None
        if metric.name == "auc":
            interval = auc_interval(self.label, self.logits, clusters)
        elif (parts := self._parts(metric)) is not None:
            interval = mean_interval(*parts, clusters)
        return Estimate(value, interval, "rows", n)

    def by_user(self, metric: Metric) -> NDArray[np.float64] | None:
        """Return the metric of each user's own rows, in the order of ``np.unique(users)``; NaN for a
        user whose rows have no such value, None for a metric that is not one of single users' rows.
        """
        if metric.name in ("auc", "gauc"):
            return self._auc_by_user()[0]
        parts = self._parts(metric)
        if parts is None or self.users is None:
            return None
        values, weights = parts
        _, code = np.unique(self.users, return_inverse=True)
        with np.errstate(invalid="ignore"):
            share = np.bincount(code, weights * values) / np.bincount(code, weights)
        return np.asarray(share)

    def _value(self, metric: Metric) -> float:
        if metric.name == "logloss":
            return log_loss_of_logits(self.label, self.logits)
        given = {"label": self.label, "score": self.logits, "users": self.users}
        if "prob" in metric.takes:
            given["prob"] = probability(self.logits)
        options = {"threshold": self.threshold} if metric.name in OF_CALLS else {}
        return float(metric(*(given[name] for name in metric.takes), **options))

    def _auc_by_user(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if self.users is None:
            raise DataError(
                "The metric 'gauc' is a mean over users, and no column of users is named. Name it "
                "with user=… (--user), or ask for 'auc'."
            )
        return group_auc(self.label, self.logits, self.users)[1:]

    def _parts(self, metric: Metric) -> tuple[Array, Array] | None:
        """Return a value and a weight of each row, whose weighted mean the metric is; else None."""
        positive, ones = self.label == 1, np.ones(len(self.label))
        if metric.name == "logloss":
            x = np.asarray(self.logits, np.float64)
            return np.logaddexp(0.0, np.where(positive, -x, x)), ones
        if metric.name == "brier":
            return (probability(self.logits) - positive) ** 2, ones
        if metric.name not in OF_CALLS:
            return None
        called = probability(self.logits) >= self.threshold
        return {
            "accuracy": ((called == positive).astype(float), ones),
            "precision": (positive, called),
            "recall": (called, positive),
            "f1": (called & positive, called.astype(float) + positive),
        }[metric.name]
