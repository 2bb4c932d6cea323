"""A cut module on disk: ``plan.json``, ``plan.safetensors``, ``model.safetensors``.

``plan.json`` names the uncut tensors and the axes, and holds the hashes of all three; kept units
and the places of units lie in ``plan.safetensors``. See ``docs/foreign.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as format_arrays
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor, nn

from recprune import __version__
from recprune.errors import ArtifactError, PlanError, nearest
from recprune.folders import folder_written_whole
from recprune.foreign.cuts import Cut, Slicer, UnitAxis
from recprune.foreign.tracing import NORMALIZED, TABLES, leaves

__all__ = ["Inventory", "Stored", "inventory", "read", "save"]

FORMAT, PROTOCOL = "recprune-module", 1
PLAN, UNITS, MODEL = "plan.json", "plan.safetensors", "model.safetensors"
#: What parsing well-formed but wrong JSON and tensors can raise.
UNREADABLE = (AttributeError, LookupError, RecursionError, SafetensorError, TypeError, ValueError)


@dataclass(frozen=True)
class Inventory:
    """The tensors of a module, each once, by its first name.

    Args:
        shapes: name → shape.
        dtypes: name → dtype, as torch words it.
        stored: names that the module's state has (buffers may be left out of it).
        tables: names of the tables that a cut of rows gives a map of ids.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    stored: frozenset[str]
    tables: frozenset[str] = frozenset()

    def size(self, slicer: Slicer | None = None) -> int:
        """Return the state's bytes, uncut or after a cut, new maps of ids (int32) included."""
        total = 0
        for name in self.tables.intersection(() if slicer is None else slicer.rows):
            total += 4 * self.shapes[name][0]
        for name in self.stored:
            shape = self.shapes[name] if slicer is None else slicer.shape(name, self.shapes[name])
            total += int(np.prod(shape, dtype=np.int64)) * _itemsize(self.dtypes[name])
        return total

    def check(self, net: nn.Module, whose: str) -> None:
        """Raise PlanError if a module has other tensors."""
        other = inventory(net)
        for name in {**self.shapes, **other.shapes}:
            if name not in other.shapes:
                known = nearest(name, other.shapes)
                raise PlanError(
                    f"{whose} with a tensor {name!r}; {type(net).__name__} has none.{known}"
                )
            if name not in self.shapes:
                raise PlanError(f"{whose} without a tensor {name!r}; {type(net).__name__} has one.")
            mine, its = (f"{list(i.shapes[name])} {i.dtypes[name]}" for i in (self, other))
            if mine != its:
                raise PlanError(f"{whose} whose tensor {name!r} is {mine}; this one's is {its}.")


def inventory(net: nn.Module) -> Inventory:
    """List the tensors of a module."""
    named = leaves(net)
    names = {id(t): name for name, t in named.items()}
    state = {names[id(t)] for t in net.state_dict(keep_vars=True).values() if id(t) in names}
    free = [m for m in net.modules() if isinstance(m, TABLES) and not hasattr(m, "remap")]
    return Inventory(
        {name: tuple(t.shape) for name, t in named.items()},
        {name: str(t.dtype).removeprefix("torch.") for name, t in named.items()},
        frozenset(state),
        frozenset(names[id(m.weight)] for m in free if id(m.weight) in names),
    )


@dataclass(frozen=True, eq=False)
class Stored:
    """What a folder holds."""

    net: str
    tensors: Inventory
    cuts: tuple[Cut, ...]
    state: Mapping[str, Tensor]
    aliases: Mapping[str, str]

    def fill(self, small: nn.Module) -> None:
        """Load the weights into a module that was cut alike.

        Raises:
            ArtifactError: they do not fit.
        """
        try:
            shared = {name: self.state[first] for name, first in self.aliases.items()}
            small.load_state_dict({**self.state, **shared}, strict=True)
        except (AttributeError, LookupError, RuntimeError, TypeError) as error:
            raise ArtifactError(f"The stored tensors do not fit their plan: {error}") from error


def save(
    net: str,
    tensors: Inventory,
    cuts: tuple[Cut, ...],
    skipped: Mapping[str, str],
    small: nn.Module,
    path: Path,
) -> int:
    """Write the folder; return the bytes of its tensors' file."""
    _check_cut(net, tensors, cuts, small)
    state, aliases = _state(small)
    units: dict[str, NDArray[Any]] = {}
    axes = []
    for i, cut in enumerate(cuts):
        units[f"kept.{i}"] = cut.kept
        units |= {f"units.{i}.{j}": u for j, u in enumerate(cut.axis.places.values())}
        places = [list(place) for place in cut.axis.places]
        axes.append([cut.axis.name, cut.axis.unit, cut.axis.size, places])
    files = {MODEL: format_tensors(state), UNITS: format_arrays(units)}
    about: dict[str, Any] = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "recprune": __version__,
        "module": net,
        "tensors": {n: [tensors.dtypes[n], list(s)] for n, s in tensors.shapes.items()},
        "stored": sorted(tensors.stored),
        "tables": sorted(tensors.tables),
        "aliases": aliases,
        "axes": axes,
        "skipped": dict(skipped),
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    about["sha256"] = {**hashes, PLAN: _own_hash({**about, "sha256": hashes})}
    files[PLAN] = _json(about)
    with folder_written_whole(path) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return len(files[MODEL])


