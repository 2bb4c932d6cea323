"""``recprune seal``: a folder, encrypted at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import Json, MasterKeyFile, emit


def command(
    folder: Annotated[
        Path,
        typer.Argument(help="An artefact, a run, users.rp or data.rp, with all that is in it."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write; default: in the folder's own place."),
    ] = None,
    master_key_file: MasterKeyFile = None,
    as_json: Json = False,
) -> int:
    """Encrypt a folder; the other verbs read it as before while $RECPRUNE_MASTER_KEY is set."""
    from recprune.crypto import read_key
    from recprune.envelope import Sealed, master_id, seal

    master, out = read_key("master", master_key_file), output or folder
    seal(folder, out, master)
    files = Sealed(out, master).files
    result = {"folder": str(out), "files": len(files), "bytes": sum(files.values())}
    emit({**result, "master_key": master_id(master)}, as_json)
    return 0
