"""Axes and layouts: where every unit that can be pruned shows up in a model's tensors.

A model declares its axes once, as places in its tensors::

    axis "dims.age" (size 16)          axis "neurons.0" (size 128)
      └ table.age        dim 1, from 1    ├ mlp.0.weight  dim 0, from 0
      └ mlp.0.weight     dim 1, from 48   ├ mlp.0.bias    dim 0, from 0
                                          └ mlp.1.weight  dim 1, from 0
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import PlanError, nearest

__all__ = ["Axis", "IntArray", "Layout", "Members", "Unit", "Use"]

Unit = Literal["field", "row", "dim", "neuron", "pair"]
IntArray = NDArray[np.int32]
#: For each unit of an axis, the unit of another axis, by name, that it stands on; −1 = none.
Members = tuple[tuple[str, IntArray], ...]


@dataclass(frozen=True)
class Use:
    """Where an axis shows up: unit ``i`` is index ``offset + i`` of dimension ``dim``."""

    tensor: str
    dim: int
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Axis:
    """A named axis of prunable units.

    Args:
        name: unique; ``kind.member``, for example ``rows.age``.
        unit: what one unit is.
        size: number of units.
        uses: every place that shrinks when a unit goes.
        parent: axis and unit whose removal removes this whole axis.
        pinned: the first ``pinned`` units always stay (padding and the unknown row).
        min_keep: fewest units that may stay.
        origin: original coordinate of each unit, shape ``(size,)``; None = never cut.
        labels: names of the units, for printing.
        members: for each unit, the units of other axes without which it cannot be (a pair and its
            two fields), in uncut coordinates, each shape ``(size,)``; −1 = none.
    """

    name: str
    unit: Unit
    size: int
    uses: tuple[Use, ...] = ()
    parent: tuple[str, int] | None = None
    pinned: int = 0
    min_keep: int = 1
    origin: IntArray | None = None
    labels: tuple[str, ...] | None = None
    members: Members = ()

    @property
    def units(self) -> IntArray:
        """Original coordinates of the units that are left, increasing."""
        return np.arange(self.size, dtype=np.int32) if self.origin is None else self.origin


@dataclass(frozen=True, eq=False)
class Layout:
    """All axes of a model and the shapes of its tensors.

    Args:
        axes: by name, parents before children.
        shapes: tensor name → shape.
        vocab_hash: hash of the encoder whose rows the row axes count.
        root: hash of the uncut layout that this one was cut from; empty = this one is uncut.
        gone: axes and tensors that cuts removed whole; a plan may still name them.
    """

    axes: Mapping[str, Axis]
    shapes: Mapping[str, tuple[int, ...]]
    vocab_hash: str = ""
    root: str = ""
    gone: tuple[str, ...] = ()

    def of_unit(self, unit: Unit) -> list[Axis]:
        """Return the axes whose units are of this kind, in order.

        Raises:
            PlanError: the model has no such axis.
        """
        axes = [a for a in self.axes.values() if a.unit == unit]
        if not axes:
            units = sorted({a.unit for a in self.axes.values()})
            raise PlanError(f"This model has no axis of unit {unit!r}; it has: {', '.join(units)}.")
        return axes

    def axis(self, name: str) -> Axis:
        """Return the axis of this name, or raise a PlanError that names the nearest one."""
        try:
            return self.axes[name]
        except KeyError:
            raise PlanError(f"The model has no axis {name!r}.{nearest(name, self.axes)}") from None

    @cached_property
    def hash(self) -> str:
        """Hash of the uncut layout's axes and shapes: what a plan is bound to."""
        return (
            self.root
            or hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; original coordinates live in the plan, not here."""
        axes = []
        for a in self.axes.values():
            axis = {
                "name": a.name,
                "unit": a.unit,
                "size": a.size,
                "uses": [[u.tensor, u.dim, u.offset] for u in a.uses],
                "parent": list(a.parent) if a.parent else None,
                "pinned": a.pinned,
                "min_keep": a.min_keep,
                "labels": list(a.labels) if a.labels else None,
            }
            if a.members:  # absent before protocol 2, and from the hashes of such layouts
                axis["members"] = [[name, units.tolist()] for name, units in a.members]
            axes.append(axis)
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return {
            "axes": axes,
            "shapes": shapes,
            "vocab_hash": self.vocab_hash,
            "root": self.root,
            "gone": list(self.gone),
        }

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], origin: Mapping[str, IntArray] | None = None
    ) -> Layout:
        """Build a layout from ``to_json``'s dictionary and, for a cut one, the plan's kept units."""
        origin = origin or {}
        axes = {}
        for a in data["axes"]:
            axes[a["name"]] = Axis(
                name=a["name"],
                unit=a["unit"],
                size=int(a["size"]),
                uses=tuple(Use(str(t), int(d), int(o)) for t, d, o in a["uses"]),
                parent=(str(a["parent"][0]), int(a["parent"][1])) if a["parent"] else None,
                pinned=int(a["pinned"]),
                min_keep=int(a["min_keep"]),
                origin=origin.get(a["name"]),
                labels=tuple(a["labels"]) if a["labels"] else None,
                members=tuple(
                    (str(name), np.array(units, np.int32)) for name, units in a.get("members", ())
                ),
            )
        shapes = {str(k): tuple(int(x) for x in v) for k, v in data["shapes"].items()}
        gone = tuple(str(name) for name in data["gone"])
        return cls(axes, shapes, str(data["vocab_hash"]), str(data["root"]), gone)
