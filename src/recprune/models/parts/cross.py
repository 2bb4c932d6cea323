"""Cross layers: products of the inputs with learned combinations of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recprune.models.draft import Draft
from recprune.models.layers import MLP, Dense, Flow, Hidden, Shapes
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["CrossPart", "StackPart"]


class Crosses(nn.Module):
    """x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l (DCN-V2: Wang et al. 2021, eq. 1)."""

    def __init__(self, inputs: Inputs, shapes: Shapes, generator: torch.Generator) -> None:
        super().__init__()
        self.inputs, self.layers = inputs, list[Dense]()
        while f"{len(self.layers)}.weight" in shapes:
            layer = Dense(inputs.size, inputs.size, generator)
            self.add_module(str(len(self.layers)), layer)
            self.layers.append(layer)

    @staticmethod
    def declare_layers(draft: Draft, prefix: str, count: int) -> int:
        """Declare the layers; return their width."""
        width = len(draft.names) * draft.dim
        for number in range(count):
            weight = draft.tensor(f"{prefix}.{number}.weight", width, width)
            draft.inputs(weight, 0)
            draft.inputs(weight, 1)
            draft.inputs(draft.tensor(f"{prefix}.{number}.bias", width), 0)
        return width

    def spans(self, prefix: str = "") -> dict[str, dict[int, Inputs]]:
        """Return parameter → dim → inputs, of every layer."""
        out: dict[str, dict[int, Inputs]] = {}
        for number in range(len(self.layers)):
            out[f"{prefix}{number}.weight"] = {0: self.inputs, 1: self.inputs}
            out[f"{prefix}{number}.bias"] = {0: self.inputs}
        return out

    def crossed(self, embedding: Tensor) -> Tensor:
        """Return the last layer, shape (B, I), of embeddings (B, F, D)."""
        start = value = self.inputs.of(embedding)
        for layer in self.layers:
            value = torch.addcmul(value, start, layer(value))
        return value


class CrossPart(Crosses, Part):
    """Cross layers beside what else a model has, with an output of their own (parallel DCN-V2)."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__(shape.inputs(), shape.shapes("cross"), generator)
        self.out = Dense(self.inputs.size, 1, generator, bias=False)

    @classmethod
    def declare(cls, draft: Draft, count: int) -> None:
        """Declare the layers and the output."""
        width = cls.declare_layers(draft, "cross", count)
        draft.inputs(draft.tensor("cross.out.weight", 1, width), 1)
        draft.parts.append("cross")

    def spans(self, prefix: str = "") -> dict[str, dict[int, Inputs]]:
        """Return what the layers and the output run over."""
        return {**super().spans(prefix), f"{prefix}out.weight": {1: self.inputs}}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the output, shape (B,)."""
        out: Tensor = self.out(self.crossed(embedding))
        return out.squeeze(1)


class StackPart(Part):
    """Hidden layers on top of cross layers (stacked DCN-V2: Wang et al. 2021, section 3.4)."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        inputs = shape.inputs()
        self.cross = Crosses(inputs, shape.shapes("stack.cross"), generator)
        self.mlp = MLP("neurons.stack", inputs.size, shape.shapes("stack.mlp"), generator)

    @classmethod
    def declare(cls, draft: Draft, count: int, hidden: Hidden) -> None:
        """Declare the cross layers, the hidden ones and the output."""
        width = Crosses.declare_layers(draft, "stack.cross", count)
        draft.inputs("stack.mlp.0.weight", 1)
        width = draft.hidden("stack.mlp", "neurons.stack", width, hidden)
        out = draft.tensor("stack.mlp.out.weight", 1, width)
        draft.after(f"neurons.stack.{len(hidden.sizes) - 1}", out)
        draft.parts.append("stack")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the cross layers and the first hidden one run over."""
        return {**self.cross.spans("cross."), "mlp.0.weight": {1: self.cross.inputs}}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the output, shape (B,)."""
        out: Tensor = self.mlp(self.cross.crossed(embedding), flow)
        return out.squeeze(1)
