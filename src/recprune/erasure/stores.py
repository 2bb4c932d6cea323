"""Where a search or a training stands: files that hold rows by their codes, and are deleted.

Nothing in them can be cut, and nobody could go on from them: they are kept under a hash of the rows,
which are others once a user is forgotten.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from recprune.erasure.records import Removed

__all__ = ["delete_stores", "is_store", "stores_of"]

JOURNAL = "trials.jsonl"


def delete_stores(path: Path) -> list[Removed]:
    """Delete the checkpoints and trial stores in a folder, and its own beside it."""
    removed = []
    for store in [*stores_of(path)]:
        if store.is_dir() and store.name.startswith(".") and store.name.endswith(".checkpoint"):
            shutil.rmtree(store)
        elif store.is_dir():
            _empty_trials(store)
        else:
            store.unlink(missing_ok=True)
        removed.append(Removed(str(store), "checkpoint or trial store, deleted", 1))
    return removed


def stores_of(path: Path) -> Iterator[Path]:
    """Yield the checkpoints and trial stores in a folder, and its own beside it."""
    beside = path.parent / f".{path.name}.checkpoint"
    if beside.exists():
        yield beside
    yield from _stores_in(path)


def is_store(path: Path) -> bool:
    """Tell whether a path is a checkpoint, or a folder of checkpoints or trials."""
    if path.is_dir():
        hidden = path.name.startswith(".") and path.name.endswith(".checkpoint")
        return hidden or (path / JOURNAL).is_file()
    kind = path.name.removesuffix(".partial")
    return kind.endswith(".safetensors") and _is_checkpoint(path)


def _stores_in(path: Path) -> Iterator[Path]:
    if is_store(path):
        yield path
    elif path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            yield from _stores_in(entry)


def _empty_trials(folder: Path) -> None:
    """Delete a folder of trials; files in it that are none stay."""
    for entry in folder.iterdir():
        if entry.is_file() and entry.suffix in (".safetensors", ".partial"):
            entry.unlink()
    (folder / JOURNAL).unlink()  # last: it tells, should this be killed, that weights are left
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_checkpoint(file: Path) -> bool:
    """Tell whether a safetensors file's header says that a training wrote it."""
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if not 2 <= length <= 1 << 27:
                return False
            told = json.loads(handle.read(length)).get("__metadata__", {})
        return "run" in json.loads(told["recprune"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
