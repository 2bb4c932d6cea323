"""The parts of a model beside first order, FM and plain hidden layers: one class each.

Named axes: n rows, F fields, I inputs (the fields' embeddings side by side), D dims, P pairs, H
neurons, V length of a tower's vector. A part says what the fields shall sum up for it (``read``
returns that matrix, (I, k)), and adds its logit from those sums and from the embeddings themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from recprune.errors import ArtifactError
from recprune.runtime.chain import Chain, Perceptron, first_and_rest
from recprune.runtime.inputs import Inputs
from recprune.runtime.interactions import Cross, Dot, Final, Pairs, Stack, nothing
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


class Shared:
    """Hidden layers that all labels share, then each label's own (Caruana 1997).

    Args:
        bottom: the shared ones.
        tops: each label's, in order.
        label: position of the label that is answered.
    """

    def __init__(self, bottom: Chain, tops: list[Perceptron], label: int = 0) -> None:
        self.bottom, self.tops, self.label = bottom, tops, label

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Shared]:
        """Take ``shared.bottom.N``, then ``shared.t.N`` and ``shared.t.out.weight``, (1, H)."""
        layers = tensors.hidden("shared.bottom", inputs.size)
        width = len(layers[-1][1]) if layers else inputs.size
        tops: list[Perceptron] = []
        while tensors.has(f"shared.{len(tops)}.out.weight"):
            tops.append(Perceptron.read(tensors, f"shared.{len(tops)}", width, 1))
        matrix, bottom = first_and_rest(layers, inputs.size, relu=True)
        return matrix, cls(bottom, tops)

    def of(self, label: int) -> Shared:
        """Return the same part, answering another label."""
        return Shared(self.bottom, self.tops, label)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the label's own layers' output on the shared ones."""
        return self.tops[self.label](self.bottom(sums))[:, 0]


class Towers:
    """Two towers: ⟨u, v⟩ of a user's and an item's vector (Yi et al. 2019, section 3).

    Args:
        users: x, (n, I) ↦ the users' vectors, (n, V), from the fields of source user and context.
        items: the same for items, from those of source item.
    """

    def __init__(self, users: Perceptron, items: Perceptron) -> None:
        self.users, self.items = users, items

    @classmethod
    def read(cls, tensors: Tensors, inputs: Inputs) -> tuple[F64, Towers]:
        """Take ``towers.user`` and ``towers.item``: hidden layers and ``out``, (V, H) and (V,)."""
        if inputs.of("cross"):
            raise ArtifactError("A model of two towers cannot have cross fields.")
        columns = inputs.columns(inputs.of("user", "context"))
        users = Perceptron.read(tensors, "towers.user", columns, bias=True)
        columns = inputs.columns(inputs.of("item"))
        items = Perceptron.read(tensors, "towers.item", columns, users.outputs, bias=True)
        return nothing(inputs), cls(users, items)

    def __call__(self, sums: F32, x: F32) -> F32:
        """Return the inner products."""
        logit: F32 = np.einsum("nv,nv->n", self.users(x), self.items(x))
        return logit


#: The parts that read the embeddings themselves, beside the sums.
NEED_EMBEDDING = frozenset({"pairs", "cross", "stack", "final", "dot", "towers"})

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
