"""A model as one ONNX file: ids in, probability out, checked before it is kept.

``docs/format.md`` says what the file's inputs and outputs are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from recprune.artifact import Artifact, encoded, read_artifact
from recprune.errors import InputError, ParameterError
from recprune.export.check import ROWS, difference
from recprune.export.graph import Graph, Value
from recprune.export.inputs import CODES, SHARES, Fields
from recprune.export.parts import PARTS, Terms
from recprune.folders import file_written_whole
from recprune.quantisation import stored_bytes
from recprune.runtime import Scorer
from recprune.runtime.inputs import inputs_of
from recprune.runtime.tensors import Tensors

if TYPE_CHECKING:
    from recprune.models import Ranker

__all__ = ["Exported", "export_onnx"]

#: A protobuf message holds no more; the graph itself is some kilobytes.
MOST_BYTES = (1 << 31) - (1 << 20)


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was kept.

    Args:
        path: where it is.
        bytes: its size.
        labels: what its outputs' columns predict.
        rows: generated rows on which it was compared with the scorer.
        difference: the largest difference of a logit, by the largest logit (at least 1).
    """

    path: Path
    bytes: int
    labels: tuple[str, ...]
    rows: int
    difference: float


def export_onnx(model: Ranker | Artifact | Path | str, path: Path | str) -> Exported:
    """Write a model as an ONNX file: codes and shares in, probabilities out.

    The file is checked by onnx and compared with the scorer on generated rows; it appears at
    ``path`` only if both agree within 1e-5 of the largest logit (at least 1). Tables that the
    artefact stores in 16, 8 or 4 bits stay so, but for those of several encodings, which are fp32
    in the graph, as layers are. The same model gives the same bytes.

    Args:
        model: a fitted ranker, an artefact, or the folder of one.
        path: the file to write; its name ends with ``.onnx``.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
        ArtifactError: the folder is not a sound artefact.
        ParameterError: ``path`` does not end with ``.onnx``, or ``model`` is something else.
        InputError: ``path`` cannot be written, or the model has more weights than one ONNX file
            holds (2 GB).
        RunError: the file and the scorer disagree; nothing is kept.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ParameterError.of("path", "export_onnx", "a file name that ends with .onnx", path)
    if isinstance(model, Path | str):
        artifact = read_artifact(Path(model))
    elif isinstance(model, Artifact):
        artifact = model
    elif hasattr(model, "artifact"):  # a ranker: its class would bring torch along
        artifact = model.artifact()
    else:
        constraint = "a fitted ranker of recprune, an artefact, or the folder of one"
        raise ParameterError.of("model", "export_onnx", constraint, model)
    scorer = Scorer(artifact)
    with file_written_whole(target) as partial:
        _write(partial, artifact)
        worst = difference(partial, scorer)
        size = partial.stat().st_size
    return Exported(target, size, scorer.labels, sum(ROWS), worst)


def _write(path: Path, artifact: Artifact) -> None:
    """Write a sound artefact's graph."""
    encoder, tensors = artifact.encoder, Tensors(artifact.state)
    tables = {name: a for name, a in artifact.state.items() if name.startswith("table.")}
    held = {n: e for n, e in artifact.encodings.items() if n in tables and isinstance(e, str)}
    size = sum(stored_bytes(a.shape, held.get(n, "fp32")) for n, a in artifact.state.items())
    if size > MOST_BYTES:
        raise InputError(
            f"The model has {size:,} bytes of weights; an ONNX file holds at most {MOST_BYTES:,}. "
            "Prune it further, or store its tables in int8."
        )
    wide, labels = artifact.model["wide"], artifact.model["labels"]
    inputs, _ = inputs_of(artifact, tensors, wide)
    graph = Graph(CODES)
    fields = Fields(graph, encoder, encoded(tables, held), held, wide, artifact.layout)
    terms = Terms(graph, tensors, inputs, fields.embeddings)
    parts = [PARTS[name](terms) for name in artifact.model["parts"]]
    # A column of zeros makes the shape (n, T) where no part has a column.
    bias = graph.constant(tensors.take("bias", len(labels)).astype(np.float32))
    start = Value(graph.op("Add", graph.zeros(), bias), len(labels))
    logit = graph.op("Identity", graph.plus([start, fields.first, *parts]).name, name="logit")
    graph.op("Sigmoid", logit, name="probability")
    described = [
        {
            "name": f.name,
            "kind": f.kind,
            "rows": size,
            "codes": [slots.start, slots.stop],
            "shares": [shares.start, shares.stop],
        }
        for f, size, slots, shares in zip(
            encoder.schema.fields, encoder.sizes, encoder.slots, encoder.share_slots, strict=True
        )
    ]
    given: list[tuple[str, DTypeLike, int]] = [
        (CODES, np.int32, sum(lookup.width for lookup in encoder.parts.values()))
    ]
    if n_shares := sum(lookup.n_shares for lookup in encoder.parts.values()):
        given.append((SHARES, np.float32, n_shares))
    answers = {"probability": len(labels), "logit": len(labels)}
    facts = {"labels": json.dumps(labels), "fields": json.dumps(described)}
    graph.write(path, given, answers, facts)
