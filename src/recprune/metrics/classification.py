"""Metrics of a yes or no: log loss, accuracy, precision, recall, F1, and the best threshold."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError
from recprune.metrics._checks import binary, both_classes, matched, numbers, probabilities, weights

__all__ = [
    "accuracy",
    "best_threshold",
    "confusion",
    "f1",
    "log_loss",
    "log_loss_of_logits",
    "precision",
    "recall",
]


def log_loss(label: ArrayLike, prob: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the mean of −log(probability of what happened), in nats.

    Probabilities are kept a rounding step of their own type away from 0 and 1, so that one
    saturated row does not make the mean infinite.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        prob: of a positive, in [0, 1], shape ``(n_rows,)``.
        weight: of each row, ≥ 0, shape ``(n_rows,)``.

    Raises:
        ParameterError: lengths differ, a label is not 0/1, or a probability is outside [0, 1].

    The mean of −log 0.5 and −log(1 − 0.2).

    >>> round(log_loss([1, 0], [0.5, 0.2]), 4)
    0.4581
    """
    positive = binary(label, "log_loss")
    p = probabilities(prob, len(positive), "log_loss")
    given = np.asarray(prob).dtype
    eps = np.finfo(given if given.kind == "f" else np.float64).eps
    p = np.clip(p, eps, 1 - eps)
    return _mean(-np.log(np.where(positive, p, 1 - p)), weight, "log_loss")


def log_loss_of_logits(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> float:
    """Return the log loss of logits, exact also where the probability rounds to 0 or 1.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        logit: log-odds of a positive, shape ``(n_rows,)``.
        weight: of each row, ≥ 0, shape ``(n_rows,)``.

    Raises:
        ParameterError: lengths differ, a label is not 0/1, or a logit is NaN.

    A positive row with a logit of −100 loses 100 nats; its probability, 4e-44, would do too, but
    a negative one with +100 has a probability that rounds to 1.

    >>> log_loss_of_logits([1, 0], [-100.0, 100.0])
    100.0
    """
    owner = "log_loss_of_logits"
    positive = binary(label, owner)
    x = matched(numbers(logit, "logit", owner), len(positive), "logit", owner)
    signed = np.where(positive, -x.astype(np.float64), x)
    return _mean(np.logaddexp(0.0, signed), weight, owner)


def _mean(values: NDArray[np.float64], weight: ArrayLike | None, owner: str) -> float:
    if weight is None:
        return float(values.mean())
    w = weights(weight, len(values), owner)
    if not w.any():
        raise ParameterError.of("weight", owner, "above 0 for some row", "all zeros")
    w = w / w.max()  # only ratios count, and the sum must not overflow
    # A row of weight 0 is no row, also where its loss is infinite.
    counted = w > 0
    return float(np.average(values[counted], weights=w[counted]))


def confusion(
    label: ArrayLike, prob: ArrayLike, threshold: float = 0.5
) -> tuple[int, int, int, int]:
    """Return the counts of true positives, false positives, false negatives, true negatives.

    A row is called positive where ``prob >= threshold``, compared in 64 bits.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        prob: probability or any score, shape ``(n_rows,)``.
        threshold: lowest value that is called positive.

    Raises:
        ParameterError: lengths differ, a label is not 0/1, or a value is NaN.

    >>> confusion([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1])
    (1, 1, 1, 1)
    """
    positive = binary(label, "confusion")
    x = matched(numbers(prob, "prob", "confusion"), len(positive), "prob", "confusion")
    if not isinstance(threshold, Real) or threshold != threshold:
        raise ParameterError.of("threshold", "confusion", "a number", threshold)
    called = x.astype(np.float64) >= float(threshold)
    true = int(np.count_nonzero(called & positive))
    ones, all_called = int(np.count_nonzero(positive)), int(np.count_nonzero(called))
    return true, all_called - true, ones - true, len(x) - ones - all_called + true


def accuracy(label: ArrayLike, prob: ArrayLike, threshold: float = 0.5) -> float:
    """Return the share of rows that are called right; parameters as in :func:`confusion`.

    >>> accuracy([1, 1, 0, 0], [0.9, 0.4, 0.2, 0.1])
    0.75
    """
    true, false, missed, rest = confusion(label, prob, threshold)
    return (true + rest) / (true + false + missed + rest)


def precision(label: ArrayLike, prob: ArrayLike, threshold: float = 0.5) -> float:
    """Return the share of the rows called positive that are; 0 when none is called so.

    Parameters as in :func:`confusion`.

    >>> precision([1, 1, 0, 0], [0.9, 0.4, 0.2, 0.1]), precision([1, 0], [0.1, 0.1])
    (1.0, 0.0)
    """
    true, false, _, _ = confusion(label, prob, threshold)
    return true / (true + false) if true else 0.0


def recall(label: ArrayLike, prob: ArrayLike, threshold: float = 0.5) -> float:
    """Return the share of the positive rows that are called positive; 0 when there is none.

    Parameters as in :func:`confusion`.

    >>> recall([1, 1, 0, 0], [0.9, 0.4, 0.2, 0.1])
    0.5
    """
    true, _, missed, _ = confusion(label, prob, threshold)
    return true / (true + missed) if true else 0.0


def f1(label: ArrayLike, prob: ArrayLike, threshold: float = 0.5) -> float:
    """Return the harmonic mean of precision and recall; 0 when no positive row is caught.

    Parameters as in :func:`confusion`.

    >>> round(f1([1, 1, 0, 0], [0.9, 0.4, 0.2, 0.1]), 4)
    0.6667
    """
    true, false, missed, _ = confusion(label, prob, threshold)
    return 2 * true / (2 * true + false + missed) if true else 0.0


def best_threshold(
    label: ArrayLike, prob: ArrayLike, metric: Literal["f1", "accuracy"] = "f1"
) -> float:
    """Return the threshold that is best on these rows: choose it on validation rows.

    Every distinct value of ``prob`` is tried; of equally good ones the highest is returned.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        prob: probability or any score, shape ``(n_rows,)``.
        metric: what is maximised. For accuracy, calling no row positive is tried too: the
            threshold is then the next number above the highest value, if that is finite.

    Raises:
        ParameterError: lengths differ, a value is NaN, one class only, or another metric.

    At 0.4 both positives are caught with one false alarm: F1 = 0.8, against 2/3 at 0.9.

    >>> best_threshold([1, 0, 1, 0], [0.9, 0.5, 0.4, 0.1])
    0.4
    """
    owner = "best_threshold"
    if metric not in ("f1", "accuracy"):
        raise ParameterError.of("metric", owner, "'f1' or 'accuracy'", metric)
    positive = binary(label, owner)
    x = matched(numbers(prob, "prob", owner), len(positive), "prob", owner).astype(np.float64)
    ones, zeros = both_classes(positive, owner)
    order = np.argsort(x, kind="stable")[::-1]
    x, hits = x[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(x[1:] != x[:-1], True))
    true, called = hits[ends], ends + 1
    if metric == "f1":
        return float(x[ends[np.argmax(2 * true / (called + ones))]])
    right = np.append(zeros, zeros + 2 * true - called)  # the first: no row called positive
    thresholds = np.append(np.nextafter(x[0], np.inf), x[ends])
    if x[0] == np.inf:  # no number is above it
        right, thresholds = right[1:], thresholds[1:]
    return float(thresholds[np.argmax(right)])
