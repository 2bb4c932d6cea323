"""Pairs of fields by inner products, all alike or each with a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recprune.axes import Use
from recprune.models.draft import Draft
from recprune.models.layers import Flow
from recprune.models.parts.base import Part, Shape

__all__ = ["FMPart", "PairsPart"]


class FMPart(Part):
    """Σ over pairs ⟨e_i, e_j⟩, in linear time (Rendle 2010, lemma 3.1)."""

    rotates = True

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()

    @classmethod
    def declare(cls, draft: Draft) -> None:
        """Declare nothing: the pairs have no weights of their own."""
        draft.parts.append("fm")

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the sum over pairs, shape (B,)."""
        if not torch.is_grad_enabled():  # for one row, the function's frame is most of its time
            return _products(embedding, embedding.sum(dim=1))
        products: Tensor = _Products.apply(embedding)  # type: ignore[no-untyped-call]
        return products


def _products(embedding: Tensor, total: Tensor) -> Tensor:
    """Return the sum over pairs, shape (B,), of embeddings (B, F, D) and their sums (B, D)."""
    flat = embedding.flatten(1)
    pairs: Tensor = total.square().sum(dim=1) - torch.linalg.vecdot(flat, flat)
    return 0.5 * pairs


class _Products(torch.autograd.Function):
    """The sum over pairs with its gradient, Σ_j e_j − e_i, in two passes."""

    @staticmethod
    def forward(ctx: Any, embedding: Tensor) -> Tensor:
        """Return the sum over pairs, shape (B,), of embeddings (B, F, D)."""
        total = embedding.sum(dim=1)
        ctx.save_for_backward(embedding, total)
        return _products(embedding, total)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """Return the gradient, shape (B, F, D)."""
        embedding, total = ctx.saved_tensors
        away: Tensor = total.unsqueeze(1) - embedding
        return away.mul_(slope[:, None, None])


class PairsPart(Part):
    """Σ over pairs w_ij ⟨e_i, e_j⟩ (FwFM: Pan et al. 2018, eq. 5). The weights start at one."""

    rotates = True

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        left, right = shape.members(shape.layout.axes["pairs"])
        self.at: Tensor
        self.register_buffer("at", torch.from_numpy(np.stack([left, right])), persistent=False)
        self.weight = nn.Parameter(torch.ones(len(left)))

    @classmethod
    def declare(cls, draft: Draft) -> None:
        """Declare one weight a pair of fields."""
        fields = range(len(draft.names))
        weight = "pairs.weight"
        draft.tensor(weight, draft.pairs([Use(weight, 0)], fields))
        draft.parts.append("pairs")

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the weighted sum over pairs, shape (B,)."""
        gram = torch.bmm(embedding, embedding.transpose(1, 2))
        return flow.tap("pairs", gram[:, self.at[0], self.at[1]]) @ self.weight
