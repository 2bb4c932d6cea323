"""A ranker's scores with some of its fields replaced by their means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.data import Split
from recprune.importance.evidence import Evidence
from recprune.importance.walk import first_label
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.models.trainer import PREDICT_BLOCK

__all__ = ["Replaced"]

#: Most memory of the fields' values on one part of the rows.
MOST_BYTES = 1 << 29


class Replaced:
    """The fields' values on some rows, shape (n_rows, n_fields, width), to be overwritten.

    Args:
        model: fitted ranker.
        split: rows, in any encoding that the model descends from; those of weight 0 are left out.
            Of more than memory is lent for, as many as fit, evenly spread.
    """

    def __init__(self, model: Ranker, split: Split) -> None:
        self.net = model.net
        self.split = Evidence.of(_held(model, split), model).held_out
        self.place = {
            model.encoder.schema.names[i]: at for at, i in enumerate(self.net.order.tolist())
        }
        with torch.no_grad():
            self.value = self.net.embed(self.split.rows)

    def means(self) -> torch.Tensor:
        """Return the rows' weighted mean of every field's value, shape (n_fields, width)."""
        weight = self.split.extras.weight
        if weight is None:
            return self.value.mean(dim=0)
        counted = torch.from_numpy(weight)
        mean: torch.Tensor = torch.tensordot(counted, self.value, dims=1) / counted.sum()
        return mean

    def replace(self, names: Sequence[str], means: torch.Tensor) -> torch.Tensor:
        """Put the means of some fields in their values' places; return these, for :meth:`restore`."""
        at = [self.place[name] for name in names]
        before = self.value[:, at]  # a copy
        self.value[:, at] = means[at]
        return before

    def shuffle(self, names: Sequence[str], order: torch.Tensor) -> torch.Tensor:
        """Let some fields together read other rows' values, at the places ``order``, shape
        (n_rows,); return their own, for :meth:`restore`."""
        at = [self.place[name] for name in names]
        before = self.value[:, at]
        self.value[:, at] = before[order]
        return before

    def restore(self, names: Sequence[str], before: torch.Tensor) -> None:
        """Put the fields' own values back."""
        self.value[:, [self.place[name] for name in names]] = before

    @torch.no_grad()
    def score(self) -> NDArray[np.float32]:
        """Return the logits of the first label, shape (n_rows,)."""
        parts = torch.split(self.value, PREDICT_BLOCK)
        return np.concatenate([first_label(self.net.head(part)).numpy() for part in parts])

    def auc(self) -> float:
        """Return the AUC on these rows, by their weights."""
        return auc(self.split.label, self.score(), self.split.extras.weight)


def _held(model: Ranker, split: Split) -> Split:
    most = MOST_BYTES // (4 * len(model.net.shape.sizes) * (1 + model.net.shape.dim))
    if len(split) <= most:
        return split
    return split.take(np.linspace(0, len(split) - 1, most).astype(np.int64))
