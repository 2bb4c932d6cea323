"""Folders as their readers see them: plain or sealed, the same files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from recprune.envelope.manifest import MOST_JSON, Manifest, read_plain
from recprune.envelope.sealed import Sealed
from recprune.errors import ArtifactError
from recprune.folders import SEALED

__all__ = ["Reader", "folder_reader", "holds", "home", "is_sealed"]

Reader = Callable[[str], bytes]


def is_sealed(folder: Path | str) -> bool:
    """Tell whether a folder is sealed, by itself or as part of the folder that it was in."""
    return home(folder) is not None


def home(folder: Path | str) -> tuple[Path, str] | None:
    """Return the sealed folder that has a folder's files, and what their names begin with there.

    None = it is plain, or there is none.
    """
    place, prefix = Path(folder), ""
    while not os.path.lexists(place / SEALED):
        if os.path.lexists(place) or place.name in ("", ".."):
            return None
        place, prefix = place.parent, f"{place.name}/{prefix}"
    return place, prefix


def holds(folder: Path | str, name: str) -> bool:
    """Tell whether a folder, plain or sealed, has a file; no key is needed.

    Raises:
        ArtifactError: the manifest of a sealed folder cannot be read.
    """
    found = home(folder)
    if found is None:
        return (Path(folder) / name).is_file()
    return found[1] + name in Manifest.read(found[0]).files


def folder_reader(
    folder: Path | str,
    what: str = "artefact",
    mark: str = "config.json",
    master: bytes | None = None,
    sealed_only: bool = False,
) -> Reader:
    """Return what reads the files of a folder, plain or sealed: name ↦ bytes.

    Args:
        folder: to read. If it is not there, and the folder that it was in is sealed, its files are
            read from there.
        what: what the folder is, for errors.
        mark: the file that each such folder has.
        master: the master key; None = :func:`recprune.crypto.read_key` is asked, if it is sealed.
        sealed_only: refuse a plain folder, so that nobody without the key can put one in its place.

    Raises:
        ArtifactError: see :class:`Sealed`; it is plain and may not be; when called, a file is absent
            or cannot be read, or is JSON of more than 128 MB.
        InputError, MissingExtra: see :class:`Sealed`.
    """
    folder = Path(folder)
    found = home(folder)
    if found is None and sealed_only:
        raise ArtifactError(f"Folder {str(folder)!r} is not sealed. Seal it with: recprune seal.")
    read = _plain(folder) if found is None else _sealed(Sealed(found[0], master), found[1])

    def checked(name: str) -> bytes:
        try:
            return read(name)
        except FileNotFoundError:
            lacks = f"is no recprune {what}" if name == mark else "is incomplete"
            raise ArtifactError(f"Folder {str(folder)!r} {lacks}: it has no {name}.") from None
        except OSError as error:
            raise ArtifactError(f"{folder / name} cannot be read: {error.strerror}.") from error

    return checked


def _plain(folder: Path) -> Reader:
    return lambda name: read_plain(folder / name)


def _sealed(sealed: Sealed, prefix: str) -> Reader:
    def read(name: str) -> bytes:
        if prefix + name not in sealed.files:
            raise FileNotFoundError
        if name.endswith(".json") and sealed.size(prefix + name) > MOST_JSON:
            raise ArtifactError(f"{name} in {sealed.folder} is too long for what it says.")
        return sealed.read(prefix + name)

    return read
