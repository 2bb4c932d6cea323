"""Network ↔ state: torch trains one padded table, artefacts hold each field's own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.encoding import Encoder
from recprune.layout import Layout, State
from recprune.models.network import FieldNet, Shape

__all__ = ["network_from_state", "shape_of", "state_of"]


def state_of(net: FieldNet, layout: Layout) -> State:
    """Return the network's weights as the layout's tensors (copies)."""
    table = net.table.detach().numpy()
    columns = _columns(net.shape)
    state: dict[str, NDArray[np.float32]] = {}
    names = layout.axes["fields"].labels or ()
    kept = [names[i] for i in layout.axes["fields"].units]
    for i, name in enumerate(kept):
        start = int(net.offsets[i])
        block = table[start : start + net.shape.sizes[i]]
        state[f"table.{name}"] = block[:, [0, *(1 + columns[i])]].copy()
    state["bias"] = net.bias.detach().numpy().copy()
    inputs = _inputs(net, columns)
    for number, layer in enumerate(net.hidden_layers):
        weight = layer.weight.detach().numpy()
        state[f"mlp.{number}.weight"] = weight[:, inputs].copy() if number == 0 else weight.copy()
        assert layer.bias is not None
        state[f"mlp.{number}.bias"] = layer.bias.detach().numpy().copy()
    if net.out is not None:
        state["mlp.out.weight"] = net.out.weight.detach().numpy().copy()
    return state


def network_from_state(
    state: State, layout: Layout, encoder: Encoder, *, fm: bool, dropout: float
) -> FieldNet:
    """Build the network of a layout, cut or not, with these weights."""
    names = encoder.schema.names
    empty = np.empty(0, np.int32)
    dims = [layout.axes[f"dims.{n}"].units if f"dims.{n}" in layout.axes else empty for n in names]
    # A dim that no field has any more is gone; the rest keep their order, so pairs still match.
    union = np.unique(np.concatenate([*dims, empty])).astype(np.int32)
    hidden = tuple(a.size for n, a in layout.axes.items() if n.startswith("neurons."))
    places = tuple(np.searchsorted(union, d).astype(np.int32) for d in dims)
    shape = shape_of(encoder, places, len(union), hidden, fm=fm)
    net = FieldNet(shape, dropout, torch.Generator().manual_seed(0))
    columns = _columns(shape)
    table = np.zeros(tuple(net.table.shape), np.float32)
    for i, name in enumerate(names):
        start = int(net.offsets[i])
        table[start : start + shape.sizes[i], [0, *(1 + columns[i])]] = state[f"table.{name}"]
    with torch.no_grad():
        net.table.copy_(torch.from_numpy(table))
        net.bias.copy_(torch.from_numpy(np.array(state["bias"])))
        inputs = _inputs(net, columns)
        for number, layer in enumerate(net.hidden_layers):
            weight = np.zeros(tuple(layer.weight.shape), np.float32)
            weight[:, inputs if number == 0 else slice(None)] = state[f"mlp.{number}.weight"]
            layer.weight.copy_(torch.from_numpy(weight))
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(np.array(state[f"mlp.{number}.bias"])))
        if net.out is not None:
            net.out.weight.copy_(torch.from_numpy(np.array(state["mlp.out.weight"])))
    return net


def shape_of(
    encoder: Encoder,
    dims: tuple[NDArray[np.int32], ...],
    dim: int,
    hidden: tuple[int, ...],
    *,
    fm: bool,
) -> Shape:
    """Return the shape of a network over an encoder's fields; see :class:`Shape`."""
    slots = tuple(s.stop - s.start for s in encoder.slots)
    kinds = tuple(f.kind for f in encoder.schema.fields)
    return Shape(encoder.sizes, slots, kinds, dims, dim, hidden, fm)


def _columns(shape: Shape) -> list[NDArray[np.int32]]:
    """Return each field's columns in the padded embedding."""
    return [np.asarray(d, np.int32) for d in shape.dims]


def _inputs(net: FieldNet, columns: list[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Return the first layer's inputs that exist, in schema order, among the padded inputs."""
    place = np.argsort(net.order.numpy())
    inputs = [place[i] * net.shape.dim + c.astype(np.int64) for i, c in enumerate(columns)]
    return np.concatenate([*inputs, np.empty(0, np.int64)])
