"""Adagrad on the rows of a table that a batch read: the optimiser of streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["RowAdagrad"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

#: Of a coordinate that has learned nothing: as of one event whose gradient is 1, the largest of a
#: logit. Nearer to 0, a trained weight's first step would be as large as the rate, whatever it is for.
BEGUN = 1.0


class RowAdagrad:
    """Adagrad (Duchi, Hazan & Singer 2011, figure 1, diagonal), row by row.

    A coordinate's step is rate · g / √(1 + Σ g²), g the gradient of the *sum* of the batch's losses.
    What has been learned from many events moves little, and what is new moves much: online that is
    worth more than Adam's steps, which stay as large however often a row was read (McMahan et al.
    2013, *Ad click prediction: a view from the trenches*, §3.1). It takes one number a weight.

    Args:
        table: shape (R, W), updated in place.
        rate: of the steps.
    """

    def __init__(self, table: torch.Tensor, rate: float) -> None:
        self.table, self.rate = table, rate
        self.sums = torch.full_like(table, BEGUN)

    def step(self, rows: Ints, gradient: Floats, events: int) -> None:
        """Update rows, shape (U,), each once, by the gradient of the mean loss, (≥ U, W).

        Args:
            rows: of the table.
            gradient: of the mean loss of so many ``events``.
            events: of the batch.
        """
        rate, scale = np.float32(self.rate), np.float32(events)
        _descend(rows, gradient, self.table.numpy(), self.sums.numpy(), rate, scale)

    def begin(self, rows: Ints, origins: Ints) -> None:
        """Let rows, shape (U,), begin with the weights of others, and as before their first step."""
        _begin(rows, origins, self.table.numpy(), self.sums.numpy())

    def state(self, used: int) -> dict[str, NDArray[Any]]:
        """Return the first ``used`` rows' weights and sums."""
        both = {"weights": self.table, "sums": self.sums}
        return {name: tensor[:used].numpy().copy() for name, tensor in both.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        used = len(state["weights"])
        self.table[:used], self.table[used:] = torch.from_numpy(state["weights"]), 0
        self.sums[:used], self.sums[used:] = torch.from_numpy(state["sums"]), BEGUN


@compiled
def _descend(
    rows: Ints, gradient: Floats, table: Floats, sums: Floats, rate: Any, scale: Any
) -> None:
    for k in range(len(rows)):
        row = rows[k]
        for d in range(table.shape[1]):
            g = gradient[k, d] * scale
            sums[row, d] += g * g
            table[row, d] -= rate * g / np.sqrt(sums[row, d])


@compiled
def _begin(rows: Ints, origins: Ints, table: Floats, sums: Floats) -> None:
    for k in range(len(rows)):
        for d in range(table.shape[1]):
            table[rows[k], d] = table[origins[k], d]
            sums[rows[k], d] = BEGUN
