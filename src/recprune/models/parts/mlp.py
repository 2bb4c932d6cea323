"""Hidden layers on the embeddings of all fields."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recprune.models.draft import Draft
from recprune.models.layers import MLP, Flow, Hidden
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["MLPPart"]


class MLPPart(MLP, Part):
    """Hidden layers and one output (the deep side of Wide & Deep: Cheng et al. 2016, eq. 2)."""

    rotates = True

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        fields = shape.inputs()
        super().__init__("neurons", fields.size, shape.shapes("mlp"), generator)
        self.fields = fields

    @classmethod
    def declare(cls, draft: Draft, hidden: Hidden) -> None:
        """Declare the layers and an output without a bias (the model has one)."""
        width = draft.inputs("mlp.0.weight", 1)
        width = draft.hidden("mlp", "neurons", width, hidden)
        out = draft.tensor("mlp.out.weight", 1, width)
        draft.after(f"neurons.{len(hidden.sizes) - 1}", out)
        draft.parts.append("mlp")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the first layer reads."""
        return {"0.weight": {1: self.fields}}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the output, shape (B,)."""
        return MLP.forward(self, self.fields.of(embedding), flow).squeeze(1)
