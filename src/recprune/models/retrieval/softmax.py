"""Softmax over the items of a batch, corrected for how often each of them gets there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.models.retrieval.positives import Positives

__all__ = ["InBatchSoftmax", "in_batch_loss"]

Index = NDArray[np.int64]


class InBatchSoftmax:
    """Each row's item against the other rows' items (Yi et al. 2019, eq. 3–5).

    An item gets into a batch as often as it is among the positives, so that popular items are
    negatives more often than they deserve: ln of that share is taken from every score. The share is
    counted, not estimated from a stream as in the paper's section 4. Negatives that the row's user
    took, and other rows of the same item, are left out.

    The vectors are read where they flow through the network: :meth:`see` is a tap.

    Args:
        positives: the training rows.
        temperature: scores are divided by it.
        corrected: whether the share is taken off.

    Raises:
        DataError: all positives are of one item.
    """

    def __init__(
        self, positives: Positives, temperature: float = 1.0, corrected: bool = True
    ) -> None:
        count = np.bincount(positives.items, minlength=positives.window.n_items)
        if (count > 0).sum() < 2:
            raise DataError(
                "All positives are of one item: there is nothing to tell it from. Train on more items."
            )
        self.positives, self.temperature = positives, temperature
        share = np.maximum(count, 1) / len(positives)
        self.log_share = torch.from_numpy(np.log(share).astype(np.float32)) if corrected else None
        self.weight = None if positives.weight is None else torch.from_numpy(positives.weight)
        self._batch: Index = np.empty(0, np.int64)
        self._seen: Tensor | None = None

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return the batch's own rows."""
        self._batch = chosen.numpy()
        return rows

    def see(self, vectors: Tensor, _: Tensor | None) -> Tensor:
        """Keep the vectors of users and items, shape (B, 2, V), for the loss, and return them."""
        self._seen = vectors
        return vectors

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean loss of the batch's vectors, seen last, or of some of its rows.

        The logits, shape (B,), are not needed.
        """
        assert self._seen is not None, "the network never ran through the tap"
        at = chosen.numpy()
        user, item = self._seen[np.flatnonzero(np.isin(self._batch, at))].unbind(1)
        items = self.positives.items[at]
        hidden = torch.from_numpy(self._hidden(self.positives.users[at], items))
        log_share = None if self.log_share is None else self.log_share[items]
        weight = None if self.weight is None else self.weight[chosen]
        device = output.device
        return in_batch_loss(
            user @ item.T / self.temperature,
            hidden.to(device),
            None if log_share is None else log_share.to(device),
            None if weight is None else weight.to(device),
        )

    def _hidden(self, users: Index, items: Index) -> NDArray[np.bool_]:
        """Return which items of the batch are no negatives of a row, shape (B, B)."""
        some, column = np.unique(items, return_inverse=True)
        window = self.positives.window
        place = np.full(window.n_items, -1, np.int64)
        place[some] = np.arange(len(some))
        # All pairs of the batch's users, user after user.
        start, stop = window.starts[users], window.starts[users + 1]
        length = stop - start
        row = np.repeat(np.arange(len(users)), length)
        pair = np.arange(len(row)) + np.repeat(start - (np.cumsum(length) - length), length)
        there = place[window.pairs[pair] % window.n_items]
        taken = np.zeros((len(users), len(some)), np.bool_)
        taken[row[there >= 0], there[there >= 0]] = True
        hidden: NDArray[np.bool_] = taken[:, column]
        np.fill_diagonal(hidden, False)
        return hidden


def in_batch_loss(
    score: Tensor, hidden: Tensor, log_share: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy of each row's own item, a scalar (Yi et al. 2019, eq. 4–5).

    Args:
        score: row i's user with row j's item, shape (B, B); the diagonal is what was taken.
        hidden: which of them are left out, shape (B, B).
        log_share: ln of the share of each row's item in the training rows, shape (B,); None = no
            correction.
        weight: how much each row counts, mean about 1, shape (B,); None = alike.
    """
    if log_share is not None:
        score = score - log_share
    score = score.masked_fill(hidden, -torch.inf)
    loss = torch.logsumexp(score, dim=1) - score.diagonal()
    return (loss if weight is None else loss * weight).mean()
