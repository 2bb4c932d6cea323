"""A model's parts as nodes of a graph, one function a part; the formulae are those of its class.

Named axes: n rows, F fields, I inputs (the fields' embeddings side by side), D dims, P pairs, H
neurons, T labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from recprune.export.graph import NOTHING, Graph, Value
from recprune.runtime.inputs import Inputs
from recprune.runtime.interactions import units_of
from recprune.runtime.tensors import Layer, Tensors

__all__ = ["PARTS", "Terms"]


@dataclass(frozen=True, eq=False)
class Terms:
    """What the parts read, and what they are made with.

    Args:
        graph: what nodes and weights are added to.
        tensors: the model's, by their names in the artefact.
        inputs: the fields: places, dims, pairs.
        x: the embeddings side by side, (n, I or more).
    """

    graph: Graph
    tensors: Tensors
    inputs: Inputs
    x: Value

    @property
    def even(self) -> bool:
        """Whether x is D columns for every field, in whatever order of the fields."""
        every = len(self.inputs.dims) * len(self.inputs.union)
        return self.x.size == self.x.width == every

    @cached_property
    def by_dim(self) -> str:
        """The embeddings by field and dim, shape (n, F, D); zero where a field lacks a dim."""
        graph, x, dims = self.graph, self.x, len(self.inputs.union)
        n_fields = len(self.inputs.dims)
        if self.even:
            value = graph.op("Reshape", x.name, graph.ints(0, n_fields, dims))
            return (
                value
                if x.at is None
                else graph.op("Gather", value, graph.ints(*x.at[::dims] // dims), axis=1)
            )
        at = np.arange(x.width) if x.at is None else x.at
        spare = np.setdiff1d(np.arange(x.width), at)  # columns of zeros
        zero = int(spare[0]) if len(spare) else x.width
        place = np.full((n_fields, dims), zero, np.int64)
        for i, units in enumerate(self.inputs.dims):
            place[i, self.inputs.places(units)] = at[self.inputs.columns([i])]
        whole = Value(x.name, x.width)
        if not len(spare):
            whole = graph.concat([whole, Value(graph.zeros(), 1)])
        x = graph.columns(whole, place.ravel())
        return graph.op("Reshape", x.name, graph.ints(0, n_fields, dims))

    @property
    def sums(self) -> str:
        """The embeddings summed over the fields, shape (n, D)."""
        graph, shape = self.graph, (len(self.inputs.dims), len(self.inputs.union))
        if self.even:
            value = graph.op("Reshape", self.x.name, graph.ints(0, *shape))
            return graph.op("ReduceSum", value, graph.ints(1), keepdims=0)
        units = np.concatenate(self.inputs.dims)
        return graph.affine(self.x, self.inputs.union[:, None] == units, np.zeros(shape[1])).name

    def of(self, fields: Sequence[int]) -> Value:
        """Return the embeddings of some fields (positions), side by side."""
        return self.graph.columns(self.x, self.inputs.columns(fields))

    def layers(self, x: Value, layers: Sequence[Layer], relu: bool) -> Value:
        """Return the last layer's outputs, a relu after every other one, perhaps after it too."""
        for number, (weight, bias) in enumerate(layers):
            x = self.graph.affine(x, weight, bias)
            if relu or number + 1 < len(layers):
                x = self.graph.relu(x)
        return x

    def hidden(self, name: str, x: Value) -> Value:
        """Return hidden layers ``name.N`` on x."""
        return self.layers(x, self.tensors.hidden(name, x.size), relu=True)

    def perceptron(
        self, name: str, x: Value, outputs: int | None = 1, *, bias: bool = False
    ) -> Value:
        """Return hidden layers and ``name.out`` on x; ``bias``: whether the output has one."""
        x = self.hidden(name, x)
        return self.layers(x, [self.tensors.layer(f"{name}.out", outputs, x.size, bias)], False)

    def crossed(self, name: str) -> Value:
        """Return x ↦ x₀ ⊙ (W·x + b) + x, again and again (Wang et al. 2021, eq. 1)."""
        graph, size, x = self.graph, self.x.size, self.x
        for stage in self.tensors.stages(name):
            layer = self.tensors.layer(stage, size, size)
            product = graph.product(graph.affine(x, *layer, like=self.x), self.x)
            x = replace(x, name=graph.plus([product, x]).name)
        return x


def _fm(terms: Terms) -> Value:
    """½(Σ_d (Σ_f e_fd)² − Σ_f Σ_d e_fd²) (Rendle 2010, lemma 3.1)."""
    graph = terms.graph
    if not terms.x.width:
        return terms.x
    both = graph.op("ReduceSumSquare", terms.sums, axes=[1], keepdims=1)
    each = graph.op("ReduceSumSquare", terms.x.name, axes=[1], keepdims=1)
    return _half(graph, graph.op("Sub", both, each))


def _mlp(terms: Terms) -> Value:
    return terms.perceptron("mlp", terms.x)


