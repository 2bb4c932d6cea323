"""The parts of a model beside first order, FM and plain hidden layers: one class each.

Named axes: n rows, F fields, I inputs (the fields' embeddings side by side), D dims, P pairs, H
neurons, V length of a tower's vector. A part says what the fields shall sum up for it (``read``
returns that matrix, (I, k)), and adds its logit from those sums and from the embeddings themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError
from recprune.runtime.chain import Chain, first_and_rest
from recprune.runtime.inputs import Inputs
from recprune.runtime.tensors import F32, F64, Tensors

__all__ = ["NEED_EMBEDDING", "READERS", "Part", "Shared", "Towers"]


class Part(Protocol):
    """A term of the logit."""

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the term, shape (n,).

        Args:
            sums: the product that the fields summed up for it, (n, k).
            x: the embeddings, (n, I); of no columns where no part needs them.
        """


class Pairs:
    """FwFM: Σ_p w_p ⟨e_i, e_j⟩ (Pan et al. 2018, eq. 5)."""

    def __init__(self, strength: F32, inputs: Inputs) -> None:
        self.strength, self.inputs = strength, inputs

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Part]:
        """Take ``pairs.weight``, (P,)."""
        left, right = inputs.pairs(range(len(inputs.dims)))
        if (np.minimum(left, right) < 0).any():
            raise ArtifactError("Axis 'pairs' has a unit that does not stand on two fields.")
        strength = np.zeros((len(inputs.dims), len(inputs.dims)), np.float32)
        np.add.at(strength, (left, right), tensors.take("pairs.weight", len(left)))
        return np.empty((inputs.size, 0)), cls(strength + strength.T, inputs)

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
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Part]:
        """Take ``cross.N``, (I, I) and (I,), and ``cross.out.weight``, (1, I)."""
        layers = _CrossLayers(tensors, "cross", inputs.size)
        out = tensors.take("cross.out.weight", 1, inputs.size)[0].astype(np.float32)
        return np.empty((inputs.size, 0)), cls(layers, out)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the last cross layer's weighted sum."""
        return self.layers(x) @ self.out


class Stack:
    """DCNv2, stacked: hidden layers on the crossed inputs."""

    def __init__(self, cross: _CrossLayers, first: F32, rest: Chain) -> None:
        self.cross, self.first, self.rest = cross, first, rest

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Part]:
        """Take ``stack.cross.N``, ``stack.mlp.N`` and ``stack.mlp.out.weight``, (1, H)."""
        cross = _CrossLayers(tensors, "stack.cross", inputs.size)
        first, rest = _perceptron(tensors, "stack.mlp", inputs.size, 1, bias=False)
        return np.empty((inputs.size, 0)), cls(cross, first.astype(np.float32), rest)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the hidden layers' output on the crossed inputs."""
        return self.rest(self.cross(x) @ self.first)[:, 0]


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
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Part]:
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
        return np.empty((inputs.size, 0)), cls((one, two), (outs[0], outs[1]), fuse)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return w₁·o₁ + w₂·o₂ + Σ_j xᵀ_j·W_j·y_j: the heads stand on one matrix's diagonal."""
        one, two = (stream(x) for stream in self.streams)
        logit: F32 = np.einsum("nh,nh->n", one @ self.fuse + self.outs[1], two)
        return logit + one @ self.outs[0]


class Dot:
    """DLRM: inner products of all vectors, then hidden layers (Naumov et al. 2019, section 2.1).

    Args:
        bottom: the numeric fields' hidden layers; None = no numeric fields.
        lift: z, (n, D_b) ↦ its place among the model's dims, (D_b, D).
        vectors: positions of the fields that are vectors.
        pairs: places of both members among [z,] vectors, two of (P,).
    """

    def __init__(
        self,
        bottom: tuple[Chain, F32] | None,
        top: tuple[F32, Chain],
        vectors: list[int],
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
        inputs: Inputs,
    ) -> None:
        self.bottom, self.top, self.vectors, self.pairs = bottom, top, vectors, pairs
        self.inputs = inputs

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Part]:
        """Take ``dot.bottom``, where there are numeric fields, and ``dot.top``."""
        numeric = list(inputs.numeric)
        vectors = [i for i in range(len(inputs.dims)) if i not in numeric]
        matrix, bottom, length = np.empty((inputs.size, 0)), None, 0
        if numeric or tensors.has("dot.bottom.out.bias"):
            columns = inputs.columns(numeric)
            first, rest = _perceptron(
                tensors, "dot.bottom", len(columns), None, bias=True, relu=True
            )
            matrix = np.zeros((inputs.size, first.shape[1]))
            matrix[columns] = first
            length = len(rest.layers[-1][1]) if rest.layers else first.shape[1]
            units = _units_of(inputs, "dot.bottom.out.weight", length)
            lift = (units[:, None] == inputs.union[None]).astype(np.float32)
            bottom = rest, lift
        # z stands first among the vectors, where there is one.
        places = {i: n + (bottom is not None) for n, i in enumerate(vectors)}
        if bottom is not None:
            places[-1] = 0
        left, right = (
            np.array([places.get(i, -1) for i in side], np.intp) for side in inputs.pairs(vectors)
        )
        if (np.minimum(left, right) < 0).any():
            raise ArtifactError("Axis 'pairs' has a unit on the numeric fields, which are absent.")
        first, rest = _perceptron(tensors, "dot.top", length + len(left), 1, bias=False)
        return matrix, cls(bottom, (first.astype(np.float32), rest), vectors, (left, right), inputs)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the top layers' output on [z, inner products]."""
        value = self.inputs.by_dim(x)[:, self.vectors]
        known = []
        if self.bottom is not None:
            rest, lift = self.bottom
            z = rest(sums)
            known.append(z)
            value = np.concatenate([(z @ lift)[:, None], value], axis=1)
        left, right = self.pairs
        products = np.matmul(value, value.transpose(0, 2, 1))[:, left, right]
        first, rest = self.top
        return rest(np.concatenate([*known, products], axis=1) @ first)[:, 0]


