"""Do probabilities mean what they say? Brier score, calibration curve and error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError
from recprune.metrics._checks import binary, probabilities

__all__ = ["brier", "calibration_curve", "calibration_error", "undo_sampling"]


def brier(label: ArrayLike, prob: ArrayLike) -> float:
    """Return the mean squared distance between probability and label.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        prob: of a positive, in [0, 1], shape ``(n_rows,)``.

    Raises:
        ParameterError: lengths differ, a label is not 0/1, or a probability is outside [0, 1].

    >>> brier([1, 0], [0.5, 0.0])
    0.125
    """
    positive = binary(label, "brier")
    return float(np.mean((probabilities(prob, len(positive), "brier") - positive) ** 2))


def calibration_curve(
    label: ArrayLike, prob: ArrayLike, bins: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean probability, rate of positives and rows of each bin that has rows.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        prob: of a positive, in [0, 1], shape ``(n_rows,)``.
        bins: equally wide bins over [0, 1]; an edge belongs to the bin above it, 1 to the last.

    Returns:
        Three arrays of shape ``(n_bins_with_rows,)``, in order of probability.

    Raises:
        ParameterError: as :func:`brier`, or ``bins`` is below 1.

    >>> [a.round(2).tolist() for a in calibration_curve([0, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], bins=2)]
    [[0.15, 0.85], [0.5, 1.0], [2, 2]]
    """
    owner = "calibration_curve"
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise ParameterError.of("bins", owner, "a whole number above 0", bins)
    positive = binary(label, owner)
    p = probabilities(prob, len(positive), owner)
    which = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p, side="right")
    count = np.bincount(which, minlength=bins)
    used = count > 0
    mean = np.bincount(which, weights=p, minlength=bins)[used] / count[used]
    rate = np.bincount(which, weights=positive, minlength=bins)[used] / count[used]
    return mean, rate, count[used].astype(np.int64)


def calibration_error(label: ArrayLike, prob: ArrayLike, bins: int = 10) -> float:
    """Return the mean distance of probability and rate over bins, weighted by rows (ECE).

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", eq. 3.
    Parameters and errors as in :func:`calibration_curve`.

    >>> round(calibration_error([0, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], bins=2), 2)
    0.25
    """
    mean, rate, count = calibration_curve(label, prob, bins)
    return float(np.average(np.abs(mean - rate), weights=count))


def undo_sampling(prob: ArrayLike, negative_rate: float) -> NDArray[np.float64]:
    """Return what probabilities are where all negatives are counted, not a sample of them.

    A model that trained on all positives and a share w of the negatives has odds 1 / w times too
    high, whatever its features: p / (p + (1 − p) / w) puts them right (He et al. 2014, "Practical
    Lessons from Predicting Clicks on Ads at Facebook", section 6.3; King & Zeng 2001, "Logistic
    Regression in Rare Events Data", prior correction: in log-odds a shift of ln w). The order of the
    rows stays.

    Args:
        prob: of a positive among the sampled rows, in [0, 1], any shape.
        negative_rate: w, the share of the negatives that were kept, in (0, 1]; each with the same
            chance. Negatives drawn by popularity were not: one share cannot put them right.

    Raises:
        ParameterError: a probability is outside [0, 1], or the rate outside (0, 1].

    >>> undo_sampling([0.0, 0.5, 1.0], negative_rate=0.25).tolist()
    [0.0, 0.2, 1.0]
    """
    owner = "undo_sampling"
    number = isinstance(negative_rate, int | float | np.number)
    if not number or isinstance(negative_rate, bool) or not 0 < negative_rate <= 1:
        raise ParameterError.of("negative_rate", owner, "a number in (0, 1]", negative_rate)
    p = np.asarray(prob, np.float64)
    probabilities(p.ravel(), p.size, owner)
    return np.asarray(p / (p + (1 - p) / negative_rate))
