"""The metrics of one model on labelled rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.metrics import accuracy, auc, log_loss_of_logits, precision, recall

__all__ = ["evaluate"]


def evaluate(
    logits: NDArray[np.floating], label: NDArray[np.floating], threshold: float
) -> dict[str, float]:
    """Return AUC, log loss, and accuracy, precision and recall at a threshold.

    Args:
        logits: shape (n_rows,).
        label: 0 or 1, shape (n_rows,), both present.
        threshold: of the probability, chosen on other rows.

    ``majority_accuracy`` is what calling every row the commoner class would reach.
    """
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    rate = float(np.mean(label))
    return {
        "auc": auc(label, logits),
        "logloss": log_loss_of_logits(label, logits),
        "accuracy": accuracy(label, probability, threshold),
        "precision": precision(label, probability, threshold),
        "recall": recall(label, probability, threshold),
        "majority_accuracy": max(rate, 1 - rate),
        "threshold": threshold,
    }
