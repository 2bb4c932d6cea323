"""Permutation importance: shuffle one field's values across held-out rows and score again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import progress, stream
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.models.network import FieldNet

__all__ = ["permutation"]

BLOCK = 8192
MAX_ROWS = 50_000


@method("permutation", ("field",), "repeats × fields, forward only")
def permutation(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    repeats: int = 5,
    max_rows: int = MAX_ROWS,
) -> Scores:
    """Mean fall of AUC when a field's values are shuffled (Breiman 2001, section 10).

    Each repeat draws its own shuffle; the standard error is over repeats. More than ``max_rows``
    rows are sampled down, the same rows for all fields.
    """
    split = rows.held_out
    n = len(split)
    chosen = np.sort(stream(seed, "permutation rows").permutation(n)[:max_rows])
    held, label, net = split.rows[chosen], split.label[chosen], model.net
    with torch.no_grad():
        value = net.embed(held)
    base = auc(label, _score(net, value))
    drops = np.empty((len(net.shape.sizes), repeats))
    for place, i in enumerate(progress(net.order.tolist(), "permutation importance")):
        kept = value[:, place].clone()
        for r in range(repeats):
            # Counted by name, not by position: column order does not move the draws.
            draws = stream(seed, "permutation", model.encoder.schema.names[i], r)
            value[:, place] = kept[torch.from_numpy(draws.permutation(len(chosen)))]
            drops[i, r] = base - auc(label, _score(net, value))
        value[:, place] = kept
    return Scores(drops.mean(axis=1), drops.std(axis=1, ddof=1) / np.sqrt(repeats))


@torch.no_grad()
def _score(net: FieldNet, value: torch.Tensor) -> NDArray[np.float32]:
    return np.concatenate([net.head(part).numpy() for part in torch.split(value, BLOCK)])
