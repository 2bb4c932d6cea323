"""Several labels: hidden layers that all share, then each label's own (Caruana 1997)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recprune.models.draft import Draft
from recprune.models.layers import MLP, Flow, Hidden
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["SharedPart"]

AXIS = "neurons.shared"


class SharedPart(Part):
    """One logit a label, of hidden layers on shared ones."""

    rotates = True

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.fields = shape.inputs()
        shapes = shape.shapes("shared.bottom")
        self.bottom = MLP(f"{AXIS}.bottom", self.fields.size, shapes, generator)
        width = self.bottom.layers[-1].weight.shape[0]
        self.tasks: list[MLP] = []
        for number in range(shape.layout.shapes["bias"][0]):
            own = shape.shapes(f"shared.{number}")
            task = MLP(f"{AXIS}.{number}", width, own, generator)
            self.add_module(str(number), task)
            self.tasks.append(task)

    @classmethod
    def declare(cls, draft: Draft, bottom: Hidden, own: Hidden, labels: int) -> None:
        """Declare the shared layers, and each label's layers and output."""
        width = draft.inputs("shared.bottom.0.weight", 1)
        width = draft.hidden("shared.bottom", f"{AXIS}.bottom", width, bottom)
        for number in range(labels):
            prefix, axis = f"shared.{number}", f"{AXIS}.{number}"
            last = f"{AXIS}.bottom.{len(bottom.sizes) - 1}"
            if own.sizes:
                draft.after(last, f"{prefix}.0.weight")
                last = f"{axis}.{len(own.sizes) - 1}"
            out = draft.hidden(prefix, axis, width, own)
            draft.after(last, draft.tensor(f"{prefix}.out.weight", 1, out))
        draft.parts.append("shared")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the first shared layer reads."""
        return {"bottom.0.weight": {1: self.fields}}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the logits, shape (B, T), or (B,) of one label."""
        value = self.bottom(self.fields.of(embedding), flow)
        logits = torch.cat([task(value, flow) for task in self.tasks], dim=1)
        return logits if len(self.tasks) > 1 else logits.squeeze(1)
