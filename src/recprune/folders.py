"""Output folders: written beside their place, then moved there; whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recprune.errors import InputError

__all__ = ["folder_written_whole"]

MARKS = ("config.json", "report.json", "users.json", "data.json")


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` at the end, or vanishes.

    What a killed run left beside ``path`` is removed, and a folder that it was about to replace
    comes back.

    Raises:
        InputError: ``path`` cannot be written, or holds something that recprune did not write.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        foreign = target.exists() and not _replaceable(target)
        partial = target.parent / f".{target.name}.{os.getpid()}.partial"
        if not foreign:
            partial.mkdir()
    except OSError as error:
        raise _unwritable(path, error) from error
    if foreign:
        raise InputError(
            f"Output {str(path)!r} exists and is not a recprune folder; it is left as it is. "
            "Choose another -o."
        )
    try:
        yield partial
        _sync(partial)
        _replace(target, partial)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        # A disk that is full names no file; a file that names itself and lies elsewhere was an input.
        if error.filename is not None and not _within(error.filename, partial):
            raise
        raise _unwritable(path, error) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _unwritable(path: Path, error: OSError) -> InputError:
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "a file is in the way" if in_the_way else error.strerror
    return InputError(f"Output {str(path)!r} cannot be written: {reason}. Choose another -o.")


def _within(name: Any, folder: Path) -> bool:
    return isinstance(name, str | os.PathLike) and Path(name).absolute().is_relative_to(folder)


def _replace(target: Path, partial: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _replaceable(target: Path) -> bool:
    if not target.is_dir():
        return False
    return not any(target.iterdir()) or any(_ours(target / mark) for mark in MARKS)


def _ours(file: Path) -> bool:
    """Tell whether recprune wrote this JSON file: other programs have a config.json too."""
    try:
        about = json.loads(file.read_bytes())
        return isinstance(about, dict) and (
            "recprune" in about or about["format"].startswith("recprune")
        )
    except (OSError, LookupError, AttributeError, ValueError, RecursionError):
        return False


def _clear_leftovers(target: Path) -> None:
    """Remove what a killed run left beside the target, or put back what it had moved away."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9]+)\.(partial|old)")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None or _alive(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            entry.rename(target)
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
