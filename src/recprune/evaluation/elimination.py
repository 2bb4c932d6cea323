"""Which fields are shown to matter, where held-out rows are too few to show which ones do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger, stream
from recprune.data import Split
from recprune.evaluation.cross_fitting import folds_of
from recprune.evaluation.delong import clustered_delong
from recprune.importance.replaced import Replaced
from recprune.importance.retraining import Rows
from recprune.models import Ranker, Training

__all__ = ["eliminate"]

FOLDS, ROUNDS = 3, 3
#: The chance that any field at all stays that says nothing.
LEVEL = 0.05
#: Steps an epoch that larger batches leave.
LEAST_STEPS = 16


def eliminate(
    model: Ranker, train: Split, tune: Split, names: Sequence[str], protect: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the fields that are shown to matter, in three rounds of recursive elimination.

    In each round, models like the given one are trained on two thirds of the training rows and
    the fields that are left, and tell of the other third what each field is worth: the fall of the
    AUC when it is replaced by its mean, and its standard error, over all folds. A field whose lower
    bound is above 0 matters (one-sided, 5 % shared among all fields by Bonferroni). Of the
    others, the half that is worth least goes, and in the last round all; not so many that together
    they matter, since one of two copies stands in for the other. What goes takes noise along, and
    the next round's models tell more of the rest.

    A field that says nothing is worth less than nothing on rows that its models have not seen:
    what they learned of it by heart is noise there. So the level is hardly ever spent.

    Cost: 9 trainings at most. The gate's rows are not touched.

    Args:
        model: what to train: its class, options and training.
        train: rows that are dealt to folds.
        tune: rows for early stopping, in the same encoding.
        names: the fields to begin with.
        protect: fields that stay in any case.

    Returns:
        Some of ``names``, in their order, at least one.
    """
    left = list(names)
    bar = NormalDist().inv_cdf(1 - LEVEL / len(left))
    for number in range(ROUNDS):
        if not set(left) - set(protect) or len(left) == 1:
            break
        found = _Evidence.of(model, train, tune, left, number)
        order = np.argsort(found.z, kind="stable")
        gone = [left[i] for i in order if found.z[i] <= bar and left[i] not in protect]
        if number < ROUNDS - 1:
            gone = gone[: (len(gone) + 1) // 2]
        gone = gone[: len(left) - 1]
        while len(gone) > 1 and found.together(gone) > bar:
            gone = gone[: len(gone) // 2]
        if not gone:
            break
        logger.debug("round %d: %s go", number, gone)
        left = [name for name in left if name not in gone]
    return tuple(left)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What fields are worth on rows that their models were not trained on."""

    folds: tuple[Replaced, ...]
    full: tuple[NDArray[np.float32], ...]
    worth: NDArray[np.float64]
    z: NDArray[np.float64]

    @classmethod
    def of(
        cls, model: Ranker, train: Split, tune: Split, names: Sequence[str], number: int
    ) -> _Evidence:
        encoder = train.encoder.take(tuple(names), {})
        train, tune = train.only(encoder), tune.only(encoder)
        held = []
        for fold in folds_of(train.label, train.users, FOLDS, 1, model.seed):
            seed = int(stream(model.seed, "elimination", number, fold.number).integers(2**31))
            rows = train.take(fold.train)
            blank = model.like(seed=seed, training=_quick(model.training, len(rows)))
            fitted = Rows(rows, tune).fitted(blank)
            held.append(Replaced(fitted, train.take(fold.test)))
        full = tuple(fold.score() for fold in held)
        pairs = np.array([_worth(held, full, [name]) for name in names])
        z = pairs[:, 0] / np.maximum(pairs[:, 1], np.finfo(float).tiny)
        return cls(tuple(held), full, pairs[:, 0], z)

    def together(self, names: Sequence[str]) -> float:
        """Return what several fields are worth together, in standard errors."""
        worth, error = _worth(self.folds, self.full, names)
        return worth / max(error, np.finfo(float).tiny)


def _quick(training: Training, n: int) -> Training:
    """Return the training with fewer, larger steps: up to four times the rows, at twice the rate.

    The rate of Adam goes with the root of the batch (Malladi et al. 2022, "On the SDEs and scaling
    rules for adaptive gradient algorithms").
    """
    batch = training.batch_of(n)
    larger = max(batch, min(4 * batch, n // LEAST_STEPS))
    rate = min(training.learning_rate * (larger / batch) ** 0.5, 0.1)
    return replace(training, batch_size=larger, learning_rate=max(rate, training.learning_rate))


def _worth(
    folds: Sequence[Replaced], full: Sequence[NDArray[np.float32]], names: Sequence[str]
) -> tuple[float, float]:
    """Return the mean fall of the folds' AUCs without these fields, and its standard error."""
    falls, errors = [], []
    for fold, score in zip(folds, full, strict=True):
        means, rows = fold.means(), fold.split
        before = fold.replace(names, means)
        less = fold.score()
        fold.restore(names, before)
        fall, error = clustered_delong(rows.label, less, score, rows.users, rows.extras.weight)
        falls.append(fall)
        errors.append(error)
    return float(np.mean(falls)), float(np.sqrt(np.square(errors).sum()) / len(errors))
