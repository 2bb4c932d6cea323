"""Output folders and files: written beside their place, then moved there; whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recprune.errors import InputError

__all__ = [
    "SEALED",
    "clear_leftovers",
    "file_written_whole",
    "folder_written_whole",
    "is_ours",
    "private_folder",
    "remove_folder",
    "state_folder",
]

SEALED = "sealed.json"
MARKS = ("config.json", "report.json", "users.json", "data.json", "plan.json", SEALED)


@contextlib.contextmanager
def folder_written_whole(path: Path, over_sealed: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it becomes ``path`` at the end, or vanishes.

    What a killed run left beside ``path`` is removed, and a folder that it was about to replace
    comes back.

    Args:
        path: the folder to write.
        over_sealed: whether it may replace a sealed folder.

    Raises:
        InputError: ``path`` cannot be written, or holds something that recprune did not write; or it
            is a sealed folder, or lies in one.
    """
    path = Path(path)
    try:
        target, partial = _beside(path)
        foreign = target.exists() and not _replaceable(target)
        sealed = [f for f in (target, target.parent) if (f / SEALED).exists()]
        if not foreign and (over_sealed or not sealed):
            partial.mkdir()
    except OSError as error:
        raise _unwritable(path, error) from error
    if foreign:
        raise InputError(
            f"Output {str(path)!r} exists and is not a recprune folder; it is left as it is. "
            "Choose another -o."
        )
    if sealed and not over_sealed:
        raise InputError(
            f"Output {str(path)!r} would put plain files into the sealed folder {str(sealed[0])!r}. "
            "Choose another -o, or unseal that folder first."
        )
    with _removed_on_failure(path, partial):
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _sync(file)
        _replace(target, partial)


@contextlib.contextmanager
def file_written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` for a file that becomes ``path`` at the end, or vanishes.

    A file that is there already is replaced. What a killed run left beside it is removed.

    Raises:
        InputError: ``path`` cannot be written, or is a folder.
    """
    path = Path(path)
    try:
        target, partial = _beside(path)
        folder = target.is_dir()
    except OSError as error:
        raise _unwritable(path, error) from error
    if folder:
        raise InputError(f"Output {str(path)!r} is a folder; it is left as it is. Name a file.")
    with _removed_on_failure(path, partial):
        yield partial
        _sync(partial)
        partial.replace(target)


def remove_folder(folder: Path) -> None:
    """Remove a folder whole or not at all: what a killed run leaves of it lies beside its place, and
    goes with the next :func:`clear_leftovers`."""
    target, partial = _beside(folder)
    target.rename(partial)
    shutil.rmtree(partial)


def private_folder(path: Path) -> None:
    """Make a folder that its owner alone may read, unless it is there.

    Raises:
        InputError: it cannot be made, or is one in which other users could put their own files: it
            is another's, or everyone may write to it.
    """
    path = Path(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
    except OSError as error:
        raise InputError(
            f"Folder {str(path)!r} cannot be made or read: {error.strerror}. Name another."
        ) from error
    if about.st_uid not in (os.geteuid(), 0) or about.st_mode & stat.S_IWOTH:
        raise InputError(
            f"Folder {str(path)!r} belongs to another user, or everyone may write to it: its files "
            f"could be anybody's. Name another, or make it yours: chmod 700 {str(path)!r}."
        )


def state_folder(name: str) -> Path:
    """Return where this user's machine keeps things of one kind: a folder that need not exist.

    It lies in ``$XDG_STATE_HOME/recprune`` (default ``~/.local/state/recprune``).
    """
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "recprune" / name


def _beside(path: Path) -> tuple[Path, Path]:
    """Return the real place of an output and a free one beside it, which only this process uses."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target)
    return target, target.parent / f".{target.name}.{os.getpid()}.partial"


@contextlib.contextmanager
def _removed_on_failure(path: Path, partial: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _remove(partial)
        # A disk that is full names no file; a file that names itself and lies elsewhere was an input.
        if error.filename is not None and not _within(error.filename, partial):
            raise
        raise _unwritable(path, error) from error
    except BaseException:
        _remove(partial)
        raise


def _remove(entry: Path) -> None:
    """Remove a file or a folder as far as that is possible."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        entry.unlink(missing_ok=True)


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
    return not any(target.iterdir()) or is_ours(target)


def is_ours(folder: Path) -> bool:
    """Tell whether recprune wrote this folder."""
    return folder.is_dir() and any(_ours(folder / mark) for mark in MARKS)


def _ours(file: Path) -> bool:
    """Tell whether recprune wrote this JSON file: other programs have a config.json too."""
    try:
        about = json.loads(file.read_bytes())
        return isinstance(about, dict) and (
            "recprune" in about or about["format"].startswith("recprune")
        )
    except (OSError, LookupError, AttributeError, ValueError, RecursionError):
        return False


def clear_leftovers(target: Path) -> None:
    """Remove what a killed run left beside the target, or put back what it had moved away."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9]+)\.(partial|old)")
    for entry in list(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None or _alive(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            entry.rename(target)
        else:
            _remove(entry)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
