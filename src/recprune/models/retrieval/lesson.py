"""What a retriever's training minimises: its own objective, and perhaps a teacher's logits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.models.objective import Objective

__all__ = ["Lesson"]

#: A table row's step is about as long as in batches of so many rows.
ROWS = 128


class Lesson:
    """An objective, cross-entropy of the positives' logits with a teacher's, and even steps.

    A user is in a batch once or not at all, so that the gradient of their row in a mean loss is the
    smaller, the larger the batch. Vectors start near zero, where it is small anyway, and Adam's
    epsilon would hold them there: it is scaled up to that of a small batch. Adam's other steps do
    not depend on the scale, and the loss that is returned stays the mean.

    Args:
        objective: the retriever's own; its outputs start with the batch's.
        teacher: logits of the training rows, shape ``(n,)``; None = no teacher.
        weight: share of the teacher in the loss (Hinton et al. 2015, section 2, at temperature 1).
    """

    def __init__(
        self, objective: Objective, teacher: NDArray[np.float32] | None, weight: float = 0.5
    ) -> None:
        self.objective, self.weight = objective, weight
        self.soft = None if teacher is None else torch.from_numpy(teacher).sigmoid()

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the objective's rows."""
        return self.objective.rows(rows, chosen, draws)

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        loss = self.objective.loss(output, chosen)
        if self.soft is not None:
            taught = torch.nn.functional.binary_cross_entropy_with_logits(
                output[: len(chosen)], self.soft[chosen].to(output.device)
            )
            loss = (1 - self.weight) * loss + self.weight * taught
        return loss + (len(chosen) / ROWS - 1) * (loss - loss.detach())
