"""The parts by which fields interact: pairs, cross layers, gated streams, inner products.

Named axes: n rows, F fields, I inputs (the fields' embeddings side by side), D dims, P pairs, H
neurons. See :mod:`recprune.runtime.parts` for what a part is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError
from recprune.runtime.chain import Perceptron, first_and_rest
from recprune.runtime.inputs import Inputs
from recprune.runtime.tensors import F32, F64, Tensors

__all__ = ["Cross", "Dot", "Final", "Pairs", "Stack", "nothing", "units_of"]


def nothing(inputs: Inputs) -> F64:
    """Return the matrix of a part for which nothing is summed up."""
    return np.empty((inputs.size, 0))


class Pairs:
    """FwFM: Σ_p w_p ⟨e_i, e_j⟩ (Pan et al. 2018, eq. 5)."""

    def __init__(self, strength: F32, inputs: Inputs) -> None:
        self.strength, self.inputs = strength, inputs

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Pairs]:
        """Take ``pairs.weight``, (P,)."""
        left, right = inputs.pairs(range(len(inputs.dims)))
        if (np.minimum(left, right) < 0).any():
            raise ArtifactError("Axis 'pairs' has a unit that does not stand on two fields.")
        strength = np.zeros((len(inputs.dims), len(inputs.dims)), np.float32)
        np.add.at(strength, (left, right), tensors.take("pairs.weight", len(left)))
        return nothing(inputs), cls(strength + strength.T, inputs)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return ½ Σ_d eᵀ_d·R·e_d, where R, (F, F), holds each pair's weight twice."""
        value = self.inputs.by_dim(x)
        logit: F32 = np.einsum("nfd,nfd->n", np.matmul(self.strength, value), value)
        return 0.5 * logit


class _CrossLayers:
    """x ↦ x₀ ⊙ (W·x + b) + x, again and again (Wang et al. 2021, eq. 1)."""

    def __init__(self, tensors: Tensors, name: str, width: int) -> None:
        layers = [tensors.layer(stage, width, width) for stage in tensors.stages(name)]
        self.layers = [(w.T.astype(np.float32, "C"), b.astype(np.float32)) for w, b in layers]

    def __call__(self, x: F32) -> F32:
        value = x
        for matrix, bias in self.layers:
            product: F32 = value @ matrix
            product += bias
            product *= x
            product += value
            value = product
        return value


class Cross:
    """DCNv2, parallel: cross layers and one weight a crossed input."""

    def __init__(self, layers: _CrossLayers, out: F32) -> None:
        self.layers, self.out = layers, out

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Cross]:
        """Take ``cross.N``, (I, I) and (I,), and ``cross.out.weight``, (1, I)."""
        layers = _CrossLayers(tensors, "cross", inputs.size)
        out = tensors.take("cross.out.weight", 1, inputs.size)[0].astype(np.float32)
        return nothing(inputs), cls(layers, out)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the last cross layer's weighted sum."""
        return self.layers(x) @ self.out


class Stack:
    """DCNv2, stacked: hidden layers on the crossed inputs."""

    def __init__(self, cross: _CrossLayers, top: Perceptron) -> None:
        self.cross, self.top = cross, top

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Stack]:
        """Take ``stack.cross.N``, ``stack.mlp.N`` and ``stack.mlp.out.weight``, (1, H)."""
        cross = _CrossLayers(tensors, "stack.cross", inputs.size)
        return nothing(inputs), cls(cross, Perceptron.read(tensors, "stack.mlp", inputs.size, 1))

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the hidden layers' output on the crossed inputs."""
        return self.top(self.cross(x))[:, 0]


class _Stream:
    """One of FinalMLP's two: hidden layers on inputs that a gate weighs."""

    def __init__(self, tensors: Tensors, inputs: Inputs, number: int, source: str) -> None:
        self.context = inputs.columns(inputs.of(source))
        gate, bias = tensors.layer(f"final.gate{number}", inputs.size, len(self.context))
        layers = tensors.hidden(f"final.stream{number}", inputs.size)
        first, self.rest = first_and_rest(layers, inputs.size, relu=True)
        self.gate: F32 = gate.T.astype(np.float32, "C")
        self.gate_bias: F32 = bias.astype(np.float32)
        self.first: F32 = first.astype(np.float32)
        self.width = first.shape[1] if len(layers) < 2 else len(layers[-1][1])

    def __call__(self, x: F32) -> F32:
        """Return the last layer, (n, H), on 2σ(W·c + b) ⊙ x with c the context's columns."""
        product = x[:, self.context] @ self.gate
        product += self.gate_bias
        # 2σ(a) = 1 + tanh(a / 2), which cannot overflow.
        gate = np.tanh(np.multiply(product, 0.5, out=product), out=product)
        gate += 1
        gate *= x
        return self.rest(gate @ self.first)


