"""The artefact: one folder, JSON and safetensors only, written whole or not at all.

``config.json`` (format, protocol, model, layout after pruning, schema), ``model.safetensors``,
``vocab.zlib``, ``plan.json`` + ``plan.zlib`` (kept units), and, when items can be ranked,
``catalogue.safetensors``. Loading runs no code and checks every hash, shape and length
before anything is built. ``docs/format.md`` is the specification.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from recprune.compact import deflated, inflated, packed_units, unpacked_units
from recprune.encoding import Encoder
from recprune.envelope import folder_reader
from recprune.envelope.reading import Reader
from recprune.errors import ArtifactError, PlanError
from recprune.folders import folder_written_whole
from recprune.layout import Layout, Plan, State
from recprune.quantisation import Stored, checked, packed, pieces, restored, unpacked
from recprune.schema import Schema
from recprune.sparse import without_zeros

__all__ = [
    "Artifact",
    "as_stored",
    "encoded",
    "folder_written_whole",
    "read_artifact",
    "stored_size",
    "stored_weights",
    "write_artifact",
]

FORMAT, PROTOCOL = "recprune", 3
CONFIG = "config.json"
NEEDED = {"model.safetensors", "plan.json", "plan.zlib", "vocab.zlib"}
#: Of protocols 1 and 2.
NEEDED_BEFORE = {"model.safetensors", "plan.json", "plan.safetensors", "vocab.safetensors"}
#: Type of the elements that protocols 1 and 2 store for an encoding.
KINDS_BEFORE: Mapping[Stored, type[np.generic]] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "int8": np.int8,
}
# What parsing and indexing well-formed but wrong JSON and tensors can raise.
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SafetensorError,
    TypeError,
    ValueError,
)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Artifact:
    """Everything needed to score: a model after pruning and the encodings of its inputs.

    Args:
        model: what the model is: ``class``, ``options``, ``parts``, ``wide`` and ``labels``
            (``docs/format.md``).
        state: tensor name → fp32 array (decoded).
        layout: axes and shapes after pruning.
        plan: what was kept, in the uncut model's coordinates; empty = nothing was cut.
        encoder: vocabularies and knots of the kept fields and rows.
        catalogue: encoded item columns, or empty.
        meta: threshold, calibration and other plain facts.
    """

    model: Mapping[str, Any]
    state: State
    layout: Layout
    plan: Plan
    encoder: Encoder
    catalogue: Mapping[str, Array] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def encodings(self) -> dict[str, Stored]:
        """Tensor → how it is stored, runs in the rows that are left; fp32 if it is not named."""
        return self.plan.encodings(self.layout)


def write_artifact(folder: Path, artifact: Artifact, version: str) -> int:
    """Write the artefact's files into an existing folder; return its bytes (design: weights,
    kept indices and vocabulary as stored).

    The caller makes the folder appear at once with :func:`folder_written_whole`.

    Raises:
        PlanError: a weight is too large for its encoding.
        ArtifactError: the parts contradict each other; what was written would not read back.
    """
    counted = _counted_files(artifact)
    files = dict(counted)
    if artifact.catalogue:
        files["catalogue.safetensors"] = format_tensors(dict(artifact.catalogue))
    plan = {"layout_hash": artifact.plan.layout_hash, "encoding": dict(artifact.plan.encoding)}
    files["plan.json"] = _json(plan)
    config = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "recprune": version,
        "model": dict(artifact.model),
        "layout": artifact.layout.to_json(),
        "schema": artifact.encoder.schema.to_json(),
        "meta": dict(artifact.meta),
    }
    config = json.loads(_json(config))  # as it will be read: the hash is of that
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[CONFIG] = _json({**config, "sha256": {**hashes, CONFIG: _own_hash(config)}})
    for name, data in files.items():
        (folder / name).write_bytes(data)
    read_artifact(folder)
    return sum(len(data) for data in counted.values())


def read_artifact(source: Path | str | Reader) -> Artifact:
    """Read an artefact from a folder, plain or sealed, or through a ``reader(name) -> bytes``.

    Raises:
        ArtifactError: not an artefact, a newer protocol, or a file that was changed or cut short; a
            sealed folder under another master key.
        InputError: the folder is sealed, and there is no master key.
    """
    read = source if callable(source) else folder_reader(source)
    config = _parse_config(read(CONFIG))
    data = {name: read(name) for name in config["sha256"]}
    for name, expected in config["sha256"].items():
        if hashlib.sha256(data[name]).hexdigest() != expected:
            raise ArtifactError(
                f"{name} does not match the hash in config.json: the file was changed or cut short. "
                "Restore the folder from where it was made."
            )
    try:
        weights = parse_tensors(data["model.safetensors"])
        vocabulary, keep = _lists(data, config["layout"])
        catalogue = parse_tensors(data.get("catalogue.safetensors") or format_tensors({}))
        plan_json = json.loads(data["plan.json"])
        encoding = {name: checked(each, name) for name, each in plan_json["encoding"].items()}
        plan = Plan(plan_json["layout_hash"], keep, encoding)
        layout = Layout.from_json(config["layout"], origin=plan.keep)
        _check_plan(plan, layout)
        schema = Schema.from_json(config["schema"])
        _check_uses(layout, len(schema.fields))
        encoder = Encoder.from_tensors(schema, vocabulary)
        stored_as = plan.encodings(layout)
        if config["protocol"] < 3:
            state = _named(weights, stored_as)
        else:
            state = unpacked(weights, layout.shapes, stored_as)
        meta, model = _meta(config["meta"]), _model(config)
    except ArtifactError:
        raise
    except PlanError as error:
        raise ArtifactError(str(error)) from error
    except UNREADABLE as error:
        raise ArtifactError(f"The artefact cannot be read: {error!r}.") from error
    shapes = {name: array.shape for name, array in state.items()}
    if shapes != dict(layout.shapes):
        raise ArtifactError("The tensors' shapes are not those of the layout in config.json.")
    for name, rows in zip(encoder.schema.names, encoder.sizes, strict=True):
        table = shapes.get(f"table.{name}")
        if table is None or len(table) != 2 or table[0] != rows:
            raise ArtifactError(f"Field {name!r} has {rows} rows and a table of shape {table}.")
    return Artifact(model, state, layout, plan, encoder, catalogue, meta)


def _lists(
    data: Mapping[str, bytes], layout: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the vocabulary's tensors, and axis → kept units, of any protocol."""
    if "vocab.safetensors" in data:
        return parse_tensors(data["vocab.safetensors"]), parse_tensors(data["plan.safetensors"])
    sizes = [(str(axis["name"]), int(axis["size"])) for axis in layout["axes"]]
    sizes += [(str(name), 0) for name in layout["gone"]]
    name, weights = "vocab.zlib", len(data["model.safetensors"])
    try:
        vocabulary = inflated(data[name], weights)
        name = "plan.zlib"
        return vocabulary, unpacked_units(inflated(data[name], weights), sizes)
    except (*UNREADABLE, ArtifactError) as error:
        raise ArtifactError(f"{name} cannot be read: {str(error).removesuffix('.')}.") from error


