"""Two towers: hidden layers on a user's fields, hidden layers on an item's, and their inner product."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recprune.axes import Use
from recprune.models.draft import Draft
from recprune.models.layers import MLP, Flow, Hidden
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["SIDES", "VECTOR", "VECTORS", "TowersPart"]

#: Tower → sources of the fields that it reads.
SIDES = {"user": ("user", "context"), "item": ("item",)}
#: The axis of the vectors' own dims: outputs of both towers, no dims of a field.
VECTOR = "neurons.towers.vector"
#: The tap of both vectors at once, which is no axis's.
VECTORS = "towers"


class TowersPart(Part):
    """⟨user vector, item vector⟩ (Yi et al. 2019, section 3).

    The tap of the axis ``VECTOR`` sees the user's vector, (B, V): a dim of it scales the product of
    that dim. The tap ``VECTORS`` sees both, (B, 2, V), the user's first.
    """

    rotates = True

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.fields = {
            side: shape.inputs(shape.of_source(*sources)) for side, sources in SIDES.items()
        }
        for side, inputs in self.fields.items():
            shapes = shape.shapes(f"towers.{side}")
            self.add_module(side, MLP(f"neurons.towers.{side}", inputs.size, shapes, generator))
            #: V, dims of the vectors.
            self.width = shapes["out.bias"][0]

    @classmethod
    def declare(cls, draft: Draft, hidden: Hidden, vector: int) -> None:
        """Declare the hidden layers of both towers and their outputs, V = ``vector``."""
        uses = []
        for side, sources in SIDES.items():
            prefix, axis = f"towers.{side}", f"neurons.towers.{side}"
            width = draft.inputs(f"{prefix}.0.weight", 1, draft.of_source(*sources))
            width = draft.hidden(prefix, axis, width, hidden)
            out = draft.tensor(f"{prefix}.out.weight", vector, width)
            draft.after(f"{axis}.{len(hidden.sizes) - 1}", out)
            uses += [Use(out, 0), Use(draft.tensor(f"{prefix}.out.bias", vector), 0)]
        draft.axis(VECTOR, "neuron", vector, uses)
        draft.parts.append("towers")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the towers' first layers read."""
        return {f"{side}.0.weight": {1: inputs} for side, inputs in self.fields.items()}

    def vector(self, side: str, embedding: Tensor, flow: Flow) -> Tensor:
        """Return one tower's vectors, shape (B, V), of all fields' embeddings (B, F, D)."""
        out: Tensor = self.get_submodule(side)(self.fields[side].of(embedding), flow)
        return out

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the inner products, shape (B,)."""
        user, item = (self.vector(side, embedding, flow) for side in SIDES)
        both = torch.stack([flow.tap(VECTOR, user), item], dim=1)
        user, item = flow.tap(VECTORS, both).unbind(1)
        product: Tensor = torch.linalg.vecdot(user, item)
        return product
