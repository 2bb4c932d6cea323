"""``recprune export``: a saved model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recprune.cli._options import Json, Model, emit


def command(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, NAME.onnx.")],
    as_json: Json = False,
) -> int:
    """Write a saved model as ONNX: codes in, probabilities out; kept only if it scores alike."""
    from recprune.export import export_onnx

    done = export_onnx(model, output)
    result: dict[str, Any] = {
        "file": str(done.path),
        "bytes": done.bytes,
        "labels": list(done.labels),
        "rows_compared": done.rows,
        "largest_difference": done.difference,
    }
    emit(result, as_json)
    return 0