class Shared:
    """Hidden layers that all labels share, then each label's own (Caruana 1997).

    Args:
        bottom: the shared ones.
        tops: each label's, in order.
        label: position of the label that is answered.
    """

    def __init__(self, bottom: Chain, tops: list[tuple[F32, Chain]], label: int = 0) -> None:
        self.bottom, self.tops, self.label = bottom, tops, label

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Shared]:
        """Take ``shared.bottom.N``, then ``shared.t.N`` and ``shared.t.out.weight``, (1, H)."""
        layers = tensors.hidden("shared.bottom", inputs.size)
        matrix, bottom = first_and_rest(layers, inputs.size, relu=True)
        width = len(layers[-1][1]) if layers else inputs.size
        tops: list[tuple[F32, Chain]] = []
        while tensors.has(f"shared.{len(tops)}.out.weight"):
            first, rest = _perceptron(tensors, f"shared.{len(tops)}", width, 1, bias=False)
            tops.append((first.astype(np.float32), rest))
        return matrix, cls(bottom, tops)

    def of(self, label: int) -> Shared:
        """Return the same part, answering another label."""
        return Shared(self.bottom, self.tops, label)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the label's own layers' output on the shared ones."""
        first, rest = self.tops[self.label]
        return rest(self.bottom(sums) @ first)[:, 0]


class Towers:
    """Two towers: ⟨u, v⟩ of a user's and an item's vector (Yi et al. 2019, section 3).

    Args:
        user: what follows the first product of the fields of source user and context.
        item: the same of source item.
        width: columns of the user's first product; the item's follow.
    """

    def __init__(self, user: Chain, item: Chain, width: int) -> None:
        self.user, self.item, self.width = user, item, width

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Towers]:
        """Take ``towers.user`` and ``towers.item``: hidden layers and ``out``, (V, H) and (V,)."""
        if inputs.of("cross"):
            raise ArtifactError("A model of two towers cannot have cross fields.")
        parts, length = [], None
        for name, sources in (("user", ("user", "context")), ("item", ("item",))):
            columns = inputs.columns(inputs.of(*sources))
            first, rest = _perceptron(tensors, f"towers.{name}", len(columns), length, bias=True)
            length = len(rest.layers[-1][1] if rest.layers else rest.bias)
            matrix = np.zeros((inputs.size, first.shape[1]))
            matrix[columns] = first
            parts.append((matrix, rest))
        (left, user), (right, item) = parts
        return np.concatenate([left, right], axis=1), cls(user, item, left.shape[1])

    def users(self, sums: F32) -> F32:
        """Return the users' vectors, (n, V), from summed products."""
        return self.user(sums[:, : self.width])

    def items(self, sums: F32) -> F32:
        """Return the items' vectors, (n, V), from summed products."""
        return self.item(sums[:, self.width :])

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the inner products."""
        logit: F32 = np.einsum("nv,nv->n", self.users(sums), self.items(sums))
        return logit


#: The parts that read the embeddings themselves, beside the sums.
NEED_EMBEDDING = frozenset({"pairs", "cross", "stack", "final", "dot"})

#: Name in an artefact's ``parts`` → what takes its tensors: returns the matrix, (I, k), whose
#: product with the embeddings the fields sum up, and the part.
READERS: dict[str, Callable[[Tensors, Inputs], tuple[F64, Part]]] = {
    "pairs": Pairs.read,
    "cross": Cross.read,
    "stack": Stack.read,
    "final": Final.read,
    "dot": Dot.read,
    "shared": Shared.read,
    "towers": Towers.read,
}


def _perceptron(
    tensors: Tensors,
    name: str,
    width: int,
    outputs: int | None,
    *,
    bias: bool,
    relu: bool = False,
) -> tuple[F64, Chain]:
    """Take hidden layers and ``name.out`` on so many inputs; see :func:`first_and_rest`."""
    layers = tensors.hidden(name, width)
    last = len(layers[-1][1]) if layers else width
    layers.append(tensors.layer(f"{name}.out", outputs, last, bias))
    return first_and_rest(layers, width, relu)


def _units_of(inputs: Inputs, tensor: str, size: int) -> NDArray[np.int32]:
    """Return the original coordinates of a tensor's rows."""
    for axis in inputs.layout.axes.values():
        if any(use.tensor == tensor and use.dim == 0 and not use.offset for use in axis.uses):
            if len(axis.units) != size:
                raise ArtifactError(f"Tensor {tensor!r} has other units than axis {axis.name!r}.")
            return axis.units
    return np.arange(size, dtype=np.int32)
