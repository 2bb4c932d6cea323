"""``recprune reseal``: sealed folders, under another master key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli._options import Json, MasterKeyFile, emit


def command(
    folders: Annotated[list[Path], typer.Argument(help="Sealed folders.")],
    old_master_key_file: Annotated[
        Path, typer.Option("--old-master-key-file", help="File of the master key so far.")
    ],
    master_key_file: MasterKeyFile = None,
    new_data_key: Annotated[
        bool,
        typer.Option(
            "--new-data-key",
            help="Encrypt all files anew, too: where the old master key was exposed.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Put sealed folders under another master key, without encrypting their files again.

    Ended and started again, it goes on where it was.
    """
    from recprune.crypto import read_key
    from recprune.envelope import master_id, reseal, rewrap

    old, new = read_key("master", old_master_key_file), read_key("master", master_key_file)
    changed = []
    for folder in folders:
        if rewrap(folder, old, new):
            changed.append(str(folder))
        if new_data_key:
            reseal(folder, new, new)
    unchanged = [str(f) for f in folders if str(f) not in changed]
    result = {"changed": changed, "under_this_key_already": unchanged, "master_key": master_id(new)}
    emit(result, as_json)
    return 0
