"""What a network is made of: its fields as parts see them, and the parts' common ground.

Shapes are written with named axes: B batch, F fields, D dims, I inputs, the embeddings of all
fields side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune.axes import Axis, Layout
from recprune.models.layers import Flow, Shapes
from recprune.schema import Kind, Source

__all__ = ["Inputs", "Part", "Shape"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The embeddings of some fields side by side, as a network holds them.

    Layers read the dims that fields have and no others: where they have different ones, those are
    picked from the embeddings, which have D columns a field.

    Args:
        picked: which columns of all fields' embeddings, F · D, the inputs are, increasing; None =
            all of them.
        columns: where the inputs in the schema's order, as tensors of a state have them, stand
            among these.
    """

    picked: Tensor | None
    columns: NDArray[np.int64]

    @property
    def size(self) -> int:
        """I."""
        return len(self.columns)

    def of(self, embedding: Tensor) -> Tensor:
        """Return the inputs, shape (B, I), from all fields' embeddings (B, F, D)."""
        flat, picked = embedding.flatten(1), self.picked
        if picked is None:
            return flat
        if picked.device != flat.device:  # to ask is quicker than to move nowhere
            picked = picked.to(flat.device)
        return flat.index_select(1, picked)


@dataclass(frozen=True, eq=False)
class Shape:
    """What a network is built from.

    Args:
        sizes: rows of each field's block, length F.
        slots: slots of each field, length F.
        kinds: kind of each field, length F.
        sources: source of each field, length F.
        dims: for each field, which of the D columns it has (all of them unless dims were cut
            field by field).
        units: the dims that the D columns are, in the uncut model's coordinates.
        wide: whether column 0 of the table is a first-order weight.
        layout: axes and shapes of the tensors.
    """

    sizes: tuple[int, ...]
    slots: tuple[int, ...]
    kinds: tuple[Kind, ...]
    sources: tuple[Source, ...]
    dims: tuple[NDArray[np.int32], ...]
    units: NDArray[np.int32]
    wide: bool
    layout: Layout

    @property
    def dim(self) -> int:
        """D."""
        return len(self.units)

    @property
    def width(self) -> int:
        """W, the columns of the table."""
        return int(self.wide) + self.dim

    @property
    def numeric(self) -> list[int]:
        """Positions of the numeric fields, length N."""
        return [i for i, kind in enumerate(self.kinds) if kind == "numeric"]

    @property
    def bags(self) -> list[int]:
        """Positions of the fields whose slots are summed by weight."""
        return [i for i, kind in enumerate(self.kinds) if kind in ("sequence", "dense")]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The fields as they stand inside a network: categorical, numeric, bags; shape (F,)."""
        apart = {*self.numeric, *self.bags}
        categorical = [i for i in range(len(self.sizes)) if i not in apart]
        return np.array([*categorical, *self.numeric, *self.bags], np.int64)

    def of_source(self, *sources: str) -> list[int]:
        """Return the positions of the fields from these sources."""
        return [i for i, source in enumerate(self.sources) if source in sources]

    def inputs(self, fields: Sequence[int] | None = None) -> Inputs:
        """Return the inputs that are these fields' embeddings (positions, increasing; None = all)."""
        chosen = np.arange(len(self.sizes)) if fields is None else np.array(fields, np.int64)
        place = np.argsort(self.order)
        columns = np.concatenate(
            [*(place[i] * self.dim + self.dims[i] for i in chosen), np.empty(0, np.int64)]
        ).astype(np.int64)
        every = len(columns) == len(self.sizes) * self.dim
        picked = None if every else torch.from_numpy(np.sort(columns))
        return Inputs(picked, np.argsort(np.argsort(columns)))

    def shapes(self, part: str) -> Shapes:
        """Return the shapes of a part's tensors, by parameter."""
        start = f"{part}."
        return {n[len(start) :]: s for n, s in self.layout.shapes.items() if n.startswith(start)}

    def members(self, axis: Axis) -> list[NDArray[np.int64]]:
        """Return, for each pair of an axis, where its two fields stand in the network; −1 = none."""
        units = self.layout.axes["fields"].units
        place = np.append(np.argsort(self.order), -1)
        return [
            place[np.where(needed < 0, -1, np.searchsorted(units, needed))]
            for _, needed in axis.members
        ]


class Part(nn.Module):
    """One term of the logit. Its tensors are its parameters and buffers, by their names.

    Built from a :class:`Shape` and a generator of the initial weights; a class method ``declare``
    enters its tensors and axes into a :class:`recprune.models.draft.Draft`.
    """

    #: Whether one rotation of all fields' dims can be undone where tensors read the inputs.
    rotates: ClassVar[bool] = False

    def spans(self) -> Mapping[str, Mapping[int, Inputs]]:
        """Return parameter → dim → the inputs that the dim runs over."""
        return {}

    def forward(self, embedding: Tensor, flow: Flow) -> Tensor:
        """Return what is added to the logit, shape (B,) or (B, T), of embeddings (B, F, D)."""
        raise NotImplementedError
