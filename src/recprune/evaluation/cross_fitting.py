"""Verdicts on small tables: many splits into training and test rows, each with models of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.errors import ParameterError
from recprune.evaluation.intervals import Interval, rows_needed
from recprune.evaluation.noninferiority import Verdict, outcome_of, too_few
from recprune.evaluation.paired import Metric, Rows
from recprune.executor import Executor

__all__ = ["Fold", "cross_fitted_verdict", "folds_of", "resampled_t"]

Index = NDArray[np.int64]
Fit = Callable[["Fold", int], tuple[NDArray[Any], NDArray[Any]]]
MOST_REPEATS = 1000


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: positions of the training rows and of the test rows, and which it is."""

    train: Index
    test: Index
    number: int


def folds_of(
    label: NDArray[Any],
    users: NDArray[Any] | None = None,
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
) -> list[Fold]:
    """Return ``folds`` × ``repeats`` splits: in each repeat every row tests once.

    All rows of a user are in one fold, and the folds have like numbers of rows of either class:
    users are dealt in random order, those with most rows first, each to the fold that lacks most.

    Args:
        label: 0 or 1, shape ``(n_rows,)``.
        users: each row's user; None = every row by itself.
        folds: parts of the rows, at least 2 and at most as many as users.
        repeats: times that the rows are dealt anew.
        seed: of the dealing.

    Raises:
        ParameterError: a number out of range, or a fold without rows of both classes.
    """
    positive = np.asarray(label) == 1
    owner = np.arange(len(positive)) if users is None else np.unique(users, return_inverse=True)[1]
    owner = owner.ravel()
    sizes = np.stack([np.bincount(owner, ~positive), np.bincount(owner, positive)], axis=1)
    for name, value, least, most in (
        ("folds", folds, 2, len(sizes)),
        ("repeats", repeats, 1, MOST_REPEATS),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ParameterError.of(name, "folds_of", f"an int from {least} to {most}", value)
    out = []
    for repeat in range(repeats):
        part = _dealt(sizes, folds, stream(seed, "folds", repeat))[owner]
        for fold in range(folds):
            train, test = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
            if not all(0 < np.count_nonzero(positive[rows]) < len(rows) for rows in (train, test)):
                raise ParameterError(
                    f"folds_of: with {folds} folds, one lacks a class. Take fewer folds, or rows of "
                    "more users."
                )
            out.append(Fold(train, test, repeat * folds + fold))
    return out


def resampled_t(differences: NDArray[Any], test_over_train: float) -> Interval:
    """Return the mean of differences of overlapping splits and its corrected error.

    Training sets of different splits share most of their rows, so that the differences hang
    together, by about the share of the rows that test: the variance of their mean is
    (1 / J + n_test / n_train) · S², with J − 1 degrees of freedom, S² their sample variance (Nadeau
    & Bengio 2003, "Inference for the generalization error"; for repeated folds Bouckaert &
    Frank 2004, "Evaluating the replicability of significance tests for comparing learning
    algorithms").

    Args:
        differences: metric(pruned) − metric(full) of each split, shape ``(J,)``, J ≥ 2.
        test_over_train: rows that test over rows that train, in each split.

    Raises:
        ParameterError: fewer than two differences, or a share that is not above 0.

    Ten splits of one tenth each: the error is 1.45 times that of ten independent differences.

    >>> differences = np.array([0.01, 0.02, 0.01, 0.03, 0.0, 0.02, 0.01, 0.02, 0.03, 0.0])
    >>> found = resampled_t(differences, 1 / 9)
    >>> round(found.error / float(differences.std(ddof=1) / 10**0.5), 2), found.freedom
    (1.45, 9.0)
    """
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ParameterError.of("differences", "resampled_t", "two or more", values.shape)
    if not test_over_train > 0:
        raise ParameterError.of("test_over_train", "resampled_t", "above 0", test_over_train)
    n = len(values)
    variance = (1 / n + test_over_train) * float(values.var(ddof=1))
    return Interval(float(values.mean()), variance, 0.0, n - 1.0)


def cross_fitted_verdict(
    fit: Fit,
    label: NDArray[Any],
    folds: Sequence[Fold],
    *,
    metric: Metric = "auc",
    tolerance: float = 0.002,
    seed: int = 0,
    executor: Executor | None = None,
) -> Verdict:
    """Judge a *procedure* on a table too small for test rows of its own.

    Each split trains both models anew and scores its test rows; the verdict is on the mean of the
    differences, with the error of :func:`resampled_t`. It says of models that are trained on as
    many rows as a split's whether pruning them costs more than the tolerance, not of any model that
    you have.

    Args:
        fit: ``fit(fold, seed)`` returns the full and the pruned model's scores of ``fold.test``,
            of models that have seen ``fold.train`` alone. With more than one worker, a function at
            the top of a module.
        label: 0 or 1, shape ``(n_rows,)``.
        folds: from :func:`folds_of`, by user where there are users.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``; see :func:`recprune.evaluation.verdict`.
        tolerance: largest drop that passes.
        seed: of the seeds that ``fit`` gets, one a split.
        executor: where the splits run; None = here. The verdict does not depend on it.

    Raises:
        ParameterError: a tolerance outside (0, 1), fewer than two splits, or what ``fit`` returned
            is no score of each test row.
    """
    if not 0 < tolerance < 1:
        raise ParameterError.of("tolerance", "cross_fitted_verdict", "a float in (0, 1)", tolerance)
    y = np.asarray(label)
    shared = fit, y, metric, seed
    found = (executor or Executor()).map(_difference, list(folds), shared=shared, text="splits")
    share = float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))
    interval = resampled_t(np.array(found), share)
    ones, n = int(np.count_nonzero(y)), len(y)
    reasons, least = too_few(min(ones, n - ones), n)
    outcome = "INCONCLUSIVE" if reasons else outcome_of(interval.bounds, tolerance)
    needed = rows_needed(interval, tolerance, n) if outcome == "INCONCLUSIVE" else None
    return Verdict(
        outcome,
        metric,
        tolerance,
        interval.difference,
        interval.bounds,
        "corrected resampled t",
        n,
        needed if needed is None else max(needed, int(np.ceil(least * n))),
        {"differences": found, "test_over_train": share},
        reasons=reasons,
        estimand="procedure",
        n_seeds=len(folds),
    )


def _difference(
    shared: tuple[Fit, NDArray[Any], Metric, int], fold: Fold, _: np.random.Generator
) -> float:
    """Return metric(pruned) − metric(full) on one split's test rows."""
    fit, label, metric, seed = shared
    own = int(stream(seed, "cross-fitting", fold.number).integers(2**31))
    full, pruned = fit(fold, own)
    rows = Rows.checked(label[fold.test], full, pruned, metric=metric)
    return float(rows.pair.observed[0])


def _dealt(sizes: Index, folds: int, draws: np.random.Generator) -> Index:
    """Return each user's fold.

    Args:
        sizes: rows of either class of each user, shape ``(n_users, 2)``.
        folds: how many.
        draws: break all ties.
    """
    out = np.empty(len(sizes), np.int64)
    weight = 1 / np.maximum(sizes.sum(axis=0), 1) ** 2.0
    filled = np.zeros((folds, 2))
    order = draws.permutation(len(sizes))
    for user in order[np.argsort(-sizes.sum(axis=1)[order], kind="stable")]:
        # What a fold's squared rows would grow by; the least of them, any of equals.
        cost = filled @ (weight * sizes[user])
        fold = draws.choice(np.flatnonzero(cost == cost.min()))
        out[user] = fold
        filled[fold] += sizes[user]
    return out
