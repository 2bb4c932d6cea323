"""Forgetting a user: found, removed and listed, folder by folder, each whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from recprune.crypto import ErasureKey, Pseudonymiser, read_key
from recprune.data.bad_rows import bad_rows_file
from recprune.data.erased import add_to_list, erased_list
from recprune.envelope import changed
from recprune.erasure.artefacts import clean_artifact
from recprune.erasure.columns import clean_columns
from recprune.erasure.files import clean_bad_rows, clean_file
from recprune.erasure.kinds import check_below, kind_of, own_files, sealed
from recprune.erasure.names import Names
from recprune.erasure.people import clean_users
from recprune.erasure.records import Forgotten, Removed
from recprune.erasure.remains import what_remains
from recprune.erasure.scan import traces
from recprune.erasure.stores import delete_stores, is_store
from recprune.erasure.streams import clean_stream, streams_in
from recprune.errors import InputError
from recprune.folders import (
    clear_leftovers,
    folder_written_whole,
    is_ours,
    remove_folder,
    state_folder,
)

__all__ = ["forget"]


class _Nothing(Exception):
    """A folder has nothing of the user, and is left as it is."""


class _Nobody(Exception):
    """A folder has nothing but the user."""


def forget(
    user: str | Names,
    paths: Iterable[str | Path],
    *,
    key: ErasureKey,
    pseudonyms: Sequence[Pseudonymiser] = (),
    list_file: Path | None = None,
    master: bytes | None = None,
) -> Forgotten:
    """Remove a user from everything that recprune wrote, and see that they do not come back.

    First the list of erased users gets the hashes of the id and of its pseudonyms. Then checkpoints
    and trial stores of theirs are deleted, and every folder is written again without them: rows and
    texts of data, the entry in ``users.rp``, the vocabulary entry and the table's row of artefacts
    (the id is read as unknown from then on; all other weights are what they were), states of streams,
    and reports and tables in the folder. A folder is replaced as a whole: killed at any moment and called again, it
    comes to the same. Sealed folders are sealed anew, under a new data key. Who reads a folder that is
    open already reads on, or gets an error.

    Args:
        user: the id, or a pseudonym; or names with more to say (:meth:`Names.of`).
        paths: folders that recprune wrote, or folders that hold such. Files of others in them, and
            tables that are named, are not changed: what still names the user is told.
        key: of the list.
        pseudonyms: the keys that data may be pseudonymised by, former ones too; of names that are
            given, these are known.
        list_file: the list; None = this machine's (:func:`recprune.data.erased.erased_list`).
        master: the key of sealed folders; None = :func:`recprune.crypto.read_key` has it.

    Raises:
        InputError: a path does not exist, an empty id, a list of another key, a folder of
            pseudonyms whose key is not given, or the state of a stream that runs; nothing was changed.
        ArtifactError: a folder is damaged; nothing was changed.
    """
    names = user if isinstance(user, Names) else Names.of(user, pseudonyms)
    with _one_at_a_time():
        return _forgotten(
            names, [_found(Path(path)) for path in paths], key, list_file or erased_list(), master
        )


def _forgotten(
    names: Names, roots: Sequence[Path], key: ErasureKey, target: Path, master: bytes | None
) -> Forgotten:
    for root in roots:
        _clear_below(root)
        check_below(root, names, master)
    listed = add_to_list(target, key, sorted(names.all))
    removed: list[Removed] = []
    there = any(trace.sure for trace in traces(roots, names, master))
    for root in roots:
        if there or is_store(root):
            removed += delete_stores(root)
    for root in roots:
        for state in streams_in(root):
            removed += clean_stream(state, names)
        for folder in _folders(root):
            removed += _renewed(folder, names, master)
    left = [root for root in roots if root.exists()]
    return Forgotten(
        tuple(removed),
        tuple(traces(left, names, master)),
        tuple(what_remains(left, names)),
        listed,
        target,
    )


def _found(path: Path) -> Path:
    """Return a path that exists, put back first if a killed run had moved it away."""
    real = Path(os.path.realpath(path))
    if real.parent.is_dir():
        clear_leftovers(real)
    if not real.exists():
        raise InputError(f"Path {str(path)!r} does not exist. Name folders that recprune wrote.")
    return real


def _clear_below(path: Path) -> None:
    """Remove what killed runs left beside anything in a folder, or put back what they had moved."""
    if not path.is_dir():
        return
    for entry in list(path.iterdir()):
        stem, _, kind = entry.name.rpartition(".")
        if entry.name.startswith(".") and kind in ("partial", "old"):
            clear_leftovers(path / stem[1:].rpartition(".")[0])
    for entry in path.iterdir():
        if not entry.is_symlink():
            _clear_below(entry)


def _folders(path: Path) -> Iterator[Path]:
    """Yield the outermost folders of ours."""
    if is_ours(path):
        yield path
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from _folders(entry)


def _renewed(folder: Path, names: Names, master: bytes | None) -> list[Removed]:
    """Replace a folder by itself without the user; return what went."""
    removed: list[Removed] = []
    try:
        with _held(folder), _renewing(folder, master) as anew:
            went = list(_clean(anew, names, master))
            if not went:
                raise _Nothing
        at = len(str(anew))
        removed = [replace(each, path=f"{folder}{each.path[at:]}") for each in went]
    except _Nothing:
        pass
    except _Nobody:
        remove_folder(folder)
        removed = [Removed(str(folder), "folder, which held nobody else", 1)]
    bad = bad_rows_file(folder)
    return removed + (clean_bad_rows(bad, names) if bad.exists() else [])


@contextlib.contextmanager
def _renewing(folder: Path, master: bytes | None) -> Iterator[Path]:
    """Yield a folder's files, to be replaced, in a folder that takes its place at the end."""
    if sealed(folder):
        with changed(folder, master or read_key("master")) as plain:
            yield plain
        return
    with folder_written_whole(folder) as partial:
        _link(folder, partial)
        yield partial
        _same_modes(folder, partial)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait until nobody else on this machine forgets: folders are moved under their readers."""
    place = state_folder("erased")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "forget.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Wait until nobody else forgets in this folder: of two copies, one would bring a user back.

    Others may, who have a list of their own.
    """
    while True:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_ino == folder.stat().st_ino:  # else it was replaced meanwhile
                yield
                return
        finally:
            os.close(handle)


