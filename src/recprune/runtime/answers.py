"""What a scorer answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from recprune.runtime.tensors import F32

__all__ = ["Recommendation", "probability"]

ONE = np.float32(1)
#: Numbers up to which Python is quicker than NumPy: an answer's, not a table's.
FEW = 32


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The best items for one user.

    Args:
        items: item ids, best first; ties in catalogue order.
        scores: probability of each, shape ``(len(items),)``.
        fallback: the user is unknown: answered from missing columns and an empty history.
    """

    items: tuple[str, ...]
    scores: F32
    fallback: bool


def probability(logits: F32) -> F32:
    """Return the sigmoid; no logit overflows."""
    if len(logits) <= FEW:
        return np.array([_sigmoid(x) for x in logits.tolist()], np.float32)
    small = np.abs(logits)
    np.exp(np.negative(small, small), small)
    answer: F32 = np.where(logits >= 0, ONE, small)
    answer /= np.add(small, ONE, small)
    return answer


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1 / (1 + exp(-x))
    small = exp(x)
    return small / (1 + small)
