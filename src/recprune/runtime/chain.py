"""Layers one after the other, with a relu between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recprune.runtime.tensors import F32, F64, Layer, Tensors

__all__ = ["Chain", "Perceptron", "first_and_rest"]


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


class Perceptron:
    """Hidden layers and an output on some columns of what comes in."""

    def __init__(self, columns: NDArray[np.intp] | None, first: F64, rest: Chain) -> None:
        self.columns, self.first, self.rest = columns, first.astype(np.float32), rest
        self.outputs = len(rest.layers[-1][1] if rest.layers else rest.bias)

    @classmethod
    def read(
        cls,
        tensors: Tensors,
        name: str,
        inputs: int | NDArray[np.intp],
        outputs: int | None = None,
        *,
        bias: bool = False,
        relu: bool = False,
    ) -> Perceptron:
        """Take ``name.N`` and ``name.out``.

        Args:
            tensors: where from.
            name: what their names start with.
            inputs: how many there are, or which columns are read.
            outputs: how many; None = any number.
            bias: whether the output has one.
            relu: whether one follows it.
        """
        columns = None if isinstance(inputs, int) else inputs
        width = inputs if isinstance(inputs, int) else len(inputs)
        layers = tensors.hidden(name, width)
        last = len(layers[-1][1]) if layers else width
        layers.append(tensors.layer(f"{name}.out", outputs, last, bias))
        return cls(columns, *first_and_rest(layers, width, relu))

    def __call__(self, x: F32) -> F32:
        """Return the outputs, shape (n, outputs)."""
        return self.rest((x if self.columns is None else x[:, self.columns]) @ self.first)


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
