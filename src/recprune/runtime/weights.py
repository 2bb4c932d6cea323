"""The model's weights, arranged so that a forward pass is one gather and one product a layer.

Named axes: n rows, F fields, I inputs (all fields' embeddings side by side), D dims, H neurons of
the first layer.

*Fused table.* All fields' tables are one array ``table`` (R, 1 + D) with offsets. Fields whose dims
were cut one by one are spread to the original dims with zeros, so that FM sums match by dim. A
numeric field has a second block of rows, the differences to the next knot's row, so that its value
is ``row + share · difference``. A model without first order and FM has no column 0.

*One product.* With the gathered rows side by side as one vector a row, a single matrix gives every
linear thing at once::

    (n, F·(1+D)) @ (F·(1+D), L)  →  L = [ H pre-activations | 1 | first order | D sums | parts ]

The column of ones (set by the bias) carries the later layers' biases inside their matrices; the
last columns are what other parts want summed up, such as a shared bottom's first layer. Where a part
needs the embeddings themselves, they follow as they are: K = L + I columns. All of them are sums
over fields, so that user, item and cross fields may be summed apart and added.

*No squares.* FM (Rendle 2010, lemma 3.1) needs ½(Σ_d (Σ_f e_fd)² − Σ_f Σ_d e_fd²). A categorical
row's own −½‖e‖² depends on that row alone: it is added to its first-order weight beforehand. Only
numeric fields, whose e lies between two rows, and bags, whose e is a weighted sum, form it while
scoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.errors import ArtifactError, nearest
from recprune.runtime.heads import FirstHead, Head, PartsHead, TowersHead
from recprune.runtime.inputs import inputs_of
from recprune.runtime.parts import NEED_EMBEDDING, READERS, Part, Shared, Towers
from recprune.runtime.tensors import F32, F64, Layer, Tensors

__all__ = ["Weights"]


class Weights:
    """The fused table and first matrix of all fields, and the head that follows, one a label.

    Args:
        artifact: a model as read by :func:`recprune.artifact.read_artifact`.

    Raises:
        ArtifactError: tensors that do not make a model of the declared parts.
    """

    def __init__(self, artifact: Artifact) -> None:
        encoder, tensors = artifact.encoder, Tensors(artifact.state)
        self.names, self.numeric, self.bags = encoder.schema.names, encoder.numeric, encoder.bags
        self.slots = [s.stop - s.start for s in encoder.slots]
        self.n_shares = encoder.share_slots[-1].stop if encoder.share_slots else 0
        self.sizes = np.array(encoder.sizes, np.uint32)
        wide, parts, self.labels = _declared(artifact.model)
        self.inputs, tables = inputs_of(artifact, tensors, wide)
        self.fm = "fm" in parts
        layers: list[Layer] = []
        if "mlp" in parts:
            layers = tensors.hidden("mlp", self.inputs.size)
            if not layers:
                raise ArtifactError("The model's part 'mlp' has no hidden layer 'mlp.0'.")
            layers.append(tensors.layer("mlp.out", 1, len(layers[-1][1]), False))
        read = [READERS[name](tensors, self.inputs) for name in parts if name in READERS]
        bias = tensors.take("bias", len(self.labels)).tolist()
        tensors.done()

        sums = 1 + len(self.inputs.union) * self.fm
        heads = [FirstHead(layers, add, sums) for add in bias]
        #: One a label.
        self.heads = [
            _head(head, _of_label(read, label, len(bias)), wide) for label, head in enumerate(heads)
        ]
        first = heads[0]
        self.linear, hidden = first.linear, first.hidden
        self.carries = not NEED_EMBEDDING.isdisjoint(parts)
        #: Whether the table has a column of first-order weights.
        lead = int(wide or self.fm)
        width = self.width = lead + len(self.inputs.union)
        #: Each field's columns among those of the table.
        self.columns = [lead + self.inputs.places(dims) for dims in self.inputs.dims]
        extra: F64 = np.concatenate([np.empty((self.inputs.size, 0)), *(m for m, _ in read)], 1)
        matrix = np.zeros((len(self.names), width, first.inputs + extra.shape[1]))
        self.sums = matrix.shape[2] + self.inputs.size * self.carries
        blocks: list[F64] = []
        slopes: list[F64] = []
        for i, (table, columns) in enumerate(zip(tables, self.columns, strict=True)):
            block = np.zeros((encoder.sizes[i], width))
            block[:, [*range(wide), *columns]] = table
            if i in self.numeric:
                slopes.append(np.diff(block, axis=0, append=block[-1:]))
            elif self.fm and i not in self.bags:
                block[:, 0] -= 0.5 * np.square(block[:, 1:]).sum(axis=1)
            blocks.append(block)
            matrix[i, :lead, self.linear] = 1
            own = slice(self.inputs.starts[i], self.inputs.starts[i + 1])
            if self.fm:
                dims = np.arange(width - lead)
                matrix[i, lead + dims, self.linear + 1 + dims] = 1
            if layers:
                matrix[i, columns, :hidden] = layers[0][0][:, own].T
            matrix[i, columns, first.inputs :] = extra[own]
        stacked = [*blocks, *slopes]
        self.table: F32 = np.ascontiguousarray(
            np.concatenate([np.empty((0, width)), *stacked]), np.float32
        )
        self.first: F32 = matrix.astype(np.float32)
        starts: NDArray[np.intp] = np.cumsum([0, *map(len, stacked)])
        self.offsets, self.slope_offsets = starts[: len(blocks)], starts[len(blocks) : -1]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that a forward pass reads."""
        return self.table.nbytes + self.first.nbytes + self.heads[0].nbytes


def _of_label(read: list[tuple[F64, Part]], label: int, labels: int) -> list[tuple[int, Part]]:
    """Return the parts that answer one of so many labels, each with its columns of sums."""
    parts = []
    for matrix, part in read:
        if isinstance(part, Shared):
            if len(part.tops) != labels:
                raise ArtifactError(
                    f"The model has {labels} labels, and layers of {len(part.tops)}."
                )
            part = part.of(label)
        parts.append((matrix.shape[1], part))
    return parts


def _head(first: FirstHead, parts: list[tuple[int, Part]], wide: bool) -> Head:
    if not parts:
        return first
    part = parts[0][1]
    if isinstance(part, Towers) and len(parts) == 1 and not wide and first.inputs == 1:
        return TowersHead(first, part)
    return PartsHead(first, parts)


def _declared(model: Mapping[str, Any]) -> tuple[bool, list[str], tuple[str, ...]]:
    """Return whether a model has first-order weights, its parts, and the names of its labels."""
    if not isinstance(model, Mapping):
        raise ArtifactError(f"The model must be described by names and values. Got {model!r}.")
    wide: Any = model.get("wide")
    parts: Any = model.get("parts")
    labels: Any = model.get("labels")
    if not isinstance(wide, bool):
        raise ArtifactError(f"The model's 'wide' must be true or false. Got {wide!r} instead.")
    for name, value in (("parts", parts), ("labels", labels)):
        texts = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        if not texts or len(set(value)) != len(value) or (name == "labels" and not value):
            raise ArtifactError(f"The model's {name!r} must be different names. Got {value!r}.")
    known = ("fm", "mlp", *READERS)
    for part in parts:
        if part not in known:
            raise ArtifactError(f"There is no part {part!r} of a model.{nearest(part, known)}")
    if len(labels) > 1 and "shared" not in parts:
        raise ArtifactError("A model of several labels must have the part 'shared'.")
    return wide, list(parts), tuple(labels)