def _pairs(terms: Terms) -> Value:
    """Σ_p w_p ⟨e_i, e_j⟩ (Pan et al. 2018, eq. 5): ½ Σ_d eᵀ_d·R·e_d, R with each weight twice."""
    graph, n_fields = terms.graph, len(terms.inputs.dims)
    left, right = terms.inputs.pairs(range(n_fields))
    weight = terms.tensors.take("pairs.weight", len(left))
    if not terms.x.width or not len(left):
        return NOTHING
    strength = np.zeros((n_fields, n_fields), np.float32)
    np.add.at(strength, (left, right), weight)
    value = terms.by_dim
    product = graph.op("MatMul", graph.constant(strength + strength.T), value)
    product = graph.op("Mul", product, value)
    total = graph.op("ReduceSum", product, graph.ints(1, 2), keepdims=0)
    return _half(graph, graph.op("Unsqueeze", total, graph.ints(1)))


def _cross(terms: Terms) -> Value:
    x = terms.crossed("cross")
    return terms.layers(x, [terms.tensors.layer("cross.out", 1, x.size, False)], False)


def _stack(terms: Terms) -> Value:
    return terms.perceptron("stack.mlp", terms.crossed("stack.cross"))


def _final(terms: Terms) -> Value:
    """Two gated streams, fused by a bilinear form a head (Mao et al. 2023, eq. 3-9)."""
    graph, tensors = terms.graph, terms.tensors
    streams, total = [], []
    for number, source in ((1, "user"), (2, "item")):
        context = terms.of(terms.inputs.of(source))
        layer = tensors.layer(f"final.gate{number}", terms.x.size, context.width)
        gate = graph.affine(context, *layer, like=terms.x)
        if gate.width:
            sigmoid = graph.op("Sigmoid", gate.name)
            two = graph.constant(np.full(1, 2, np.float32))
            gate = replace(gate, name=graph.op("Mul", sigmoid, two))
        stream = terms.hidden(f"final.stream{number}", graph.product(gate, terms.x))
        out = tensors.layer(f"final.out{number}", 1, stream.width, False)
        total.append(graph.affine(stream, *out))
        streams.append(stream)
    row = column = 0
    for stage in tensors.stages("final.head"):
        weight = tensors.take(f"{stage}.weight", None, None)
        rows, columns = weight.shape
        one = graph.columns(streams[0], np.arange(row, row + rows))
        two_ = graph.columns(streams[1], np.arange(column, column + columns))
        fused = graph.affine(two_, weight, np.zeros(rows))
        total.append(graph.total(graph.product(one, fused)))
        row, column = row + rows, column + columns
    return graph.plus(total)


def _dot(terms: Terms) -> Value:
    """Inner products of all vectors, then hidden layers (Naumov et al. 2019, section 2.1)."""
    graph, inputs = terms.graph, terms.inputs
    numbers = list(inputs.numeric)
    vectors = [i for i in range(len(inputs.dims)) if i not in numbers]
    shape = (0, 1, len(inputs.union))
    z, parts, places = NOTHING, [], dict[int, int]()
    if numbers or terms.tensors.has("dot.bottom.out.bias"):
        z = terms.perceptron("dot.bottom", terms.of(numbers), None, bias=True)
        z = graph.relu(z)
        units = units_of(inputs, "dot.bottom.out.weight", z.width)
        lift = (inputs.union[:, None] == units[None]).astype(np.float64)
        spread = graph.affine(z, lift, np.zeros(len(lift)))
        parts.append(graph.op("Reshape", spread.name, graph.ints(*shape)))
        places[-1] = 0
    if vectors:
        chosen = graph.constant(np.array(vectors, np.int64))
        parts.append(graph.op("Gather", terms.by_dim, chosen, axis=1))
        places |= {i: n + len(places) for n, i in enumerate(vectors)}
    left, right = ([places[i] for i in side] for side in inputs.pairs(vectors))
    products = NOTHING
    if left:
        value = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        turned = graph.op("Transpose", value, perm=[0, 2, 1])
        gram, count = graph.op("MatMul", value, turned), len(places)
        flat = Value(graph.op("Reshape", gram, graph.ints(0, count * count)), count * count)
        products = graph.columns(flat, np.array(left) * count + np.array(right))
    return terms.perceptron("dot.top", graph.concat([z, products]))


def _shared(terms: Terms) -> Value:
    """Hidden layers that all labels share, then each label's own; shape (n, T)."""
    bottom = terms.hidden("shared.bottom", terms.x)
    tops: list[Value] = []
    while terms.tensors.has(f"shared.{len(tops)}.out.weight"):
        tops.append(terms.perceptron(f"shared.{len(tops)}", bottom))
    return terms.graph.concat(tops)


def _towers(terms: Terms) -> Value:
    """⟨u, v⟩ of a user's and an item's vector (Yi et al. 2019, section 3)."""
    columns = terms.of(terms.inputs.of("user", "context"))
    user = terms.perceptron("towers.user", columns, None, bias=True)
    item = terms.perceptron("towers.item", terms.of(terms.inputs.of("item")), None, bias=True)
    return terms.graph.total(terms.graph.product(user, item))


def _half(graph: Graph, name: str) -> Value:
    return Value(graph.op("Mul", name, graph.constant(np.full(1, 0.5, np.float32))), 1)


#: Name in an artefact's ``parts`` → what adds its nodes: returns the term of the logit, (n, 1) or
#: (n, T), or nothing.
PARTS: dict[str, Callable[[Terms], Value]] = {
    "fm": _fm,
    "mlp": _mlp,
    "pairs": _pairs,
    "cross": _cross,
    "stack": _stack,
    "final": _final,
    "dot": _dot,
    "shared": _shared,
    "towers": _towers,
}
