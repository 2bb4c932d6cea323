"""Bayesian personalised ranking: what a user took should score above what they did not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recprune.data import Negatives
from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.models.retrieval.negatives import NegativeDraws
from recprune.models.retrieval.positives import Positives

__all__ = ["Bpr", "bpr_loss"]


class Bpr:
    """−ln σ(score of a positive − score of a negative) (Rendle et al. 2009, eq. 4–6).

    The regulariser of the paper's eq. 5 is the optimiser's (``Penalty.l2``). A negative is a new
    draw at every step, its row the positive's with the item's columns exchanged. Rows of users who
    took every item have no negative and no loss.

    Args:
        positives: the training rows.
        negatives: how many a positive, and by what.

    Raises:
        DataError: every user took every item.
    """

    def __init__(self, positives: Positives, negatives: Negatives) -> None:
        self.positives, self.count = positives, negatives.per_positive
        self.draws = NegativeDraws(positives.window, negatives.power)
        free = self.draws.free[positives.users] > 0
        if not free.any():
            raise DataError(
                f"Every user took all of the {positives.window.n_items} items that can be drawn: there is "
                "nothing to rank below them. Train on more items, or draw negatives uniformly."
            )
        weight = np.ones(len(free), np.float32) if positives.weight is None else positives.weight
        self.weight = torch.from_numpy(np.where(free, weight, np.float32(0)))
        catalogue = positives.window.items
        sides = [f.name for f in catalogue.encoder.schema.fields if f.source == "item"]
        self.columns = catalogue.encoder.columns_of(sides)
        self.items = catalogue.rows.select(*self.columns)[:]

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the batch's rows, B, then ``count`` times B rows with negatives."""
        users = np.tile(self.positives.users[chosen.numpy()], self.count)
        uniform = torch.rand(len(users), generator=draws, dtype=torch.float64).numpy()
        item = np.zeros(len(users), np.int64)  # of users without a negative: counts for nothing
        free = self.draws.free[users] > 0
        item[free] = self.draws.draw(users[free], uniform[free])
        both = 1 + self.count
        out = Rows(np.tile(rows.codes, (both, 1)), np.tile(rows.shares, (both, 1)))
        for whole, own, columns in zip(
            (out.codes, out.shares),
            (self.items.codes, self.items.shares),
            self.columns,
            strict=True,
        ):
            whole[len(chosen) :, columns] = own[item]
        return out

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of scores, shape (B + count·B,)."""
        pairs = output.view(1 + self.count, len(chosen))
        return bpr_loss(pairs[0], pairs[1:], self.weight[chosen].to(output.device))


def bpr_loss(positive: Tensor, negative: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of −ln σ(positive − negative), a scalar.

    Args:
        positive: scores, shape (B,).
        negative: scores of each positive's negatives, shape (N, B).
        weight: how much each positive counts, mean about 1, shape (B,); None = alike.

    >>> bpr_loss(torch.tensor([2.0]), torch.tensor([[2.0]])).item()
    0.6931...
    """
    loss = torch.nn.functional.softplus(negative - positive)
    return (loss if weight is None else loss * weight).mean()
