"""A place for plain text for a while: in memory, and cleared of what killed processes left there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recprune.errors import InputError

__all__ = ["MEMORY", "in_memory"]

#: A file system in memory.
MEMORY = Path("/dev/shm")  # nosec B108
#: How folders begin that a process holds, and before it does.
HELD, NEW = "recprune.", ".recprune."


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """Yield a folder of this user's alone, in memory, for as long as it is needed.

    A killed process cannot remove its own; whoever comes next does, and else it is gone when the
    system starts anew.

    Raises:
        InputError: there is no file system in memory.
    """
    if not MEMORY.is_mount():
        raise InputError(f"Sealed folders are opened in memory, in {MEMORY}, which is not there.")
    _clear()
    new = Path(tempfile.mkdtemp(prefix=NEW, dir=MEMORY))
    handle = os.open(new, os.O_RDONLY)
    held = MEMORY / f"{HELD}{new.name.removeprefix(NEW)}"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        new.rename(held)
        yield held
    finally:
        shutil.rmtree(held, ignore_errors=True)
        os.close(handle)


def _clear() -> None:
    """Remove this user's folders that no process holds any more."""
    for folder in MEMORY.glob(f"{HELD}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)
