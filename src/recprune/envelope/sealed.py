"""A sealed folder, open for reading."""

from __future__ import annotations

import io
import stat
from pathlib import Path

from recprune.envelope.chunks import Cipher, count, ranges, sealed_size, stored_as
from recprune.envelope.keys import TAG, invalid_tag, master_of
from recprune.envelope.manifest import RESTORE, Manifest
from recprune.errors import ArtifactError, ParameterError

__all__ = ["Sealed"]


class Sealed:
    """A sealed folder, open for reading; threads may share it.

    Args:
        folder: that :func:`recprune.envelope.seal` wrote.
        master: the master key, at least 32 bytes; None = :func:`recprune.crypto.read_key` has it.

    Raises:
        ArtifactError: not a sealed folder, a newer protocol, another master key, or a manifest or
            a file that was changed, cut short or left out.
        InputError: there is no master key, or a short one.
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, folder: Path | str, master: bytes | None = None) -> None:
        self.folder = Path(folder)
        about = Manifest.read(self.folder)
        self._cipher = Cipher(about.key(master_of(self.folder, master), self.folder), about.bound)
        self._chunk = about.chunk
        #: File → its bytes.
        self.files = dict(about.files)
        self._numbers = {name: number for number, name in enumerate(self.files)}
        for name, size in self.files.items():
            try:
                there = self._place(name).stat()
            except OSError as error:
                raise self._unreadable(name, error) from error
            # Before anything of this length is asked for.
            if not stat.S_ISREG(there.st_mode) or there.st_size != sealed_size(size, self._chunk):
                raise self._changed(name)

    def size(self, name: str) -> int:
        """Return the length of a file.

        Raises:
            ArtifactError: there is no such file.
        """
        if name not in self.files:
            raise ArtifactError(f"Sealed folder {str(self.folder)!r} has no {name}.")
        return self.files[name]

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            ArtifactError: there is no such file, or it is not what was sealed.
        """
        return self.read_range(name, 0, self.size(name))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop`` (exclusive) of a file; only their chunks are read.

        Raises:
            ArtifactError: there is no such file, or a chunk is not what was sealed.
            ParameterError: the range is not within the file.
        """
        size, chunk = self.size(name), self._chunk
        if not 0 <= start <= stop <= size:
            within = f"a range within the {size:,} bytes of {name!r}"
            raise ParameterError.of("start, stop", "read_range", within, (start, stop))
        number, end = self._numbers[name], count(size, chunk) - 1
        first = min(start // chunk, end)
        data = io.BytesIO()  # grows in place; joining pieces would take twice the memory
        try:
            with self._place(name).open("rb") as file:
                file.seek(first * (chunk + TAG))
                for at in range(first, max(first + 1, count(stop, chunk))):
                    sealed = file.read(min(chunk, size - at * chunk) + TAG)
                    piece = self._cipher.decrypt(sealed, number, at, at == end)
                    skip = max(start - at * chunk, 0)
                    data.write(memoryview(piece)[skip : stop - at * chunk])
        except OSError as error:
            raise self._unreadable(name, error) from error
        except invalid_tag() as error:
            raise self._changed(name) from error
        return data.getvalue()

    def verify(self) -> None:
        """Decrypt every chunk.

        Raises:
            ArtifactError: one is not what was sealed.
        """
        for name, size in self.files.items():
            for start, stop in ranges(size, self._chunk):
                self.read_range(name, start, stop)

    def _place(self, name: str) -> Path:
        return self.folder / stored_as(self._numbers[name])

    def _unreadable(self, name: str, error: OSError) -> ArtifactError:
        return ArtifactError(
            f"Sealed folder {str(self.folder)!r} is incomplete: {self._place(name).name} ({name}) "
            f"cannot be read: {error.strerror}. {RESTORE}"
        )

    def _changed(self, name: str) -> ArtifactError:
        return ArtifactError(
            f"{self._place(name)} ({name}) is not what was sealed here: it was changed, cut short or "
            f"moved. {RESTORE}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A Sealed holds a key and is not copied or stored.")
