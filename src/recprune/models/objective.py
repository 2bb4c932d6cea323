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
        label: 0 or 1, shape (n,), or (n, T) of a model with T labels.
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
        """Return how much each label counts, shape (n,) or as ``label``; None = alike.

        The row's own weight times its class's, as scikit-learn's classifiers have it.
        """
        if self.classes is None:
            return self.rows
        positive = self.label > 0.5
        if self.classes == "balanced":
            ones = positive.mean(axis=0)
            with np.errstate(divide="ignore"):  # a class without rows weighs nothing
                zero, one = 0.5 / (1 - ones), 0.5 / ones
        else:
            zero, one = (np.float64(w) for w in self.classes)
        weight = np.where(positive, one, zero)
        if self.rows is not None:
            weight = weight * (self.rows if weight.ndim == 1 else self.rows[:, None])
        return np.asarray(weight, np.float32)


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
        self.label = torch.from_numpy(target.mixed())
        weight = target.weights()
        self.weight = None if weight is None else torch.from_numpy(weight)

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the batch's own rows."""
        return rows

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of logits, shape (B,) or (B, T); of several labels their mean."""
        weight = None if self.weight is None else self.weight[chosen]
        if weight is not None and weight.dim() < output.dim():
            weight = weight.unsqueeze(1)
        return torch.nn.functional.binary_cross_entropy_with_logits(
            output, self.label[chosen], weight
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
