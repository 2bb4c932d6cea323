"""How a model declares its tensors and the axes of its prunable units, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recprune.axes import Axis, Layout, Members, Unit, Use
from recprune.encoding import Encoder
from recprune.lookups import FIRST
from recprune.models.layers import Hidden

__all__ = ["Draft"]

MIN_DIM = 1


class Draft:
    """A layout in the making: the fields' tables are there, parts add what they need.

    ``table.<field>`` has shape (rows, wide + D): the first-order weight if there is one, then the
    embedding. The rows of knots and of a vector's components go with their field, never one by
    one.

    Args:
        encoder: of the fields.
        dim: D, dims of every field.
        wide: whether rows have a first-order weight.
        outputs: T, logits of a row.
    """

    def __init__(self, encoder: Encoder, dim: int, wide: bool, outputs: int = 1) -> None:
        self.fields, self.names, self.dim = encoder.schema.fields, encoder.schema.names, dim
        #: Names of the parts, in the order in which they add to the logit.
        self.parts: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._vocab_hash = encoder.hash()
        self._axes = {"fields": Axis("fields", "field", len(self.names), labels=self.names)}
        for i, name in enumerate(self.names):
            part, table, parent = encoder.parts[name], f"table.{name}", ("fields", i)
            self.shapes[table] = (part.rows, int(wide) + dim)
            self._axes[f"rows.{name}"] = Axis(
                f"rows.{name}",
                "row",
                part.rows,
                (Use(table, 0),),
                parent=parent,
                pinned=FIRST,
                min_keep=FIRST if part.prunable else part.rows,
            )
            if dim:
                uses = (Use(table, 1, int(wide)),)
                self._axes[f"dims.{name}"] = Axis(
                    f"dims.{name}", "dim", dim, uses, parent=parent, min_keep=MIN_DIM
                )
        self.shapes["bias"] = (outputs,)

    def of_source(self, *sources: str) -> list[int]:
        """Return the positions of the fields from these sources."""
        return [i for i, f in enumerate(self.fields) if f.source in sources]

    def inputs(self, tensor: str, dim: int, fields: Sequence[int] | None = None) -> int:
        """Let a tensor's dim run over the embeddings of fields, side by side; return their width.

        Args:
            tensor: name.
            dim: of the tensor.
            fields: positions, increasing; None = all.
        """
        chosen = range(len(self.names)) if fields is None else fields
        for number, i in enumerate(chosen):
            self._use(f"dims.{self.names[i]}", Use(tensor, dim, number * self.dim))
        return len(chosen) * self.dim

    def tensor(self, name: str, *shape: int) -> str:
        """Declare a tensor and return its name."""
        self.shapes[name] = shape
        return name

    def axis(
        self, name: str, unit: Unit, size: int, uses: Sequence[Use], members: Members = ()
    ) -> None:
        """Declare an axis of units that are no field's own."""
        least = 0 if unit == "pair" else 1
        self._axes[name] = Axis(
            name, unit, size, tuple(uses), min_keep=min(least, size), members=members
        )

    def pairs(self, uses: Sequence[Use], fields: Sequence[int]) -> int:
        """Declare the axis of the pairs of these fields (−1 = a vector of no field); count them."""
        left, right = np.triu_indices(len(fields), 1)
        at = np.array(fields, np.int32)
        self.axis("pairs", "pair", len(left), uses, (("fields", at[left]), ("fields", at[right])))
        return len(left)

    def hidden(self, prefix: str, axis: str, width: int, hidden: Hidden) -> int:
        """Declare hidden layers on ``width`` inputs; return how many outputs they have.

        The next layer's use of the last axis is declared by :meth:`after`.
        """
        for number, size in enumerate(hidden.sizes):
            weight = self.tensor(f"{prefix}.{number}.weight", size, width)
            if number:
                self._use(f"{axis}.{number - 1}", Use(weight, 1))
            own = [self.tensor(f"{prefix}.{number}.bias", size)]
            if hidden.batch_norm:
                own += [
                    self.tensor(f"{prefix}.{number}.norm.{n}", size)
                    for n in ("weight", "bias", "mean", "var")
                ]
            uses = [Use(weight, 0), *(Use(n, 0) for n in own)]
            self.axis(f"{axis}.{number}", "neuron", size, uses)
            width = size
        return width

    def after(self, axis: str, tensor: str, dim: int = 1) -> None:
        """Let a tensor's dim run over the units of an axis."""
        self._use(axis, Use(tensor, dim))

    def split(self, axis: str, count: int) -> list[str]:
        """Cut an axis into ``count`` axes of consecutive units; return their names."""
        whole = self._axes.pop(axis)
        size, names = whole.size // count, [f"{axis}.{number}" for number in range(count)]
        for number, name in enumerate(names):
            uses = [Use(u.tensor, u.dim, u.offset + number * size) for u in whole.uses]
            self.axis(name, whole.unit, size, uses)
        return names

    def layout(self) -> Layout:
        """Return what has been declared."""
        return Layout(dict(self._axes), dict(self.shapes), self._vocab_hash)

    def _use(self, axis: str, use: Use) -> None:
        self._axes[axis] = replace(self._axes[axis], uses=(*self._axes[axis].uses, use))
