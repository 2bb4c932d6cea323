"""The metrics of one model on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.metrics import accuracy, auc, log_loss_of_logits, precision, recall

__all__ = ["evaluate"]


def evaluate(logits: NDArray[Any], label: NDArray[Any], threshold: float) -> dict[str, float]:
    """Return AUC, log loss, and accuracy, precision and recall at a threshold.

    ``majority_accuracy`` is what calling every row the commoner class would reach.

    Args:
        logits: shape ``(n_rows,)``.
        label: 0 or 1, shape ``(n_rows,)``, both present.
        threshold: of the probability, chosen on other rows.

    Raises:
        ParameterError: lengths differ, a logit is NaN, a label is not 0/1, or one class only.

    >>> facts = evaluate(np.array([-1.0, 0.5, 2.0]), np.array([0, 0, 1]), 0.5)
    >>> {name: round(value, 3) for name, value in facts.items()}  # row 1 is a false alarm
    {'auc': 1.0, 'logloss': 0.471, 'accuracy': 0.667, 'precision': 0.5, 'recall': 1.0,
     'majority_accuracy': 0.667, 'threshold': 0.5}
    """
    x = np.asarray(logits, np.float64)
    # In two halves, so that no exponential overflows.
    small = np.exp(-np.abs(x))
    probability = np.where(x >= 0, 1, small) / (1 + small)
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
