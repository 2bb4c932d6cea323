"""Stops training whose loss is no number or has exploded, and says at which rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.errors import TrainingError
from recprune.models.objective import Objective

__all__ = ["Guard"]

#: A loss has exploded when its recent mean is so many times that of the first batch …
TIMES = 20.0
#: … which counts as at least ln 2, a guess's cross-entropy: a loss of 14 gives what happened a chance
#: of 10⁻⁶. A model that is trained further begins with losses near 0.
LEAST = math.log(2)
#: Weight of a step in the recent mean: one bad batch is no explosion.
RECENT = 0.1
SHOWN = 5


class Guard:
    """An objective that remembers the last batch, to name its rows should its loss be none.

    Args:
        objective: the objective proper.
        steps: steps an epoch.
        learning_rate: named in messages.
    """

    def __init__(self, objective: Objective, steps: int, learning_rate: float) -> None:
        self.objective, self.steps, self.learning_rate = objective, steps, learning_rate
        #: Losses seen, the first of them, and their recent mean.
        self.seen, self.first, self.recent = 0, 0.0, 0.0
        self._last = torch.empty(0), torch.empty(0, dtype=torch.int64)

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return what the objective reads."""
        return self.objective.rows(rows, chosen, draws)

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the objective's loss."""
        self._last = output.detach(), chosen
        return self.objective.loss(output, chosen)

    def check(self, loss: float) -> None:
        """Look at the last batch's loss, after its step: nobody waits for a device before.

        Raises:
            TrainingError: it is not finite, or has exploded. ``rows`` of the error are positions
                among the training rows: those whose own loss is not finite if it can be told, the
                batch's otherwise.
        """
        output, chosen = self._last
        if not math.isfinite(loss):
            raise self._error(f"is {loss}", self._culprits(output, chosen))
        if not self.seen:
            self.first = self.recent = loss
        self.recent += RECENT * (loss - self.recent)
        if self.recent > TIMES * max(self.first, LEAST):
            text = f"has exploded from {self.first:.3g} to {self.recent:.3g}"
            raise self._error(text, np.asarray(chosen))
        self.seen += 1

    def state(self) -> tuple[int, float, float]:
        """Return what a checkpoint needs."""
        return self.seen, self.first, self.recent

    def restore(self, state: tuple[int, float, float]) -> None:
        """Go on from a state that :meth:`state` gave."""
        self.seen, self.first, self.recent = state

    @torch.no_grad()
    def _culprits(self, output: Tensor, chosen: Tensor) -> NDArray[np.int64]:
        """Return the rows whose own loss is not finite; all of the batch's if no row's is."""
        rows = np.asarray(chosen)
        try:
            one = [self.objective.loss(output[[i]], chosen[[i]]) for i in range(len(rows))]
        except (RuntimeError, LookupError, ValueError):  # a loss of the whole batch alone
            return rows
        bad = ~np.isfinite(np.array([float(value) for value in one]))
        return rows[bad] if bad.any() else rows

    def _error(self, what: str, rows: NDArray[np.int64]) -> TrainingError:
        epoch, step = divmod(self.seen, self.steps)
        return TrainingError(
            f"The loss {what} in epoch {epoch + 1}, step {step + 1}, at {_named(rows)} of the training "
            f"rows, counted from 0. Look at their label, weight and numbers; if they are sound, lower "
            f"the learning rate (it is {self.learning_rate:g}) or warm it up.",
            rows.tolist(),
        )


def _named(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, np.sort(rows)[:SHOWN]))
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"
