"""``recprune unseal``: a sealed folder, in plain again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import Json, MasterKeyFile, Output, emit


def command(
    folder: Annotated[Path, typer.Argument(help="A sealed folder.")],
    output: Output,
    master_key_file: MasterKeyFile = None,
    as_json: Json = False,
) -> int:
    """Write the plain files of a sealed folder. Reading it needs no unsealing."""
    from recprune.crypto import read_key
    from recprune.envelope import unseal

    unseal(folder, output, read_key("master", master_key_file))
    files = [f for f in output.rglob("*") if f.is_file()]
    size = sum(f.stat().st_size for f in files)
    emit({"folder": str(output), "files": len(files), "bytes": size}, as_json)
    return 0
