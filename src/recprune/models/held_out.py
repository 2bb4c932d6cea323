"""The score of held-out rows by a metric's name: what decides which epoch is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError, ParameterError
from recprune.metrics import auc, log_loss_of_logits, metric

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = ["held_out_score"]


def held_out_score(name: str, rows: Split, logits: NDArray[np.float32]) -> float:
    """Return a metric of logits, shape (n,), on rows with labels.

    Weights of rows count in ``"auc"`` and ``"logloss"``. Those that need a threshold take 0.5.

    Raises:
        ParameterError: the metric is one of lists, not of rows.
        DataError: ``"gauc"``, and the rows have no users.
    """
    wanted, weight = metric(name), rows.extras.weight
    if wanted.family != "classification":
        raise ParameterError.of("metric", "Training", "a metric of rows, such as 'auc'", name)
    if wanted.name == "auc":
        return auc(rows.label, logits, weight)
    if wanted.name == "logloss":
        return log_loss_of_logits(rows.label, logits, weight)
    if "users" in wanted.takes and rows.users is None:
        raise DataError(
            "The metric 'gauc' is a mean over users, and no column of users is named. Name it "
            "with user=… (--user), or stop by 'auc'."
        )
    # A metric of the order takes the logits: a probability's rounding would make ties.
    given: dict[str, Any] = {"label": rows.label, "score": logits, "users": rows.users}
    if "prob" in wanted.takes:
        given["prob"] = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return float(wanted(*(given[each] for each in wanted.takes)))
