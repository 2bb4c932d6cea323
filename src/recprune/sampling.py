"""What drawing or dropping negatives does to probabilities, and how to undo it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recprune.errors import ArtifactError, InputError

__all__ = ["sampling_shift"]


def sampling_shift(labels: Mapping[str, Any] | None) -> float:
    """Return what to add to all logits so that they speak of all rows: ln of the share of negatives
    that training had (He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook",
    section 6.3).

    Args:
        labels: how rows came by their labels: :class:`recprune.data.labels.LabelRule` as JSON, which
            an artefact keeps; None = all rows of 0 were there.

    Raises:
        InputError: negatives were drawn by popularity: each item then has a share of its own.
        ArtifactError: the share is not in (0, 1].

    >>> sampling_shift({"negative_rate": 0.5}) == math.log(0.5)
    True
    """
    rule = labels or {}
    drawn, rate = rule.get("negatives") or {}, rule.get("negative_rate") or 1.0
    if drawn and drawn.get("by") != "uniform" and drawn.get("alpha"):
        raise InputError(
            "This model's negatives were drawn by popularity, so that its probabilities cannot "
            "be calibrated by one rate. Train with Negatives(by='uniform'), or --negatives "
            "uniform."
        )
    if not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise ArtifactError(f"The artefact's rate of negatives must be in (0, 1]. Got {rate!r}.")
    return math.log(rate)