class Final:
    """FinalMLP: two gated streams, fused by a bilinear form a head (Mao et al. 2023, eq. 3-9)."""

    def __init__(self, streams: tuple[_Stream, _Stream], outs: tuple[F32, F32], fuse: F32) -> None:
        self.streams, self.outs, self.fuse = streams, outs, fuse

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Final]:
        """Take gates, streams, ``final.outK.weight``, (1, H_K), and ``final.head.j.weight``."""
        one, two = _Stream(tensors, inputs, 1, "user"), _Stream(tensors, inputs, 2, "item")
        outs = [
            tensors.take(f"final.out{k}.weight", 1, stream.width)[0].astype(np.float32)
            for k, stream in ((1, one), (2, two))
        ]
        fuse = np.zeros((one.width, two.width), np.float32)
        row = column = 0
        for stage in tensors.stages("final.head"):
            head = tensors.take(f"{stage}.weight", None, None)
            rows, columns = row + head.shape[0], column + head.shape[1]
            if rows > one.width or columns > two.width:
                break
            fuse[row:rows, column:columns] = head
            row, column = rows, columns
        if (row, column) != fuse.shape:
            raise ArtifactError(
                f"The heads 'final.head' must share out {one.width} and {two.width} neurons."
            )
        return nothing(inputs), cls((one, two), (outs[0], outs[1]), fuse)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return w₁·o₁ + w₂·o₂ + Σ_j xᵀ_j·W_j·y_j: the heads stand on one matrix's diagonal."""
        one, two = (stream(x) for stream in self.streams)
        logit: F32 = np.einsum("nh,nh->n", one @ self.fuse + self.outs[1], two)
        return logit + one @ self.outs[0]


class Dot:
    """DLRM: inner products of all vectors, then hidden layers (Naumov et al. 2019, section 2.1).

    Args:
        bottom: what makes z, (n, D_b), of the numeric fields' embeddings, and where its numbers
            stand among the model's dims, (D_b, D); None = no numeric fields.
        top: the hidden layers.
        vectors: positions of the fields that are vectors.
        pairs: places of both members among [z,] vectors, two of (P,).
        inputs: the fields.
    """

    def __init__(
        self,
        bottom: tuple[Perceptron, F32] | None,
        top: Perceptron,
        vectors: list[int],
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
        inputs: Inputs,
    ) -> None:
        self.bottom, self.top, self.vectors, self.pairs = bottom, top, vectors, pairs
        self.inputs = inputs

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Dot]:
        """Take ``dot.bottom``, where there are numeric fields, and ``dot.top``."""
        numeric = list(inputs.numeric)
        vectors = [i for i in range(len(inputs.dims)) if i not in numeric]
        bottom, length = None, 0
        if numeric or tensors.has("dot.bottom.out.bias"):
            layers = Perceptron.read(
                tensors, "dot.bottom", inputs.columns(numeric), bias=True, relu=True
            )
            length = layers.outputs
            units = units_of(inputs, "dot.bottom.out.weight", length)
            bottom = layers, (units[:, None] == inputs.union[None]).astype(np.float32)
        # z stands first among the vectors, where there is one.
        places = {i: n + (bottom is not None) for n, i in enumerate(vectors)}
        if bottom is not None:
            places[-1] = 0
        left, right = (
            np.array([places.get(i, -1) for i in side], np.intp) for side in inputs.pairs(vectors)
        )
        if (np.minimum(left, right) < 0).any():
            raise ArtifactError("Axis 'pairs' has a unit on the numeric fields, which are absent.")
        top = Perceptron.read(tensors, "dot.top", length + len(left), 1)
        return nothing(inputs), cls(bottom, top, vectors, (left, right), inputs)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the top layers' output on [z, inner products]."""
        value = self.inputs.by_dim(x)[:, self.vectors]
        known = []
        if self.bottom is not None:
            layers, lift = self.bottom
            z = layers(x)
            known.append(z)
            value = np.concatenate([(z @ lift)[:, None], value], axis=1)
        left, right = self.pairs
        products = np.matmul(value, value.transpose(0, 2, 1))[:, left, right]
        return self.top(np.concatenate([*known, products], axis=1))[:, 0]


def units_of(inputs: Inputs, tensor: str, size: int) -> NDArray[np.int32]:
    """Return the original coordinates of a tensor's rows."""
    for axis in inputs.layout.axes.values():
        if any(use.tensor == tensor and use.dim == 0 and not use.offset for use in axis.uses):
            if len(axis.units) != size:
                raise ArtifactError(f"Tensor {tensor!r} has other units than axis {axis.name!r}.")
            return axis.units
    return np.arange(size, dtype=np.int32)