def read(path: Path) -> Stored:
    """Read a folder, checking every hash before anything is built.

    Raises:
        ArtifactError: a file is missing, changed, of a newer protocol, or contradicts the others.
    """
    try:
        files = {name: _regular(path / name).read_bytes() for name in (PLAN, UNITS, MODEL)}
    except OSError as error:
        raise ArtifactError(f"{str(path)!r} is not a saved module: {error}.") from error
    try:
        about = json.loads(files[PLAN])
        if about["format"] != FORMAT or about["protocol"] > PROTOCOL:
            made = f"{about['format']} {about['protocol']}"
            raise ArtifactError(
                f"{str(path)!r} is of format {made}; this version reads {FORMAT} up to {PROTOCOL}."
            )
        hashes = about["sha256"]
        files_alone = {n: h for n, h in hashes.items() if n != PLAN}
        found = {n: hashlib.sha256(files[n]).hexdigest() for n in (UNITS, MODEL)}
        found[PLAN] = _own_hash({**about, "sha256": files_alone})
        if changed := [n for n in found if hashes.get(n) != found[n]]:
            raise ArtifactError(f"{str(path)!r} was changed after saving: {', '.join(changed)}.")
        return _stored(about, parse_arrays(files[UNITS]), parse_tensors(files[MODEL]))
    except UNREADABLE as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{str(path)!r} is not a sound module: {error}.") from error


def _stored(about: dict[str, Any], units: dict[str, Any], state: dict[str, Tensor]) -> Stored:
    tensors = Inventory(
        {n: tuple(shape) for n, (_, shape) in about["tensors"].items()},
        {n: dtype for n, (dtype, _) in about["tensors"].items()},
        frozenset(about["stored"]),
        frozenset(about["tables"]),
    )
    cuts = []
    for i, (name, unit, size, places) in enumerate(about["axes"]):
        where = {(t, d): units[f"units.{i}.{j}"] for j, (t, d) in enumerate(places)}
        cuts.append(_checked(Cut(UnitAxis(name, unit, size, where), units[f"kept.{i}"]), tensors))
    return Stored(about["module"], tensors, tuple(cuts), state, about["aliases"])


def _checked(cut: Cut, tensors: Inventory) -> Cut:
    """Return a cut whose units and places are those of the tensors, or raise ValueError."""
    axis, kept = cut.axis, cut.kept
    if kept.dtype != np.int32 or kept.ndim != 1 or not len(kept) or (np.diff(kept) <= 0).any():
        raise ValueError(f"kept units of axis {axis.name!r} must be int32 and increase")
    if axis.unit not in ("neuron", "dim", "row") or kept[0] < 0 or kept[-1] >= axis.size:
        raise ValueError(f"axis {axis.name!r} has no such units")
    for (name, dim), units in axis.places.items():
        inside = units.dtype == np.int32 and units.ndim == 1 and (units < axis.size).all()
        norm = name.endswith(f".{NORMALIZED}")
        if not inside or not (norm or len(units) == tensors.shapes[name][dim]):
            raise ValueError(f"axis {axis.name!r} does not fit tensor {name!r}")
    return cut


def _regular(file: Path) -> Path:
    """Return a file, unless it is something that reading could wait for."""
    if file.exists() and not file.is_file():
        raise OSError(f"{file.name} is no file")
    return file


def _state(net: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return each tensor of the state once, and further names → the first."""
    first: dict[int, str] = {}
    state: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in net.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise PlanError(
                f"The state of {type(net).__name__} holds {name!r}, which is no tensor."
            )
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
            continue
        first[id(tensor)] = name
        state[name] = tensor.detach().cpu().contiguous()
    return state, aliases


def _check_cut(net: str, tensors: Inventory, cuts: tuple[Cut, ...], small: nn.Module) -> None:
    slicer, have = Slicer(cuts), leaves(small)
    for name, shape in tensors.shapes.items():
        want = slicer.shape(name, shape)
        found = tuple(have[name].shape) if name in have else None
        if found != want:
            raise PlanError(
                f"The module is not what the plan makes of a {net}: tensor {name!r} should be of "
                f"shape {list(want)}, and is {found and list(found)}. Save what plan.apply returned."
            )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def _own_hash(about: Any) -> str:
    return hashlib.sha256(_json(about)).hexdigest()


def _itemsize(dtype: str) -> int:
    return int(getattr(torch, dtype).itemsize)
