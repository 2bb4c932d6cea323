"""The score of held-out rows by a metric's name: what decides which epoch is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError, ParameterError
from recprune.metrics import auc, log_loss_of_logits, metric

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = ["held_out_score"]

#: Metrics of the order alone: a probability's rounding would make ties.
OF_ORDER = ("average_precision", "gauc")


def held_out_score(name: str, rows: Split, logits: NDArray[np.float32]) -> float:
    """Return a metric of logits, shape (n,), on rows with labels.

    Weights of rows count in ``"auc"`` and ``"logloss"``. Those that need a threshold take 0.5.

    Raises:
        ParameterError: the metric is one of lists, not of rows.
        DataError: ``"gauc"``, and the rows have no users.
    """
    if name == "auc":
        return auc(rows.label, logits, rows.extras.weight)
    if name == "logloss":
        return log_loss_of_logits(rows.label, logits, rows.extras.weight)
    wanted = metric(name)
    if wanted.family != "classification":
        raise ParameterError.of("metric", "Training", "a metric of rows, such as 'auc'", name)
    if name == "gauc" and rows.users is None:
        raise DataError(
            "The metric 'gauc' is a mean over users, and no column of users is named. Name it "
            "with user=… (--user), or stop by 'auc'."
        )
    if name in OF_ORDER:
        users = (rows.users,) if name == "gauc" else ()
        return float(wanted(rows.label, logits, *users))
    return float(wanted(rows.label, 1 / (1 + np.exp(-logits.astype(np.float64)))))