def _same_modes(folder: Path, anew: Path) -> None:
    """Let nobody read a new file who could not read the one that it replaces."""
    for entry in (anew, *anew.rglob("*")):
        before = folder / entry.relative_to(anew)
        if before.exists() and not entry.is_symlink():
            shutil.copymode(before, entry)


def _link(folder: Path, partial: Path) -> None:
    """Fill a new folder with a folder's files, which are the same files wherever they can be."""
    for entry in folder.iterdir():
        place = partial / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir()
            _link(entry, place)
        else:
            try:
                os.link(entry, place)
            except OSError:  # a file system without links
                shutil.copy2(entry, place)


def _clean(folder: Path, names: Names, master: bytes | None) -> Iterator[Removed]:
    """Remove a user from a folder and all folders in it, and yield what went."""
    own = own_files(folder)
    match kind_of(folder):
        case "columns":
            some = clean_columns(folder, names)
            if some is None:
                raise _Nobody
            yield from some
        case "users":
            yield from clean_users(folder, names)
        case "artifact":
            yield from clean_artifact(folder, names)
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name in own:
            continue
        if entry.is_file():
            yield from clean_file(entry, names)
            continue
        if sealed(entry):
            yield from _renewed(entry, names, master)
            continue
        try:
            yield from _clean(entry, names, master)
        except _Nobody:
            shutil.rmtree(entry)
            yield Removed(str(entry), "folder, which held nobody else", 1)
