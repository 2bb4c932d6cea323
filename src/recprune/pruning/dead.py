"""Neurons that say the same on every row, and so can go without a trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.importance.pursuit import covariance
from recprune.layout import Plan
from recprune.models import Ranker

__all__ = ["alive"]

#: Variance, as a share of the squared mean, that rounding alone gives a constant.
ROUNDING = 1e-9


def alive(model: Ranker, split: Split) -> Plan:
    """Return the plan that keeps the neurons whose output is not the same on all rows.

    A ReLU that never opens is dead; one with a constant output is a bias. With
    :func:`recprune.pruning.repair` the constant goes into the next layer's bias, and the outputs
    on these rows are what they were. At least as many neurons stay as their axis must keep.

    Args:
        model: fitted ranker, cut or not.
        split: rows to look at, all of them, in any encoding that the model descends from.
    """
    kept: dict[str, NDArray[np.int32]] = {}
    split = model.aligned(split)
    for axis in model.layout.axes.values():
        if axis.unit != "neuron":
            continue
        spread, mean = covariance(model, split, axis, 0, len(split))
        variance = np.diag(spread)
        stays = variance > ROUNDING * mean**2
        stays[np.argsort(-variance, kind="stable")[: axis.min_keep]] = True
        if not stays.all():
            kept[axis.name] = axis.units[stays]
    return Plan(model.layout.hash, kept)
