"""From a trace to axes: which units of which layers can be cut, and why the others cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from recprune.foreign.cuts import PINNED, ROW_OF_CUT_IDS, IntArray, UnitAxis
from recprune.foreign.labels import Vector
from recprune.foreign.remapped import TABLES as REPLACEABLE
from recprune.foreign.remapped import RemappedEmbedding, RemappedEmbeddingBag
from recprune.foreign.tracing import TABLES, Place, Trace, leaves
from recprune.foreign.wanted import LAYERS

__all__ = ["Finder"]


@dataclass(frozen=True, eq=False)
class _Block:
    roots: NDArray[np.int64]
    places: tuple[Place, ...]


class Finder:
    """Finds the axes of a module's layers.

    Args:
        net: the module.
        trace: its forward pass.
        protected: names of modules whose own units stay.
    """

    def __init__(self, net: nn.Module, trace: Trace, protected: Iterable[str]) -> None:
        self.trace = trace
        self.modules: dict[str, Any] = dict(net.named_modules(remove_duplicate=False))
        self.names = {id(t): name for name, t in leaves(net).items()}
        self.protected = set(protected)
        for name in self.protected:
            self._protect(self.modules[name])
        self.of_root = self._blocks()

    def find(self, layer: str, unit: str) -> tuple[dict[Hashable, UnitAxis], str]:
        """Return the axes of a layer's units, and why some or all of them stay (or ``""``).

        An axis that several layers have comes under the same key from each.
        """
        if unit == "row":
            axis, reason = self._rows(layer)
            return ({} if axis is None else {tuple(axis.places): axis}), reason
        weight = getattr(self.modules[layer], "weight", None)
        name = self.names.get(id(weight))
        if weight is None or name is None:
            return {}, "its weight is computed from other tensors in each pass"
        labels = self.trace.places[name, 1 if unit == "dim" else 0]
        if len(labels) < 2:
            return {}, "it has one unit only"
        roots = self.trace.labels.roots(labels)
        frozen = self.trace.labels.frozen(labels)
        reasons = sorted({r for r in self.trace.labels.reasons(labels) if r})
        reason = "; ".join(reasons)
        if frozen.any() and not frozen.all():
            reason = f"{int(frozen.sum())} of {len(labels)} units stay: {reason}"
        blocks = list(dict.fromkeys(self.of_root[int(r)] for r in roots[~frozen]))
        several = [f"/{i}" if len(blocks) > 1 else "" for i in range(len(blocks))]
        named = zip(blocks, several, strict=True)
        return {b: self._axis(b, f"{unit}s.{layer}{n}", unit, roots) for b, n in named}, reason

    def _protect(self, module: Any) -> None:
        unit_dim = 1 if isinstance(module, TABLES) else 0
        linear = isinstance(module, (*LAYERS["neuron"], *TABLES))
        for key, parameter in module.named_parameters(recurse=False):
            name = self.names[id(parameter)]
            for d in range(parameter.ndim):
                if not (linear and key == "weight") or d == unit_dim:
                    self.trace.labels.freeze(self.trace.places[name, d], "protected")

    def _blocks(self) -> dict[int, _Block]:
        """Return root → the roots that show up in the same places, equally often.

        Only such units are one axis: a sum of a concatenation and one wide layer has two.
        """
        labels = self.trace.labels
        seen: dict[int, list[tuple[Place, int]]] = defaultdict(list)
        for place, vector in self.trace.places.items():
            free = vector[~labels.frozen(vector)]
            for root, times in zip(*np.unique(labels.roots(free), return_counts=True), strict=True):
                seen[int(root)].append((place, int(times)))
        alike: dict[tuple[tuple[Place, int], ...], list[int]] = defaultdict(list)
        for root, where in seen.items():
            alike[tuple(where)].append(root)
        blocks = [_Block(np.sort(b), tuple(p for p, _ in where)) for where, b in alike.items()]
        return {int(r): b for b in blocks for r in b.roots}

    def _axis(self, block: _Block, name: str, unit: Any, order: Vector) -> UnitAxis:
        """Number the block's units as they stand in the layer that asks."""
        mine, first = np.unique(order[np.isin(order, block.roots)], return_index=True)
        number = np.argsort(np.argsort(first)).astype(np.int32)
        places: dict[Place, IntArray] = {}
        for place in block.places:
            roots = self.trace.labels.roots(self.trace.places[place])
            spot = np.searchsorted(mine, roots).clip(max=len(mine) - 1)
            places[place] = np.where(mine[spot] == roots, number[spot], PINNED).astype(np.int32)
        return UnitAxis(name, unit, len(mine), places)

    def _rows(self, layer: str) -> tuple[UnitAxis | None, str]:
        weight = self.modules[layer].weight
        name = self.names.get(id(weight))
        if name is None:
            return None, "its weight is computed from other tensors in each pass"
        tied = {n: m for n, m in self.modules.items() if getattr(m, "weight", None) is weight}
        if any(n in self.protected for n in tied):
            return None, "protected"
        odd = [type(m).__name__ for m in tied.values() if type(m) not in REPLACEABLE]
        if odd:
            return None, f"its weight belongs to a {odd[0]} too, which cannot be given a map of ids"
        if other := self.trace.other_use.get(name):
            return None, f"it is read by {other} too, not by look-ups alone"
        if not self.trace.looked_up[name]:
            return None, "the traced forward pass never looks it up"
        if self.trace.looked_up[name] != sum(self.trace.calls[n] for n in tied):
            return None, "it is looked up without its module being called"
        units = np.zeros(len(weight), np.int32)
        for module in tied.values():
            if module.padding_idx is not None:
                units[module.padding_idx] = PINNED
            if isinstance(module, RemappedEmbedding | RemappedEmbeddingBag):
                units[-1] = ROW_OF_CUT_IDS
        units[units == 0] = np.arange(int((units == 0).sum()), dtype=np.int32)
        size = int((units >= 0).sum())
        if size < 2:
            return None, "it has one row only"
        return UnitAxis(f"rows.{layer}", "row", size, {(name, 0): units}), ""
