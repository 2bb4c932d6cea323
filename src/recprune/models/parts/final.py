"""Two gated streams of hidden layers, fused by bilinear forms (FinalMLP: Mao et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recprune.models.draft import Draft
from recprune.models.layers import MLP, Dense, Flow, Hidden
from recprune.models.parts.base import Inputs, Part, Shape

__all__ = ["Bilinear", "FinalPart", "Gate"]

#: The fields whose embeddings gate a stream.
CONTEXTS = {"gate1": "user", "gate2": "item"}


class Gate(Dense):
    """2σ(W c + b) over all inputs, c the embeddings of some fields (Mao et al. 2023, eq. 4).

    Without such fields it is one learned gate for all rows, as the paper's learned context vector.
    """

    def __init__(self, inputs: Inputs, context: Inputs, generator: torch.Generator) -> None:
        super().__init__(context.size, inputs.size, generator)
        self.context = context

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the gates, shape (B, I), of the context (B, C)."""
        return 2 * torch.sigmoid(super().forward(inputs))


class FinalPart(Part):
    """out1·x + out2·y + Σ_j x_jᵀ W_j y_j of two streams x and y (Mao et al. 2023, eq. 8–10)."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.inputs = inputs = shape.inputs()
        self.gates: list[Gate] = []
        self.streams: list[MLP] = []
        self.outs: list[Dense] = []
        self.heads: list[Bilinear] = []
        shapes = shape.shapes("final")
        for number, (name, source) in enumerate(CONTEXTS.items(), start=1):
            gate = Gate(inputs, shape.inputs(shape.of_source(source)), generator)
            prefix = f"final.stream{number}"
            stream = MLP(f"neurons.{prefix}", inputs.size, shape.shapes(prefix), generator)
            out = Dense(shapes[f"out{number}.weight"][1], 1, generator, bias=False)
            self.add_module(name, gate)
            self.add_module(f"stream{number}", stream)
            self.add_module(f"out{number}", out)
            self.gates.append(gate)
            self.streams.append(stream)
            self.outs.append(out)
        self.head = nn.ModuleDict()
        while (name := f"head.{len(self.heads)}.weight") in shapes:
            head = Bilinear(shapes[name], generator)
            self.head[str(len(self.heads))] = head
            self.heads.append(head)

    @classmethod
    def declare(cls, draft: Draft, first: Hidden, second: Hidden, heads: int) -> None:
        """Declare gates, streams and ``heads`` bilinear forms; last sizes are multiples of it."""
        width, pieces = len(draft.names) * draft.dim, []
        for number, hidden in ((1, first), (2, second)):
            gate, stream = f"final.gate{number}", f"final.stream{number}"
            if context := draft.of_source(CONTEXTS[f"gate{number}"]):
                weight = draft.tensor(f"{gate}.weight", width, len(context) * draft.dim)
                draft.inputs(weight, 0)
                draft.inputs(weight, 1, context)
            draft.inputs(draft.tensor(f"{gate}.bias", width), 0)
            draft.inputs(f"{stream}.0.weight", 1)
            outputs = draft.hidden(stream, f"neurons.{stream}", width, hidden)
            last = f"neurons.{stream}.{len(hidden.sizes) - 1}"
            draft.after(last, draft.tensor(f"final.out{number}.weight", 1, outputs))
            pieces.append(draft.split(last, heads))
        for head, (x, y) in enumerate(zip(*pieces, strict=True)):
            sizes = (first.sizes[-1] // heads, second.sizes[-1] // heads)
            weight = draft.tensor(f"final.head.{head}.weight", *sizes)
            draft.after(x, weight, 0)
            draft.after(y, weight, 1)
        draft.parts.append("final")

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return what the gates and the streams' first layers run over."""
        out: dict[str, dict[int, Inputs]] = {}
        for number in (1, 2):
            context = self.gates[number - 1].context
            out[f"gate{number}.weight"] = {0: self.inputs, 1: context}
            out[f"gate{number}.bias"] = {0: self.inputs}
            out[f"stream{number}.0.weight"] = {1: self.inputs}
        return out

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return the fused output, shape (B,)."""
        flat = self.inputs.of(embedding)
        logit, sides = flat.new_zeros(len(flat)), []
        for number in (1, 2):
            gate = self.gates[number - 1]
            stream, out = self.streams[number - 1], self.outs[number - 1]
            value = stream(flat * gate(gate.context.of(embedding)), flow)
            sizes = [m.weight.shape[number - 1] for m in self.heads]
            axis = f"{stream.axis}.{len(stream.layers) - 1}"
            pieces = [
                flow.tap(f"{axis}.{head}", piece)
                for head, piece in enumerate(torch.split(value, sizes, dim=1))
            ]
            logit = logit + out(torch.cat(pieces, dim=1)).squeeze(1)
            sides.append(pieces)
        for x, y, head in zip(*sides, self.heads, strict=True):
            logit = logit + head(x, y)
        return logit


class Bilinear(nn.Module):
    """(x, y) ↦ xᵀ·W·y, with W drawn as :class:`Dense` draws its own."""

    def __init__(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(*shape, generator=generator)
        self.weight = nn.Parameter(drawn * (2 / sum(shape)) ** 0.5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the forms, shape (B,), of x (B, X) and y (B, Y)."""
        forms: Tensor = torch.linalg.vecdot(x @ self.weight, y)
        return forms
