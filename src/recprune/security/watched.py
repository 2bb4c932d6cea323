"""A file's content, read again when the file has changed: how every worker learns of a change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Watched"]

T = TypeVar("T")


class Watched(Generic[T]):
    """What a file holds now; asking costs one ``stat``.

    A file that is replaced by a rename is seen whole, as it was or as it is, and at once. One that
    is written in place is seen as far as its size or its time of change shows it.

    Args:
        file: need not exist.
        read: turns its bytes into what is kept; what it raises, :meth:`get` raises, every time.
        missing: stands for a file that is not there.
    """

    def __init__(self, file: Path, read: Callable[[bytes], T], missing: T) -> None:
        self._file, self._read, self._missing = os.fspath(file), read, missing
        #: The file's mark (None = it is not there) and what was read of it, in one: threads may
        #: ask at once, and one's mark beside the other's content would hide a change for good.
        self._held: tuple[tuple[int, int, int] | None, T] = None, missing

    def get(self) -> T:
        """Return what the file holds.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            about = os.stat(self._file)
        except FileNotFoundError:
            self._held = None, self._missing
            return self._missing
        mark, kept = self._held
        return kept if mark == _mark(about) else self._again()

    def _again(self) -> T:
        with open(self._file, "rb") as handle:
            about = os.fstat(handle.fileno())
            kept = self._read(handle.read())
        self._held = _mark(about), kept
        return kept


def _mark(about: os.stat_result) -> tuple[int, int, int]:
    return about.st_ino, about.st_mtime_ns, about.st_size