def _model(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model is, in the present protocol's words."""
    model = dict(config["model"])
    if config["protocol"] > 1:
        return model
    parts = [*(["fm"] if model["fm"] else []), *(["mlp"] if model["hidden"] else [])]
    options = {"dim": model["dim"], "hidden": model["hidden"]}
    return {
        "class": model["class"],
        "labels": [config["schema"]["label"]],
        "options": options,
        "parts": parts,
        "wide": True,
    }


def _meta(meta: Any) -> dict[str, Any]:
    labels = meta.get("labels") or {}
    if not all(isinstance(m, dict) for m in (meta, labels, labels.get("negatives") or {})):
        raise ArtifactError("config.json says nothing of the labels that can be read.")
    return dict(meta)


def _check_plan(plan: Plan, layout: Layout) -> None:
    if layout.hash != plan.layout_hash and (plan.keep or plan.encoding):
        raise ArtifactError("The plan was made for another layout than that of config.json.")
    for name, units in plan.keep.items():
        size = 0 if name in layout.gone else layout.axis(name).size
        if (
            units.shape != (size,)
            or units.dtype != np.int32
            or (np.diff(units, prepend=-1) < 1).any()
        ):
            raise ArtifactError(f"The plan keeps other units of {name!r} than the layout counts.")


def _check_uses(layout: Layout, fields: int) -> None:
    """Refuse axes that lie outside their tensors, or whose size nothing on disk bears out."""
    for axis in layout.axes.values():
        if axis.size and not axis.uses and (axis.unit != "field" or axis.size != fields):
            raise ArtifactError(f"Axis {axis.name!r} has {axis.size} units, but no tensor has.")
        for use in axis.uses:
            shape = layout.shapes[use.tensor]
            inside = 0 <= use.dim < len(shape) and use.offset >= 0 and axis.size >= 0
            if not inside or use.offset + axis.size > shape[use.dim]:
                raise ArtifactError(f"Axis {axis.name!r} lies outside tensor {use.tensor!r}.")


def stored_size(artifact: Artifact, zeros: bool = True) -> int:
    """Return the bytes that :func:`write_artifact` would count, without writing.

    Args:
        artifact: a model.
        zeros: whether zeros are stored, as they are; False = what the artefact would take with
            values and positions instead (:func:`recprune.sparse.without_zeros`).
    """
    files = _counted_files(artifact)
    if not zeros:
        stored = encoded(artifact.state, artifact.encodings)
        named = {f"{n}.{i}": p for n, some in stored.items() for i, p in enumerate(some)}
        values, positions = (packed(some.values()) for some in without_zeros(named))
        files["model.safetensors"] = weights = format_tensors(values)
        files["positions"] = deflated(positions, len(weights)) if positions else b""
    return sum(len(data) for data in files.values())


def stored_weights(artifact: Artifact) -> bytes:
    """Return the file ``model.safetensors``: equal bytes, equal weights."""
    stored = encoded(artifact.state, artifact.encodings)
    return format_tensors(packed(piece for some in stored.values() for piece in some))


def _counted_files(artifact: Artifact) -> dict[str, bytes]:
    """Return weights, vocabulary and kept indices as stored: what *bytes* means everywhere."""
    # Pinned units stay without being named, and axes go with their parents: store what is left.
    axes = artifact.layout.axes
    keep = {
        name: axes[name].units if name in axes else units
        for name, units in artifact.plan.keep.items()
        if name in axes or not len(units)  # pairs that went altogether
    }
    weights = stored_weights(artifact)
    units = packed_units(keep, [*axes, *artifact.layout.gone])
    return {
        "model.safetensors": weights,
        "vocab.zlib": artifact.encoder.stored,
        "plan.zlib": deflated(units, len(weights)),
    }


def encoded(state: State, encodings: Mapping[str, Stored]) -> dict[str, list[Array]]:
    """Return each tensor's pieces as ``model.safetensors`` holds them, in order.

    Args:
        state: tensor name → fp32 array.
        encodings: tensor → how it is stored, runs in the array's own rows
            (:meth:`recprune.layout.Plan.encodings`); fp32 if it is not named.

    Raises:
        PlanError: a weight is too large for its encoding.
    """
    return {name: pieces(state[name], encodings.get(name, "fp32"), name) for name in sorted(state)}


def as_stored(state: State, encodings: Mapping[str, Stored]) -> dict[str, Array]:
    """Return the state as it will read back: rounded by the encodings."""
    return {
        name: restored(some, state[name].shape, encodings.get(name, "fp32"))
        for name, some in encoded(state, encodings).items()
    }


def _named(stored: Mapping[str, Array], encodings: Mapping[str, Stored]) -> dict[str, Array]:
    """Return the state of protocols 1 and 2: tensors by name, the scales of int8 ones apart."""
    state = {}
    for name, array in stored.items():
        if name.startswith("scale."):
            continue
        encoding = encodings.get(name, "fp32")
        if array.dtype != KINDS_BEFORE[encoding]:
            raise ArtifactError(f"Tensor {name!r} is not stored as the plan says.")
        state[name] = array.astype(np.float32)
        if encoding == "int8":
            scale = stored[f"scale.{name}"]
            if scale.shape != array.shape[1:]:
                raise ArtifactError(f"Tensor {name!r} and its scales do not fit together.")
            state[name] *= scale
    return state


def _parse_config(data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
        if config["format"] != FORMAT:
            raise ArtifactError(
                f"config.json is not recprune's: its format is {config['format']!r}."
            )
        protocol = config["protocol"]
        if type(protocol) is not int or protocol < 1:
            raise ArtifactError(f"config.json has no protocol: {protocol!r}.")
        if protocol > PROTOCOL:
            raise ArtifactError(
                f"The artefact has protocol {config['protocol']}; this recprune reads up to {PROTOCOL}. "
                "Upgrade recprune."
            )
        hashes = dict(config.pop("sha256"))
        if hashes.pop(CONFIG) != _own_hash(config):
            raise ArtifactError(
                "config.json was changed. Restore the folder from where it was made."
            )
        needed = NEEDED if protocol > 2 else NEEDED_BEFORE
        if not needed <= set(hashes) <= needed | {"catalogue.safetensors"}:
            raise ArtifactError("config.json does not list the files of an artefact.")
    except ArtifactError:
        raise
    except UNREADABLE as error:
        raise ArtifactError(f"config.json cannot be read: {error!r}.") from error
    return {**config, "sha256": hashes}


def _own_hash(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
