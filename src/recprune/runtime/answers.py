"""What a scorer answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recprune.runtime.tensors import F32

__all__ = ["Recommendation", "probability"]


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
    small = np.exp(-np.abs(logits))
    answer: F32 = np.where(logits >= 0, np.float32(1), small) / (1 + small)
    return answer
