"""Where gates sit in a network: at a field's value, one dim of it, a table row, a neuron, a pair.

Shapes are written with named axes: B batch, F fields, S slots, W columns of the table, D dims, U
units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recprune.importance.walk import of_no_field
from recprune.layout import Axis
from recprune.lookups import UNKNOWN
from recprune.models import Ranker
from recprune.models.network import FieldNet

__all__ = ["Place", "places_of"]


class Place:
    """The gates of one tap: of all fields, all rows, all dims, or one axis of neurons or pairs.

    Args:
        net: the network.
        unit: what one unit is.
        tap: name of the tap.
        units: U, how many gates there are.
    """

    def __init__(self, net: FieldNet, unit: str, tap: str, units: int) -> None:
        self.net, self.unit, self.tap, self.units = net, unit, tap, units
        #: Each axis's units among the gates, by the axis's name.
        self.at: dict[str, Tensor] = {}

    def spread(self, theta: Tensor, value: Tensor, index: Tensor | None) -> Tensor:
        """Return parameters, shape (U,), where the value reads them: as the value, or one column.

        Args:
            theta: of the gates.
            value: what the tap sees.
            index: table rows, shape (B, S); of rows alone.
        """
        if self.unit == "row":
            assert index is not None
            return theta[index].unsqueeze(2)
        if self.unit == "dim":
            return theta.view(self.net.shape.width, -1).T.expand(len(value), -1, -1)
        return (
            theta.expand(len(value), -1).unsqueeze(2)
            if value.dim() == 3
            else theta.expand_as(value)
        )

    def closed(self, value: Tensor, shuffled: bool, draws: torch.Generator) -> Tensor:
        """Return what a closed unit reads, shape as the value; of rows (1, S, W).

        A cut row reads as its field's unknown row. Anything else leaves its mean behind, which
        pruning folds into biases, or reads another row's value, so that the network meets no value
        that it does not know.
        """
        with torch.no_grad():
            if self.unit == "row":
                net = self.net
                unknown = net.slot_offsets[net.slot_order] + UNKNOWN
                return net.table[unknown].unsqueeze(0)
            if shuffled:
                alone = value.shape if self.unit == "dim" else value.shape[:2]
                order = torch.rand(alone, generator=draws).argsort(dim=0)
                if order.dim() < value.dim():
                    order = order.unsqueeze(2).expand_as(value)
                closed = value.gather(0, order)
            else:
                closed = value.mean(dim=0, keepdim=True).expand_as(value).clone()
            if self.unit == "dim":  # the first-order weight is no dim
                closed[:, :, : int(self.net.shape.wide)] = value[:, :, : int(self.net.shape.wide)]
            return closed


def places_of(model: Ranker, net: FieldNet, axes: Sequence[Axis]) -> list[Place]:
    """Return where the gates of several axes sit; one place serves the rows, or dims, of all fields.

    Args:
        model: whose axes they are.
        net: the network, the model's own or a copy's.
        axes: of fields, rows, dims, neurons or pairs.
    """
    names, shape = model.encoder.schema.names, net.shape
    spot = np.argsort(net.order.numpy())  # a field's place in the network's own order
    found: dict[str, Place] = {}

    def place(unit: str, tap: str, units: int) -> Place:
        return found.setdefault(f"{unit} {tap}", Place(net, unit, tap, units))

    for axis in axes:
        if axis.unit == "row":
            i = names.index(axis.name.removeprefix("rows."))
            here, start = place("row", "rows", net.n_rows), int(net.offsets[i])
            here.at[axis.name] = torch.arange(start, start + axis.size)
        elif axis.unit == "dim" and not of_no_field(axis):
            i = names.index(axis.name.removeprefix("dims."))
            here = place("dim", "fields", shape.width * len(names))  # column by column
            columns = int(shape.wide) + torch.from_numpy(shape.dims[i].astype(np.int64))
            here.at[axis.name] = columns * len(names) + int(spot[i])
        else:
            field, unit = axis.unit == "field", "neuron" if axis.unit == "dim" else axis.unit
            here = place(unit, "fields" if field else axis.name, axis.size)
            here.at[axis.name] = torch.from_numpy(spot) if field else torch.arange(axis.size)
    return list(found.values())
