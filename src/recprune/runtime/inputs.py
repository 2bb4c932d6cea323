"""What a model's parts know of its fields: places, dims, sources, pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.axes import Layout
from recprune.errors import ArtifactError
from recprune.runtime.tensors import F32, Tensors

__all__ = ["Inputs", "inputs_of"]

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The fields' embeddings, side by side in the schema's order: I numbers a row.

    Args:
        sources: of each field: user, item, context or cross.
        numeric: positions of the numeric fields.
        dims: for each field, which of the model's original dims it has, increasing.
        layout: the model's axes.
    """

    sources: tuple[str, ...]
    numeric: tuple[int, ...]
    dims: tuple[NDArray[np.int32], ...]
    layout: Layout

    @cached_property
    def union(self) -> NDArray[np.int32]:
        """The original dims that any field has, shape (D,)."""
        return np.unique(np.concatenate([*self.dims, np.empty(0, np.int32)])).astype(np.int32)

    @cached_property
    def starts(self) -> list[int]:
        """Each field's first column, then I."""
        ends: list[int] = np.cumsum([0, *map(len, self.dims)]).tolist()
        return ends

    @property
    def size(self) -> int:
        """I."""
        return self.starts[-1]

    def of(self, *sources: str) -> list[int]:
        """Return the positions of the fields of these sources."""
        return [i for i, source in enumerate(self.sources) if source in sources]

    def columns(self, fields: Sequence[int]) -> NDArray[np.intp]:
        """Return the columns of these fields' embeddings."""
        runs = [np.arange(self.starts[i], self.starts[i + 1]) for i in fields]
        return np.concatenate([*runs, np.empty(0, np.intp)]).astype(np.intp)

    def places(self, units: IntArray) -> NDArray[np.intp]:
        """Return where original dims stand in the union (all of them must be in it)."""
        return np.searchsorted(self.union, units).astype(np.intp)

    @cached_property
    def _spread(self) -> NDArray[np.intp] | None:
        width = len(self.union)
        if self.size == len(self.dims) * width:
            return None
        runs = [i * width + self.places(dims) for i, dims in enumerate(self.dims)]
        return np.concatenate(runs)

    def by_dim(self, x: F32) -> F32:
        """Return embeddings (n, I) as (n, F, D), zero where a field lacks a dim."""
        shape = (len(x), len(self.dims), len(self.union))
        if self._spread is None:
            return x.reshape(shape)
        out = np.zeros((len(x), shape[1] * shape[2]), np.float32)
        out[:, self._spread] = x
        return out.reshape(shape)

    def pairs(
        self, fields: Collection[int], axis: str = "pairs"
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the positions of both fields of every pair that is left; −1 = no field.

        Args:
            fields: the positions that may occur.
            axis: the layout's axis of pairs; its members count fields in uncut coordinates.

        Raises:
            ArtifactError: a pair of a field with itself, or of one that is not among ``fields``.
        """
        if axis not in self.layout.axes:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        kept = self.layout.axes["fields"].units.tolist()
        position = {unit: i for i, unit in enumerate(kept) if i in fields} | {-1: -1}
        try:
            (of_left, left), (of_right, right) = self.layout.axes[axis].members
            sides = [[position[u] for u in side.tolist()] for side in (left, right)]
        except (LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"Axis {axis!r} has units that are no pairs of the model's fields: {error!r}."
            ) from error
        size = self.layout.axes[axis].size
        sound = {of_left, of_right} == {"fields"} and len(sides[0]) == len(sides[1]) == size
        if not sound or any(a == b for a, b in zip(*sides, strict=True)):
            raise ArtifactError(f"Axis {axis!r} does not name two fields for each of its units.")
        return np.array(sides[0], np.intp), np.array(sides[1], np.intp)


def inputs_of(artifact: Artifact, tensors: Tensors, wide: bool) -> tuple[Inputs, list[F32]]:
    """Return what an artefact's parts know of its fields, and the fields' tables.

    Args:
        artifact: the model.
        tensors: its tensors; the tables are taken from them.
        wide: whether column 0 of every table is a first-order weight.

    Raises:
        ArtifactError: tables of other shapes, or a layout that names other fields or dims.
    """
    encoder, axes = artifact.encoder, artifact.layout.axes
    fields, names = axes.get("fields"), encoder.schema.names
    labels = dict(enumerate(fields.labels or names)) if fields else {}
    if fields is None or tuple(map(labels.get, fields.units.tolist())) != names:
        raise ArtifactError("The layout has other fields than the schema.")
    dims, tables = [], []
    for name, rows in zip(names, encoder.sizes, strict=True):
        axis = axes.get(f"dims.{name}")
        table = tensors.take(f"table.{name}", rows, None if axis is None else wide + axis.size)
        size = table.shape[1] - wide
        units = np.arange(size, dtype=np.int32) if axis is None else axis.units
        if size < 0 or len(units) != size or (np.diff(units) <= 0).any():
            raise ArtifactError(f"Field {name!r} has {size} dims; its layout names {len(units)}.")
        dims.append(units)
        tables.append(table)
    sources = tuple(f.source for f in encoder.schema.fields)
    return Inputs(sources, tuple(encoder.numeric), tuple(dims), artifact.layout), tables
