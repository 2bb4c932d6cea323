"""Axes of a user's module, and the one place where its tensors are cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune.foreign.remapped import remapped
from recprune.foreign.tracing import NORMALIZED, TABLES, Place, leaves

__all__ = [
    "PINNED",
    "ROW_OF_CUT_IDS",
    "Cut",
    "IntArray",
    "Slicer",
    "UnitAxis",
    "apply_cuts",
    "cut_moments",
    "masked",
]

IntArray = NDArray[np.int32]

#: In a table's places: rows that are no units, as padding; and the row that ids read whose own
#: row an earlier cut removed.
PINNED, ROW_OF_CUT_IDS = -1, -2


@dataclass(frozen=True, eq=False)
class UnitAxis:
    """Units that can be cut from a module, and every place where they show up.

    Args:
        name: ``neurons.<layer>``, ``dims.<table>`` or ``rows.<table>``.
        unit: what one unit is.
        size: number of units.
        places: tensor name and dimension → unit of each position, shape (positions,); negative =
            none of this axis.
    """

    name: str
    unit: Literal["neuron", "dim", "row"]
    size: int
    places: Mapping[Place, IntArray]


@dataclass(frozen=True, eq=False)
class Cut:
    """What one axis keeps.

    Args:
        axis: the units.
        kept: units that stay, increasing, shape (n_kept,).
        weight: of rows: how much each counts in the row that all cut ids read, shape (n_units,);
            None = alike.
    """

    axis: UnitAxis
    kept: IntArray
    weight: NDArray[np.float64] | None = None


class Slicer:
    """Cuts tensors by their names; what it does to weights it does to an optimiser's moments.

    Args:
        cuts: of one module.
    """

    def __init__(self, cuts: Iterable[Cut]) -> None:
        self.rows: dict[str, Cut] = {}
        self.kept: dict[Place, Tensor] = {}
        gone: dict[Place, NDArray[np.bool_]] = {}
        for cut in cuts:
            lost = np.ones(cut.axis.size, bool)
            lost[cut.kept] = False
            for place, units in cut.axis.places.items():
                if cut.axis.unit == "row":
                    self.rows[place[0]] = cut
                else:
                    mask = gone.setdefault(place, np.zeros(len(units), bool))
                    mask[units >= 0] |= lost[units[units >= 0]]
        self.kept = {place: torch.from_numpy(np.flatnonzero(~m)) for place, m in gone.items()}
        self.touched = {*self.rows, *(name for name, _ in self.kept)}

    def shape(self, name: str, shape: Iterable[int]) -> tuple[int, ...]:
        """Return a tensor's shape after the cut."""
        new = [len(self.kept.get((name, d), range(n))) for d, n in enumerate(shape)]
        if name in self.rows:
            new[0] = int(self.remap(name).max()) + 1
        return tuple(new)

    def cuts_norm(self, name: str) -> bool:
        """Tell whether a ``LayerNorm`` loses units."""
        return f"{name}.{NORMALIZED}" in self.touched

    def cut(self, name: str, tensor: Tensor, fill: bool = True) -> Tensor:
        """Return what is left of a tensor, sharing nothing with it.

        Args:
            name: of the tensor that it belongs to.
            tensor: of that tensor's uncut shape.
            fill: the row of the cut ids is their mean; else zero.
        """
        if name in self.rows:
            tensor = self._cut_rows(name, tensor, fill)
        for dim in range(tensor.ndim):
            if (kept := self.kept.get((name, dim))) is not None:
                tensor = tensor.index_select(dim, kept.to(tensor.device))
        return tensor.clone(memory_format=torch.contiguous_format)

    def zeroed(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor of the uncut shape that should act as the cut one does."""
        if name in self.rows:
            remap = self.remap(name).to(tensor.device)
            tensor = self._cut_rows(name, tensor, True).index_select(0, remap)
        for dim in range(tensor.ndim):
            if (kept := self.kept.get((name, dim))) is not None:
                mask = torch.zeros(tensor.shape[dim], dtype=torch.bool).index_fill(0, kept, True)
                shape = [-1 if d == dim else 1 for d in range(tensor.ndim)]
                mask = mask.to(tensor.device).view(shape)
                tensor = torch.where(mask, tensor, torch.zeros_like(tensor))
        return tensor

    def remap(self, name: str) -> Tensor:
        """Return the new row of each old one, shape (rows,), int32.

        Rows that are no units (padding, the row of earlier cuts) stay; a table that was cut before
        has a row for cut ids already, its last, and else gets one.
        """
        cut = self.rows[name]
        units = cut.axis.places[name, 0]
        stays = (units < 0) | np.isin(units, cut.kept)
        new = np.where(stays, np.cumsum(stays) - 1, stays.sum()).astype(np.int32)
        if _cut_before(cut):
            new[~stays] = new[-1]
        return torch.from_numpy(new)

    def _cut_rows(self, name: str, tensor: Tensor, fill: bool) -> Tensor:
        cut, remap = self.rows[name], self.remap(name)
        rows = int(remap.max()) + 1
        units = torch.from_numpy(cut.axis.places[name, 0])
        gone = (units >= 0) & ~torch.isin(units, torch.from_numpy(cut.kept))
        out = tensor.new_zeros((rows, *tensor.shape[1:]))
        out[remap[~gone].long().to(tensor.device)] = tensor[(~gone).to(tensor.device)]
        if fill and gone.any() and not _cut_before(cut):
            weight = torch.ones(len(units), dtype=torch.float64)
            if cut.weight is not None and cut.weight[units[gone].numpy()].sum() > 0:
                weight[units >= 0] = torch.from_numpy(cut.weight)[units[units >= 0].long()]
            share = (weight[gone] / weight[gone].sum()).to(tensor.device)
            out[-1] = (share @ tensor[gone.to(tensor.device)].double()).to(tensor.dtype)
        return out


def _cut_before(cut: Cut) -> bool:
    """Tell whether the last row is the one that ids read which an earlier cut removed."""
    (units,) = cut.axis.places.values()
    return bool(units[-1] == ROW_OF_CUT_IDS)


def apply_cuts(net: nn.Module, slicer: Slicer) -> None:
    """Make a module smaller where it stands.

    Parameters keep their identity, so that tied weights, lists of parameters and optimisers that
    the module holds itself go on pointing at the right ones.
    """
    named = leaves(net)
    names = {id(t): name for name, t in named.items()}
    shapes = {name: tuple(t.shape) for name, t in named.items()}
    held = [v for m in net.modules() for v in vars(m).values()]
    for optimizer in {id(v): v for v in held if isinstance(v, torch.optim.Optimizer)}.values():
        cut_moments(optimizer, names, shapes, slicer)
    tables = {id(m): m for m in net.modules() if isinstance(m, TABLES)}
    tensor_of: list[tuple[Any, str]] = [(m, names.get(id(m.weight), "")) for m in tables.values()]
    maps = {n: slicer.remap(n).to(named[n].device) for n in slicer.rows}
    for name, tensor in named.items():
        # Gradients and version counters are of the uncut shape.
        tensor.grad = None
        if name in slicer.touched:
            tensor.data = slicer.cut(name, tensor.data)
    mapped = [(m, name) for m, name in tensor_of if name in maps]
    earlier: dict[int, tuple[Tensor, Tensor]] = {
        id(m.remap): (m.remap, maps[n]) for m, n in mapped if hasattr(m, "remap")
    }
    for before, now in earlier.values():  # tied tables may share one map
        before.data = now[before.long()]
    for module, name in mapped:
        _replace(net, module, maps[name])
    _tell_modules(net, slicer)


def cut_moments(
    optimizer: torch.optim.Optimizer,
    names: Mapping[int, str],
    shapes: Mapping[str, tuple[int, ...]],
    slicer: Slicer,
) -> None:
    """Cut an optimiser's moments as its parameters.

    Args:
        optimizer: changed where it stands.
        names: ``id`` of each of its parameters → tensor name.
        shapes: tensor name → uncut shape.
        slicer: of the parameters' module.
    """
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter), "")
        for key, value in state.items():
            if isinstance(value, Tensor) and value.ndim and value.shape == shapes.get(name):
                state[key] = slicer.cut(name, value, fill=False)


def _replace(net: nn.Module, table: Any, remap: Tensor) -> None:
    rows = len(table.weight)
    earlier = getattr(table, "remap", None)
    if earlier is not None:
        if table.padding_idx is not None:
            table.padding_idx = int(remap[table.padding_idx])
        table.num_embeddings = rows
        return
    _put(net, table, remapped(table, remap, rows))


def _put(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in another's place, wherever the net holds it."""
    for parent in list(net.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new


def _tell_modules(net: nn.Module, slicer: Slicer) -> None:
    """Bring the sizes that modules remember in line with their tensors."""
    for name, module in net.named_modules():
        m: Any = module
        if isinstance(m, nn.Linear):
            m.out_features, m.in_features = m.weight.shape
        elif isinstance(m, nn.modules.conv._ConvNd) and not m.transposed:
            m.out_channels, m.in_channels = len(m.weight), m.weight.shape[1] * m.groups
        elif isinstance(m, nn.modules.batchnorm._BatchNorm):
            known = m.weight if m.weight is not None else m.running_mean
            m.num_features = m.num_features if known is None else len(known)
        elif isinstance(m, nn.PReLU):
            m.num_parameters = len(m.weight)
        elif isinstance(m, TABLES):
            m.embedding_dim = m.weight.shape[1]
        elif isinstance(m, nn.LayerNorm):
            m.normalized_shape = slicer.shape(f"{name}.{NORMALIZED}", m.normalized_shape)


class _SurvivorNorm(nn.Module):
    """LayerNorm over the kept positions of an uncut input; the others come out as zero."""

    def __init__(self, norm: nn.LayerNorm, slicer: Slicer, name: str) -> None:
        super().__init__()
        self.norm, self.slicer, self.place = norm, slicer, f"{name}.{NORMALIZED}"

    def forward(self, x: Tensor) -> Tensor:
        lead = x.ndim - len(self.norm.normalized_shape)
        ones = self.slicer.zeroed(self.place, torch.ones(x.shape[lead:], dtype=x.dtype)).to(x)
        dims = tuple(range(lead, x.ndim))
        mean = (x * ones).sum(dims, keepdim=True) / ones.sum()
        spread = ((x - mean) ** 2 * ones).sum(dims, keepdim=True) / ones.sum()
        x = (x - mean) * ones / (spread + self.norm.eps).sqrt()
        weight, bias = self.norm.weight, self.norm.bias
        x = x if weight is None else x * weight
        return x if bias is None else x + bias


def masked(net: nn.Module, slicer: Slicer) -> None:
    """Set the cut units' weights to zero where they stand: the same outputs at full size."""
    for name, parameter in net.named_parameters():
        parameter.data = slicer.zeroed(name, parameter.data)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.LayerNorm) and slicer.cuts_norm(name):
            _put(net, module, _SurvivorNorm(module, slicer, name))
