"""The files of a folder of columns: mapped to memory, or, of a sealed one, decrypted as they are read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, load_file

from recprune.envelope import Sealed
from recprune.envelope.reading import home
from recprune.errors import ArtifactError
from recprune.scratch import stay_in_memory

__all__ = ["ColumnFiles"]

#: Bytes hashed at once.
BLOCK = 1 << 20


class ColumnFiles:
    """A folder's files by name.

    Once a sealed folder was opened, what this process makes of its columns stays in memory, too
    (:func:`recprune.scratch.stay_in_memory`).

    Args:
        folder: plain or sealed; of a sealed one, :func:`recprune.crypto.read_key` has the key.
        manifest: the file that is written last: where it was written again, the others mean
            something else.

    Raises:
        ArtifactError, InputError, MissingExtra: see :class:`recprune.envelope.Sealed`.
    """

    def __init__(self, folder: Path, manifest: str) -> None:
        self._folder, self._prefix, self._manifest = folder, "", folder / manifest
        self._written = self._identity()
        self._sealed: Sealed | None = None
        if (found := home(folder)) is not None:
            self._sealed, self._prefix = Sealed(found[0]), found[1]
            stay_in_memory()

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None = there is none."""
        if self._sealed is not None:
            return self._sealed.files.get(self._prefix + name)
        file = self._folder / name
        return file.stat().st_size if file.is_file() else None

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: there is none.
        """
        if self._sealed is None:
            return (self._folder / name).read_bytes()
        if self.size(name) is None:
            raise FileNotFoundError(name)
        return self._sealed.read(self._prefix + name)

    def array(self, name: str, dtype: str, start: int, stop: int, offset: int = 0) -> NDArray[Any]:
        """Return numbers ``start`` to ``stop`` (exclusive) of those from byte ``offset`` on."""
        if stop <= start:
            return np.empty(0, dtype)
        width = np.dtype(dtype).itemsize
        first = offset + start * width
        if self._sealed is None:
            with self._of_one_writing():
                return np.memmap(self._folder / name, dtype, "r", first, (stop - start,))
        last = offset + stop * width
        return np.frombuffer(self._sealed.read_range(self._prefix + name, first, last), dtype)

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the tensors of a safetensors file."""
        if self._sealed is not None:  # what does not belong together is not decrypted
            return load(self.read(name))
        with self._of_one_writing():
            return load_file(self._folder / name)

    @contextlib.contextmanager
    def _of_one_writing(self) -> Iterator[None]:
        """Refuse what is read from a folder that was written again since it was opened."""
        try:
            yield
        finally:
            if self._identity() != self._written:
                raise ArtifactError(
                    f"{str(self._folder)!r} was written again meanwhile. Open it anew."
                )

    def _identity(self) -> tuple[int, int]:
        try:
            about = self._manifest.stat()
        except OSError:
            return 0, 0
        return about.st_ino, about.st_mtime_ns

    def sha256(self, name: str) -> str:
        """Return the hash of a file's content."""
        if self._sealed is None:
            with (self._folder / name).open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()
        digest, size = hashlib.sha256(), self._sealed.size(self._prefix + name)
        for start in range(0, size, BLOCK):
            part = self._sealed.read_range(self._prefix + name, start, min(size, start + BLOCK))
            digest.update(part)
        return digest.hexdigest()
