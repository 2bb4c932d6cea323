"""What training minimises: cross-entropy with labels, or with a larger model's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows

__all__ = ["CrossEntropy", "Objective", "Target"]


@dataclass(frozen=True)
class Target:
    """What the logits should match.

    Args:
        label: 0 or 1, shape (n,), or (n, T) of a model with T labels, where NaN is missing.
        teacher: a larger model's logits, shape as ``label``, or None.
        weight: share of the teacher in the loss (Hinton et al. 2015, section 2, at temperature 1).
        rows: how much each row counts, mean 1, shape (n,); None = alike.
    """

    label: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None
    weight: float = 0.5
    rows: NDArray[np.float32] | None = None

    def mixed(self) -> NDArray[np.float32]:
        """Return soft labels: cross-entropy is linear in them, so one loss serves both parts."""
        if self.teacher is None:
            return self.label
        soft = 1 / (1 + np.exp(-self.teacher.astype(np.float64)))
        return ((1 - self.weight) * self.label + self.weight * soft).astype(np.float32)


class Objective(Protocol):
    """What a step of training asks: which rows to read, and how bad the outputs are."""

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the rows that the network reads for a batch: its own, perhaps more.

        Args:
            rows: the batch's encoded rows, B of them.
            chosen: their positions among the training rows, shape (B,).
            draws: the step's random stream, for rows that are drawn (negatives).
        """
        ...

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of the network's outputs on those rows, a scalar."""
        ...


class CrossEntropy:
    """Binary cross-entropy with labels 0 and 1, or with soft labels.

    Args:
        target: labels, shape (n,), and what they are mixed with.
    """

    def __init__(self, target: Target) -> None:
        label, weight = target.mixed(), target.rows
        if label.ndim > 1:
            weight = ~np.isnan(label) * (np.float32(1) if weight is None else weight[:, None])
        self.label = torch.from_numpy(np.nan_to_num(label))
        self.weight = None if weight is None else torch.from_numpy(weight.astype(np.float32))

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the batch's own rows."""
        return rows

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of logits, shape (B,) or (B, T); a missing label's loss is 0."""
        weight = None if self.weight is None else self.weight[chosen]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            output, self.label[chosen], weight
        )
