"""Numbers through hidden layers, then inner products of all vectors, then hidden layers (DLRM)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from recprune.axes import Use
from recprune.models.draft import Draft
from recprune.models.layers import MLP, Flow, Hidden
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["DotPart"]

BOTTOM, TOP = "neurons.dot.bottom", "neurons.dot.top"


class DotPart(Part):
    """top([z, ⟨v_i, v_j⟩]) with z = bottom(numbers) among the vectors v (Naumov et al. 2019, fig. 1).

    The bottom layers read the numeric fields' embeddings; all other fields' embeddings are vectors
    as they are. Without numeric fields there is no z.
    """

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        bottom = shape.shapes("dot.bottom")
        self.dim, self.numbers = shape.dim, shape.inputs(shape.numeric)
        self.bottom: MLP | None = None
        if bottom:
            self.bottom = MLP(BOTTOM, self.numbers.size, bottom, generator)
        axes = shape.layout.axes
        own = axes["dims.dot"].units if "dims.dot" in axes else np.empty(0, np.int32)
        self.columns = np.searchsorted(shape.units, own)
        # z stands after the fields, where place −1 finds it.
        at = np.stack(shape.members(axes["pairs"])) if "pairs" in axes else np.empty((2, 0), int)
        self.at: Tensor
        self.register_buffer("at", torch.from_numpy(at % (len(shape.sizes) + 1)), persistent=False)
        width = (bottom["out.weight"][0] if bottom else 0) + at.shape[1]
        self.top = MLP(TOP, width, shape.shapes("dot.top"), generator)

    @classmethod
    def declare(cls, draft: Draft, bottom: Hidden, top: Hidden) -> None:
        """Declare bottom and top layers; the products of pairs are inputs of the top."""
        numbers = [i for i, f in enumerate(draft.fields) if f.kind == "numeric"]
        vectors = [i for i in range(len(draft.names)) if i not in numbers]
        if numbers:
            draft.inputs("dot.bottom.0.weight", 1, numbers)
            width = draft.hidden("dot.bottom", BOTTOM, len(numbers) * draft.dim, bottom)
            out = draft.tensor("dot.bottom.out.weight", draft.dim, width)
            draft.after(f"{BOTTOM}.{len(bottom.sizes) - 1}", out)
            bias = draft.tensor("dot.bottom.out.bias", draft.dim)
            uses = [Use(out, 0), Use(bias, 0), Use("dot.top.0.weight", 1)]
            draft.axis("dims.dot", "dim", draft.dim, uses)
        offset = draft.dim if numbers else 0
        count = draft.pairs(
            [Use("dot.top.0.weight", 1, offset)], [*([-1] if numbers else []), *vectors]
        )
        width = draft.hidden("dot.top", TOP, offset + count, top)
        draft.after(f"{TOP}.{len(top.sizes) - 1}", draft.tensor("dot.top.out.weight", 1, width))
        draft.parts.append("dot")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the bottom's first layer reads."""
        return {} if self.bottom is None else {"bottom.0.weight": {1: self.numbers}}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the output, shape (B,)."""
        z = embedding.new_zeros(len(embedding), 0)
        spread = embedding.new_zeros(len(embedding), self.dim)
        if self.bottom is not None:
            z = flow.tap("dims.dot", torch.relu(self.bottom(self.numbers.of(embedding), flow)))
            spread[:, self.columns] = z
        vectors = torch.cat([embedding, spread.unsqueeze(1)], dim=1)
        gram = torch.bmm(vectors, vectors.transpose(1, 2))
        products = flow.tap("pairs", gram[:, self.at[0], self.at[1]])
        out: Tensor = self.top(torch.cat([z, products], dim=1), flow)
        return out.squeeze(1)
