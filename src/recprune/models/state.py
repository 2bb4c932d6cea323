"""Network ↔ state: torch holds one padded table, artefacts hold what each field has.

A network's table has D columns for every field; a field whose dims were cut has fewer, and its
columns of zeros are left out of a state. Layers have the inputs that there are, in the network's
order of the fields; a state has them in the schema's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.axes import Layout
from recprune.encoding import Encoder
from recprune.errors import RunError
from recprune.layout import State
from recprune.models.network import FieldNet
from recprune.models.parts import Inputs, Shape

__all__ = ["dense_state_of", "located", "network_from_state", "new_network", "state_of"]

Array = NDArray[np.float32]


def new_network(
    encoder: Encoder,
    layout: Layout,
    parts: Sequence[str],
    generator: torch.Generator,
    dropout: float = 0.0,
    make: Callable[..., FieldNet] = FieldNet,
) -> FieldNet:
    """Return a network of this layout, cut or not, with weights drawn from ``generator``."""
    fields, axes = encoder.schema.fields, layout.axes
    empty = np.empty(0, np.int32)
    dims = [axes[f"dims.{f.name}"].units if f"dims.{f.name}" in axes else empty for f in fields]
    # A dim that nothing has any more is gone; the rest keep their order, so pairs still match.
    union = np.unique(np.concatenate([empty, *(a.units for a in axes.values() if a.unit == "dim")]))
    width = layout.shapes[f"table.{fields[0].name}"][1]
    shape = Shape(
        sizes=encoder.sizes,
        slots=tuple(s.stop - s.start for s in encoder.slots),
        kinds=tuple(f.kind for f in fields),
        sources=tuple(f.source for f in fields),
        dims=tuple(np.searchsorted(union, d).astype(np.int32) for d in dims),
        units=union.astype(np.int32),
        wide=width > len(dims[0]),
        layout=layout,
    )
    return make(shape, parts, dropout, generator)


def state_of(net: FieldNet, table: Array | None = None) -> State:
    """Return the network's weights as its layout's tensors (copies).

    Args:
        net: the network.
        table: of all rows; None = the network's, which must hold them all.

    Raises:
        RunError: it holds only some.
    """
    if table is None:
        table = net.table.detach().cpu().numpy()
    if len(table) != net.n_rows:
        raise RunError(
            f"This process holds {len(table):,} of the table's {net.n_rows:,} rows. Bring the model "
            "together first: recprune.models.parallel.merged(model), in every process."
        )
    state: dict[str, Array] = {}
    for name, block, columns in _blocks(net):
        state[name] = table[block][:, columns].copy()
    return {**state, **dense_state_of(net)}


def dense_state_of(net: FieldNet) -> State:
    """Return all of a network's state but its table."""
    shapes, state = net.shape.layout.shapes, dict[str, Array]()
    for name, tensor, spans in _tensors(net):
        if name not in shapes:
            continue  # without inputs, it is nothing
        array = tensor.detach().cpu().numpy()
        for dim, inputs in spans.items():
            array = np.take(array, inputs.columns, axis=dim)
        state[name] = np.array(array, np.float32, order="C")
    return state


def located(net: FieldNet) -> dict[str, tuple[Tensor, tuple[NDArray[np.int64], ...]]]:
    """Return where a layout's weights are in the network: name → tensor, and each dim's indices.

    Not copies: what is written there is what the network computes with. What batch norm has seen is
    no weight.
    """
    table, shapes = net.table.detach(), net.shape.layout.shapes
    found: dict[str, tuple[Tensor, tuple[NDArray[np.int64], ...]]] = {}
    for name, block, columns in _blocks(net):
        found[name] = table[block], (np.arange(block.stop - block.start), columns)
    for name, tensor, spans in _tensors(net):
        if name in shapes and isinstance(tensor, torch.nn.Parameter):
            dims = [
                np.asarray(spans[d].columns, np.int64) if d in spans else np.arange(n)
                for d, n in enumerate(tensor.shape)
            ]
            found[name] = tensor.detach(), tuple(dims)
    return found


def network_from_state(
    state: State, layout: Layout, encoder: Encoder, parts: Sequence[str], dropout: float = 0.0
) -> FieldNet:
    """Return the network of a layout, cut or not, with these weights."""
    net = new_network(encoder, layout, parts, torch.Generator().manual_seed(0), dropout)
    table = np.zeros(tuple(net.table.shape), np.float32)
    for name, block, columns in _blocks(net):
        table[block, columns] = state[name]
    with torch.no_grad():
        net.table.copy_(torch.from_numpy(table))
        for name, tensor, spans in _tensors(net):
            if name not in layout.shapes:
                continue
            array = state[name]
            for dim, inputs in spans.items():
                array = np.take(array, np.argsort(inputs.columns), axis=dim)
            tensor.copy_(torch.tensor(array))
    return net


def _blocks(net: FieldNet) -> Iterator[tuple[str, slice, NDArray[np.int64]]]:
    """Yield each field's tensor, its rows of the table, and its columns."""
    shape, axes = net.shape, net.shape.layout.axes
    names, first = axes["fields"].labels or (), np.arange(int(shape.wide))
    for i, unit in enumerate(axes["fields"].units):
        start = int(net.offsets[i])
        columns = np.concatenate([first, int(shape.wide) + shape.dims[i]]).astype(np.int64)
        yield f"table.{names[unit]}", slice(start, start + shape.sizes[i]), columns


def _tensors(net: FieldNet) -> Iterator[tuple[str, Tensor, Mapping[int, Inputs]]]:
    """Yield the bias and every part's tensors by name, with what their dims run over."""
    yield "bias", net.bias, {}
    for name, part in net.named_parts():
        spans = part.spans()
        for parameter, tensor in part.state_dict(keep_vars=True).items():
            yield f"{name}.{parameter}", tensor, spans.get(parameter, {})
