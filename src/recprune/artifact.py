"""The artefact: one folder, JSON and safetensors only, written whole or not at all.

``config.json`` (format, protocol, model, layout after pruning, schema), ``model.safetensors``,
``vocab.safetensors``, ``plan.json`` + ``plan.safetensors`` (kept units), and, when items can be
ranked, ``catalogue.safetensors``. Loading runs no code and checks every hash, shape and length
before anything is built. ``docs/format.md`` is the specification.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from recprune.encoding import Encoder
from recprune.errors import ArtifactError, InputError
from recprune.layout import Layout, Plan, State
from recprune.schema import Schema

__all__ = ["Artifact", "folder_written_whole", "read_artifact", "stored_size", "write_artifact"]

FORMAT, PROTOCOL = "recprune", 1
MARKS = ("config.json", "report.json", "users.json")

Array = NDArray[Any]
Reader = Callable[[str], bytes]


@dataclass(frozen=True, eq=False)
class Artifact:
    """Everything needed to score: a model after pruning and the encodings of its inputs.

    Args:
        model: class name and sizes, as the model wrote them.
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


def write_artifact(folder: Path, artifact: Artifact, version: str) -> int:
    """Write the artefact's files into an existing folder; return its bytes (design: weights,
    kept indices and vocabulary as stored).

    The caller makes the folder appear at once with :func:`folder_written_whole`.
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
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    files["config.json"] = _json(config)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sum(len(data) for data in counted.values())


def read_artifact(source: Path | str | Reader) -> Artifact:
    """Read an artefact from a folder, or through a ``reader(name) -> bytes``.

    Raises:
        ArtifactError: not an artefact, a newer protocol, or a file that was changed or cut short.
    """
    read = source if callable(source) else _folder_reader(Path(source))
    config = _parse_config(read("config.json"))
    data = {name: read(name) for name in config["sha256"]}
    for name, expected in config["sha256"].items():
        if hashlib.sha256(data[name]).hexdigest() != expected:
            raise ArtifactError(
                f"{name} does not match the hash in config.json: the file was changed or cut short. "
                "Restore the folder from where it was made."
            )
    try:
        tensors = {n: parse_tensors(data[f"{n}.safetensors"]) for n in ("model", "vocab", "plan")}
        catalogue = data.get("catalogue.safetensors")
        plan_json = json.loads(data["plan.json"])
        plan = Plan(plan_json["layout_hash"], tensors["plan"], plan_json["encoding"])
        layout = Layout.from_json(config["layout"], origin=plan.keep)
        encoder = Encoder.from_tensors(Schema.from_json(config["schema"]), tensors["vocab"])
        state = _decode(tensors["model"], plan)
        meta, model = config["meta"], config["model"]
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"The artefact cannot be read: {error!r}.") from error
    shapes = {name: array.shape for name, array in state.items()}
    if shapes != dict(layout.shapes):
        raise ArtifactError("The tensors' shapes are not those of the layout in config.json.")
    for name, rows in zip(encoder.schema.names, encoder.sizes, strict=True):
        table = shapes.get(f"table.{name}")
        if table is None or len(table) != 2 or table[0] != rows:
            raise ArtifactError(f"Field {name!r} has {rows} rows and a table of shape {table}.")
    parsed = parse_tensors(catalogue) if catalogue else {}
    return Artifact(model, state, layout, plan, encoder, parsed, meta)


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` at the end, or vanishes.

    Raises:
        InputError: ``path`` cannot be written, or holds something that recprune did not write.
    """
    path = Path(path)
    target = path.absolute()
    if target.exists() and not _replaceable(target):
        raise InputError(
            f"Output {str(path)!r} exists and is not a recprune folder; it is left as it is. "
            "Choose another -o."
        )
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        partial.mkdir()
    except OSError as error:
        raise InputError(f"Output {str(path)!r} cannot be written: {error.strerror}.") from error
    try:
        yield partial
        _sync(partial)
        if target.exists():
            old = target.parent / f".{target.name}.{os.getpid()}.old"
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old)
        else:
            partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"Output {str(path)!r} cannot be written: {error.strerror}.") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def stored_size(artifact: Artifact) -> int:
    """Return the bytes that :func:`write_artifact` would count, without writing."""
    return sum(len(data) for data in _counted_files(artifact).values())


def _counted_files(artifact: Artifact) -> dict[str, bytes]:
    """Return weights, vocabulary and kept indices as stored: what *bytes* means everywhere."""
    return {
        "model.safetensors": format_tensors(_encode(artifact.state, artifact.plan)),
        "vocab.safetensors": format_tensors(artifact.encoder.tensors()),
        "plan.safetensors": format_tensors(dict(artifact.plan.keep)),
    }


def _encode(state: State, plan: Plan) -> dict[str, Array]:
    stored: dict[str, Array] = {}
    for name, array in state.items():
        encoding = plan.encoding.get(name)
        if encoding == "int8":
            scale = np.abs(array).max(axis=0).astype(np.float32) / 127
            safe = np.where(scale > 0, scale, 1)
            stored[name] = np.clip(np.rint(array / safe), -127, 127).astype(np.int8)
            stored[f"{name}.scale"] = scale
        elif encoding == "fp16":
            stored[name] = array.astype(np.float16)
        else:
            stored[name] = np.ascontiguousarray(array, np.float32)
    return stored


def _decode(stored: Mapping[str, Array], plan: Plan) -> dict[str, Array]:
    state = {}
    for name, array in stored.items():
        if name.endswith(".scale") and name.removesuffix(".scale") in plan.encoding:
            continue
        if plan.encoding.get(name) == "int8":
            state[name] = array.astype(np.float32) * stored[f"{name}.scale"]
        else:
            state[name] = array.astype(np.float32)
    return state


def as_stored(state: State, plan: Plan) -> dict[str, Array]:
    """Return the state as it will read back: rounded by the plan's encodings."""
    return _decode(_encode(state, plan), plan)


def _parse_config(data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
        if config["format"] != FORMAT:
            raise ArtifactError(
                f"config.json is not recprune's: its format is {config['format']!r}."
            )
        if config["protocol"] > PROTOCOL:
            raise ArtifactError(
                f"The artefact has protocol {config['protocol']}; this recprune reads up to {PROTOCOL}. "
                "Upgrade recprune."
            )
        if not {"model.safetensors", "vocab.safetensors", "plan.safetensors", "plan.json"} <= set(
            config["sha256"]
        ):
            raise ArtifactError("config.json does not list all files of an artefact.")
        if any("/" in n or "\\" in n or n.startswith(".") for n in config["sha256"]):
            raise ArtifactError("config.json lists a file outside the artefact's folder.")
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"config.json cannot be read: {error!r}.") from error
    return dict(config)


def _folder_reader(folder: Path) -> Reader:
    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            what = "is no recprune artefact" if name == "config.json" else "is incomplete"
            raise ArtifactError(f"Folder {str(folder)!r} {what}: it has no {name}.") from None
        except OSError as error:
            raise ArtifactError(f"{folder / name} cannot be read: {error.strerror}.") from error

    return read


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _replaceable(target: Path) -> bool:
    if not target.is_dir():
        return False
    return not any(target.iterdir()) or any((target / mark).exists() for mark in MARKS)


def _remove_stale(target: Path) -> None:
    """Remove what a killed run left beside the target."""
    for stale in target.parent.glob(f".{target.name}.*.partial"):
        pid = stale.name.split(".")[-2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(stale, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
