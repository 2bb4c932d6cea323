"""``recprune inspect``: what is in an artefact."""

from __future__ import annotations

from typing import Any

from recprune.cli._options import Json, Model, emit


def command(model: Model, as_json: Json = False) -> int:
    """Show a saved model's sizes, fields, axes and plan, after checking every hash."""
    from recprune.artifact import read_artifact, stored_size

    artifact = read_artifact(model)
    axes = artifact.layout.axes.values()
    result: dict[str, Any] = {
        "model": dict(artifact.model),
        "bytes": stored_size(artifact),
        "params": sum(a.size for a in artifact.state.values()),
        "fields": [
            {
                "field": f.name,
                "kind": f.kind,
                "source": f.source,
                "rows": size,
                "sensitive": f.sensitive,
            }
            for f, size in zip(artifact.encoder.schema.fields, artifact.encoder.sizes, strict=True)
        ],
        "neurons": [a.size for a in axes if a.unit == "neuron"],
        "pairs": sum(a.size for a in axes if a.unit == "pair"),
        "items": len(artifact.catalogue.get("ids.lengths", ())),
        "cut": {
            name: len(units)
            for name, units in artifact.plan.keep.items()
            if not name.startswith("rows.")
        },
        "encoding": artifact.encodings,
        "layout_hash": artifact.layout.hash,
        "privacy": artifact.meta.get("privacy"),
    }
    emit(result, as_json)
    return 0
