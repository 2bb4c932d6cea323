"""Layers that parts of a network are made of. Every weight is drawn from a given generator.

Shapes are written with named axes: B batch, I inputs, H neurons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from recprune.errors import ParameterError
from recprune.models.draws import Draws, uniform
from recprune.models.taps import Tap

__all__ = ["MLP", "BatchNorm", "Dense", "Flow", "Hidden", "Shapes"]

#: Tensor name → shape, of one part.
Shapes = Mapping[str, tuple[int, ...]]

#: Share of a batch's statistics in the running ones.
MOMENTUM = 0.1


@dataclass(frozen=True)
class Hidden:
    """Hidden layers with ReLU.

    Args:
        sizes: neurons of each layer; empty = no hidden layers.
        batch_norm: whether each layer's pre-activations are normalised by the batch's mean and
            variance while training, and by running ones after it (Ioffe & Szegedy 2015, algorithms
            1 and 2). It is folded into the weights when a model is served.
        dropout: share of activations set to zero while training.
    """

    sizes: tuple[int, ...] = (128, 64)
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes, dropout = self.sizes, self.dropout
        if (
            isinstance(sizes, str)
            or not isinstance(sizes, Sequence)
            or not all(isinstance(h, int) and not isinstance(h, bool) and h >= 1 for h in sizes)
        ):
            raise ParameterError.of("hidden", "Hidden", "a tuple of ints ≥ 1", sizes)
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ParameterError.of("dropout", "Hidden", "a float in [0, 1)", dropout)
        object.__setattr__(self, "sizes", tuple(sizes))

    @classmethod
    def of(cls, hidden: Hidden | tuple[int, ...]) -> Hidden:
        """Return hidden layers, of which the sizes alone may be given."""
        return hidden if isinstance(hidden, Hidden) else cls(hidden)


@dataclass(frozen=True)
class Flow:
    """How values flow through a network this time.

    Args:
        taps: axis → function on its units' values.
        draws: the stream of dropout masks while training; None = the network scores.
        dropout: share of hidden activations set to zero while training.
        bf16: whether hidden layers multiply in bfloat16.
    """

    taps: Mapping[str, Tap] = field(default_factory=dict)
    draws: Draws | None = None
    dropout: float = 0.0
    bf16: bool = False

    def tap(self, axis: str, value: Tensor) -> Tensor:
        """Return what the axis's tap, if there is one, makes of its units' value."""
        return self.taps[axis](value, None) if axis in self.taps else value

    def hidden(self, axis: str, value: Tensor) -> Tensor:
        """Return a hidden layer's activations as the next layer sees them."""
        value = self.tap(axis, value)
        if self.draws is None or not self.dropout:
            return value
        kept = uniform(value.shape, self.draws) >= self.dropout
        return value * kept.to(value.device) / (1 - self.dropout)


class BatchNorm(nn.Module):
    """Normalises each column by its mean and variance, then scales and shifts it."""

    epsilon = 1e-5

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))

    def forward(self, value: Tensor, training: bool) -> Tensor:
        """Return the normalised value, shape (B, H); one row has no variance and is scored."""
        batch = training and len(value) > 1
        return nn.functional.batch_norm(
            value, self.mean, self.var, self.weight, self.bias, batch, MOMENTUM, self.epsilon
        )


class Dense(nn.Module):
    """x ↦ x·Wᵀ + b, drawn from ``generator`` alone (``nn.Linear`` draws from the global stream)."""

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator, bias: bool = True
    ) -> None:
        super().__init__()
        spread = (2 / (inputs + outputs)) ** 0.5  # Glorot & Bengio 2010, eq. 16
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=generator) * spread)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.norm: BatchNorm | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, shape (B, outputs)."""
        return nn.functional.linear(inputs, self.weight, self.bias)


class MLP(nn.Module):
    """Hidden layers with ReLU, and perhaps a linear one after them.

    Built from the shapes of its tensors: ``N.weight`` (H, I), ``N.bias`` (H,), with batch norm
    ``N.norm.weight|bias|mean|var`` (H,), and ``out.weight`` (outputs, H) with or without a bias.

    Args:
        axis: the axis of layer N's neurons is ``<axis>.N``.
        inputs: I.
        shapes: of the tensors.
        generator: of the initial weights.
    """

    def __init__(self, axis: str, inputs: int, shapes: Shapes, generator: torch.Generator) -> None:
        super().__init__()
        self.axis, width = axis, inputs
        self.layers: list[Dense] = []
        number = 0
        while f"{number}.bias" in shapes:  # a layer whose inputs were all cut has no weight
            (size,) = shapes[f"{number}.bias"]
            layer = Dense(width, size, generator)
            if f"{number}.norm.weight" in shapes:
                layer.norm = BatchNorm(size)
            self.add_module(str(number), layer)
            self.layers.append(layer)
            width, number = size, number + 1
        self.out: Dense | None = None
        if "out.weight" in shapes:
            outputs = shapes["out.weight"][0]
            self.out = Dense(width, outputs, generator, bias="out.bias" in shapes)

    def neurons(self) -> Iterator[tuple[str, Dense]]:
        """Yield each layer's axis and the layer."""
        for number, layer in enumerate(self.layers):
            yield f"{self.axis}.{number}", layer

    def forward(self, value: Tensor, flow: Flow) -> Tensor:
        """Return the last layer's outputs, shape (B, outputs or H), of inputs (B, I)."""
        with torch.autocast(value.device.type, torch.bfloat16, enabled=flow.bf16):
            for axis, layer in self.neurons():
                value = layer(value)
                if layer.norm is not None:
                    value = layer.norm(value, flow.draws is not None)
                value = flow.hidden(axis, torch.relu(value))
        value = value.float()
        return value if self.out is None else self.out(value)
