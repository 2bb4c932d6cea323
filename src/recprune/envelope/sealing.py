"""Sealing, unsealing, and changes of the master key; whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from recprune.envelope.chunks import Cipher, count, ranges, stored_as
from recprune.envelope.keys import KEY, master_id
from recprune.envelope.manifest import Manifest, sound_name
from recprune.envelope.memory import in_memory
from recprune.envelope.sealed import Sealed
from recprune.errors import InputError
from recprune.folders import SEALED, file_written_whole, folder_written_whole

__all__ = ["CHUNK", "changed", "reseal", "rewrap", "seal", "unseal"]

#: Bytes of a chunk: of a million, the tags are 16.
CHUNK = 1 << 20


class _Entry(NamedTuple):
    """A file to be written: its name, its length, and what reads bytes ``start`` to ``stop``."""

    name: str
    size: int
    read: Callable[[int, int], bytes]


def seal(source: Path | str | Mapping[str, bytes], out: Path | str, master: bytes) -> None:
    """Encrypt a folder, with all that lies in it, under a data key of its own.

    Args:
        source: the folder; or name → bytes, which then never lie on a disk in plain.
        out: the folder to write, whole or not at all. It may be ``source`` itself, whose plain files
            are then removed (what a disk keeps of removed files is not overwritten).
        master: the master key, at least 32 bytes.

    Raises:
        InputError: ``out`` cannot be written, or lies in the source or around it; the source holds
            no file, a link, or a sealed folder; or a short key.
        MissingExtra: ``cryptography`` is not installed.
    """
    if not isinstance(source, Mapping):
        _refuse_overlap(Path(source), Path(out))
    with folder_written_whole(Path(out), over_sealed=True) as folder:
        # Now that what a killed sealing left is put right.
        given = _given(source) if isinstance(source, Mapping) else _plain(Path(source))
        _write(folder, given, master)


def unseal(folder: Path | str, out: Path | str, master: bytes) -> None:
    """Write the plain files of a sealed folder to a folder, whole or not at all.

    Raises:
        ArtifactError, InputError, MissingExtra: see :class:`recprune.envelope.Sealed`; or ``out``
            cannot be written, or lies in ``folder`` or around it.
    """
    _refuse_overlap(Path(folder), Path(out))
    with folder_written_whole(Path(out), over_sealed=True) as plain:
        for entry in _sealed(Sealed(folder, master)):
            place = plain / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                for start, stop in ranges(entry.size, CHUNK):
                    file.write(entry.read(start, stop))


def rewrap(folder: Path | str, old: bytes, new: bytes) -> bool:
    """Put a sealed folder under another master key; its data files stay as they are.

    Whoever kept the old ``sealed.json`` and the old key can still read these data files: if that
    key was exposed, use :func:`reseal`.

    Args:
        folder: sealed. Its ``sealed.json`` is replaced in one move.
        old: the master key so far.
        new: the next one.

    Returns:
        bool: False if the folder was under the new key already.

    Raises:
        ArtifactError, InputError, MissingExtra: see :class:`recprune.envelope.Sealed`.
    """
    folder = Path(folder)
    about = Manifest.read(folder)
    if about.master == master_id(new):
        about.key(new, folder)
        return False
    rewrapped = about.under(new, about.key(old, folder))
    with file_written_whole(folder / SEALED) as file:
        rewrapped.write(file)
    return True


def reseal(folder: Path | str, old: bytes, new: bytes) -> None:
    """Encrypt a sealed folder anew, in place, under a new data key; nothing is written in plain.

    Args:
        folder: sealed.
        old: its master key.
        new: the one that it is to have; the same is allowed.

    Raises:
        ArtifactError, InputError, MissingExtra: see :class:`recprune.envelope.Sealed`.
    """
    with folder_written_whole(Path(folder), over_sealed=True) as anew:
        _write(anew, _sealed(Sealed(folder, old)), new)


@contextlib.contextmanager
def changed(folder: Path | str, master: bytes) -> Iterator[Path]:
    """Yield a sealed folder's files as plain ones, to be changed; at the end they are sealed anew.

    They lie in a folder of this user's alone, in memory (``/dev/shm``; of a killed process until
    the next one comes), and come under a new data key. After an error the sealed folder is as it was.

    Raises:
        ArtifactError, InputError, MissingExtra: see :func:`unseal` and :func:`seal`; or there is no
            file system in memory, or no room on it.
    """
    with in_memory() as place:
        plain = place / Path(os.path.realpath(folder)).name
        unseal(folder, plain, master)
        yield plain
        seal(plain, folder, master)


def _write(folder: Path, entries: Iterable[_Entry], master: bytes) -> None:
    files = list(entries)
    if not files:
        raise InputError("There is no file to seal.")
    wrong = next((f.name for f in files if not sound_name(f.name)), None)
    if wrong is not None:
        raise InputError(f"A file of the name {wrong!r} cannot be sealed. Rename it.")
    about, key = Manifest({f.name: f.size for f in files}, CHUNK), secrets.token_bytes(KEY)
    cipher = Cipher(key, about.bound)
    for number, entry in enumerate(files):
        end = count(entry.size, CHUNK) - 1
        with (folder / stored_as(number)).open("wb") as file:
            for at, (start, stop) in enumerate(ranges(entry.size, CHUNK)):
                piece = entry.read(start, stop)
                if len(piece) != stop - start:
                    raise InputError(f"{entry.name!r} was cut short while it was sealed.")
                file.write(cipher.encrypt(piece, number, at, at == end))
    about.under(master, key).write(folder / SEALED)
    # The plain files may be removed next.
    Sealed(folder, master).verify()


def _given(source: Mapping[str, bytes]) -> Iterator[_Entry]:
    for name, data in sorted(source.items()):
        yield _Entry(name, len(data), partial(_slice, data))


def _plain(folder: Path) -> Iterator[_Entry]:
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r} to seal.")
    for file in sorted(folder.rglob("*")):
        if file.name == SEALED:
            raise InputError(
                f"Folder {str(file.parent)!r} is sealed already. Change its master key with: recprune "
                "reseal. Or unseal it first."
            )
        if file.is_symlink() or not (file.is_dir() or file.is_file()):
            raise InputError(f"{str(file)!r} is neither a file nor a folder. Remove it first.")
        if file.is_file():
            name, size = file.relative_to(folder).as_posix(), file.stat().st_size
            yield _Entry(name, size, partial(_part, file))


def _sealed(sealed: Sealed) -> Iterator[_Entry]:
    for name, size in sealed.files.items():
        yield _Entry(name, size, partial(sealed.read_range, name))


def _slice(data: bytes, start: int, stop: int) -> bytes:
    return data[start:stop]


def _part(file: Path, start: int, stop: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(stop - start)


def _refuse_overlap(folder: Path, out: Path) -> None:
    a, b = Path(os.path.realpath(folder)), Path(os.path.realpath(out))
    if a != b and (a.is_relative_to(b) or b.is_relative_to(a)):
        raise InputError(
            f"Output {str(out)!r} lies in {str(folder)!r} or around it. Choose another."
        )
