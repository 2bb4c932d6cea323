"""Layers one after the other, with a relu between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recprune.runtime.tensors import F32, F64, Layer

__all__ = ["Chain", "first_and_rest"]


class Chain:
    """What follows the first layer's product: its bias, a relu, the next layer, …

    Args:
        bias: of the first layer, shape (H,).
        layers: the later ones.
        relu: whether one stands at the end too.
    """

    def __init__(self, bias: F64, layers: Sequence[Layer], relu: bool) -> None:
        self.bias: F32 = bias.astype(np.float32)
        self.layers = [
            (np.ascontiguousarray(weight.T, np.float32), add.astype(np.float32))
            for weight, add in layers
        ]
        self.relu = relu

    def __call__(self, product: F32) -> F32:
        """Return the last layer's outputs, (n, H_out), from the first one's W·x, (n, H)."""
        value: F32 = product + self.bias
        for matrix, bias in self.layers:
            value = np.maximum(value, 0, out=value) @ matrix
            value += bias
        return np.maximum(value, 0, out=value) if self.relu else value


def first_and_rest(layers: Sequence[Layer], width: int, relu: bool) -> tuple[F64, Chain]:
    """Return the first layer's matrix, (width, H), and the chain after its product.

    Args:
        layers: none = what comes in goes out.
        width: number of inputs.
        relu: whether one stands at the end too.
    """
    if not layers:
        return np.eye(width), Chain(np.zeros(width), (), False)
    (weight, bias), *later = layers
    return weight.T, Chain(bias, later, relu)
