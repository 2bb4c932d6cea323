"""Embedding tables of fewer rows than ids: a map from ids to rows stands in front."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["TABLES", "RemappedEmbedding", "RemappedEmbeddingBag", "remapped"]


class RemappedEmbedding(nn.Embedding):
    """An ``nn.Embedding`` whose ids go through ``remap`` first.

    ``num_embeddings`` and ``weight`` are of the rows that are left, shape (rows, dims); ``remap``
    is int32, shape (ids,). Ids that the uncut table did not have are an error, as they were there.

    >>> table = remapped(nn.Embedding(4, 2), torch.tensor([0, 2, 1, 2], dtype=torch.int32), 3)
    >>> table(torch.tensor([[0, 3]])).shape
    torch.Size([1, 2, 2])
    """

    remap: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of the ids, shape (*ids, dims)."""
        return super().forward(_rows(self.remap, ids))


class RemappedEmbeddingBag(nn.EmbeddingBag):
    """An ``nn.EmbeddingBag`` whose ids go through ``remap`` first; see :class:`RemappedEmbedding`."""

    remap: Tensor

    def forward(
        self, ids: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the bags, shape (bags, dims)."""
        return super().forward(_rows(self.remap, ids), offsets, per_sample_weights)


def _rows(remap: Tensor, ids: Tensor) -> Tensor:
    # index_select refuses a negative id, which plain indexing would count from the end.
    return remap.index_select(0, ids.reshape(-1)).reshape(ids.shape).to(ids.dtype)


#: Classes of table whose rows can be cut → what stands in their place.
TABLES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Embedding: RemappedEmbedding,
    nn.EmbeddingBag: RemappedEmbeddingBag,
    RemappedEmbedding: RemappedEmbedding,
    RemappedEmbeddingBag: RemappedEmbeddingBag,
}


def remapped(table: nn.Module, remap: Tensor, rows: int) -> nn.Module:
    """Return a table like this one, with the same ``weight`` object, behind ``remap``.

    Args:
        table: of a class in ``TABLES``, with its rows cut already or about to be.
        remap: row of each id, int32, shape (ids,).
        rows: rows of the table after the cut.
    """
    new = TABLES[type(table)].__new__(TABLES[type(table)])
    # Hooks, settings and whatever a user hung on the table come along; tensors stay shared.
    new.__dict__ = {**table.__dict__, "_buffers": dict(table._buffers)}
    new.register_buffer("remap", remap)
    new.num_embeddings = rows  # type: ignore[assignment]
    padding = cast("int | None", getattr(table, "padding_idx", None))
    if padding is not None and not hasattr(table, "remap"):
        new.padding_idx = int(remap[padding])  # type: ignore[assignment]
    return new


_ = torch  # the doctest's
