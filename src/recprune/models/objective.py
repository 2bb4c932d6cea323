"""What training minimises: cross-entropy with labels, or with a larger model's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.errors import ParameterError

__all__ = ["ClassWeight", "CrossEntropy", "Objective", "Target", "check_class_weight"]

#: How much the rows of each class count; see :class:`recprune.models.Training`.
ClassWeight = Literal["balanced"] | tuple[float, float] | None


@dataclass(frozen=True)
class Target:
    """What the logits should match.

    Args:
        label: 0 or 1, shape (n,), or (n, T) of a model with T labels, where NaN is missing.
        teacher: a larger model's logits, shape as ``label``, or None.
        weight: share of the teacher in the loss (Hinton et al. 2015, section 2, at temperature 1).
        rows: how much each row counts, mean 1, shape (n,); None = alike.
        classes: how much the rows of each class count; see :class:`recprune.models.Training`.
    """

    label: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None
    weight: float = 0.5
    rows: NDArray[np.float32] | None = None
    classes: ClassWeight = None

    def mixed(self) -> NDArray[np.float32]:
        """Return soft labels: cross-entropy is linear in them, so one loss serves both parts."""
        if self.teacher is None:
            return self.label
        soft = 1 / (1 + np.exp(-self.teacher.astype(np.float64)))
        return ((1 - self.weight) * self.label + self.weight * soft).astype(np.float32)

    def weights(self) -> NDArray[np.float32] | None:
        """Return how much each label counts, shape as ``label``; None = alike.

        The row's own weight times its class's, as scikit-learn's classifiers have it; of several
        labels, a missing one counts 0.
        """
        several = self.label.ndim > 1
        rows = self.rows if self.rows is None or not several else self.rows[:, None]
        weight = ~np.isnan(self.label) if several else None
        if self.classes is not None:
            weight = self._of_classes()
        if rows is not None:
            weight = rows if weight is None else weight * rows
        return None if weight is None else np.asarray(weight, np.float32)

    def _of_classes(self) -> NDArray[np.float64]:
        """Return the weight of each label's class; 0 where the label is missing."""
        known, positive = ~np.isnan(self.label), self.label > 0.5
        if isinstance(self.classes, tuple):
            zero, one = (np.float64(w) for w in self.classes)
        else:
            ones, n = positive.sum(axis=0), known.sum(axis=0)
            zero, one = n / np.maximum(2 * (n - ones), 1), n / np.maximum(2 * ones, 1)
        return known * np.where(positive, one, zero)


class Objective(Protocol):
    """What a step of training asks: which rows to read, and how bad the outputs are.

    It keeps nothing from one batch to the next, and draws from the step's stream alone: only then
    does training that goes on from a checkpoint end where it would have.
    """

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
        label, weight = target.mixed(), target.weights()
        if label.ndim > 1:
            label = np.nan_to_num(label)
        self.label = torch.from_numpy(label)
        self.weight = None if weight is None else torch.from_numpy(weight)

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the batch's own rows."""
        return rows

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of logits, shape (B,) or (B, T); a missing label's loss is 0."""
        return self._loss(output, chosen, "mean")

    def losses(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the loss of each logit, shape (B,) or (B, T); a missing label's is 0."""
        return self._loss(output, chosen, "none")

    def _loss(self, output: Tensor, chosen: Tensor, reduction: str) -> Tensor:
        label = self.label[chosen].to(output.device)
        weight = None if self.weight is None else self.weight[chosen].to(output.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(
            output, label, weight, reduction=reduction
        )


def check_class_weight(given: object) -> None:
    """Refuse what is no :data:`ClassWeight`.

    Raises:
        ParameterError: neither None, ``"balanced"`` nor two finite numbers above 0.
    """
    if given is None or given == "balanced":
        return
    if isinstance(given, tuple) and len(given) == 2:
        numbers = all(isinstance(w, int | float) and not isinstance(w, bool) for w in given)
        if numbers and all(0 < w < float("inf") for w in given):
            return
    constraint = "None, 'balanced' or the weights of 0 and 1, finite and > 0"
    raise ParameterError.of("class_weight", "Training", constraint, given)
