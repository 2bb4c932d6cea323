"""Items that are not to be recommended: sold out, withdrawn. One file that all workers look at."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from recprune.errors import InputError
from recprune.folders import file_written_whole
from recprune.security import Denied, Watched

__all__ = ["HiddenItems"]

MOST = 1_000_000


class HiddenItems:
    """Ids of items that no answer may hold.

    Args:
        file: ``hidden.json`` of the state folder; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._watched: Watched[frozenset[str]] = Watched(file, _parsed, frozenset())

    def ids(self) -> frozenset[str]:
        """Return the hidden items as of now; the same object as long as they are the same.

        Raises:
            OSError: the file cannot be read.
            InputError: it is damaged.
        """
        return self._watched.get()

    def hide(self, items: Iterable[str]) -> int:
        """Hide items from the next answer on, in every process; return how many are hidden now.

        Raises:
            Denied: 422, too many would be hidden.
            OSError, InputError: the file cannot be read or written.
        """
        return self._change(lambda now: now | frozenset(items))

    def show(self, items: Iterable[str]) -> int:
        """Let items be recommended again; return how many are hidden now.

        Raises:
            OSError, InputError: the file cannot be read or written.
        """
        return self._change(lambda now: now - frozenset(items))

    def _change(self, made: Callable[[frozenset[str]], frozenset[str]]) -> int:
        with _alone(self._file):
            hidden = made(self.ids())
            if len(hidden) > MOST:
                told = f"At most {MOST} items can be hidden. Remove them instead."
                raise Denied(422, "too_many_hidden", told)
            about = {"format": "recprune-hidden", "version": 1, "items": sorted(hidden)}
            with (
                file_written_whole(self._file) as partial,
                open(partial, "x", encoding="utf-8", opener=_own) as out,
            ):
                json.dump(about, out, ensure_ascii=False)
        return len(hidden)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other writers out."""
    with open(file.with_name(f"{file.name}.lock"), "a", opener=_own) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own(path: str, flags: int) -> int:
    """Open a file that others may not read."""
    return os.open(path, flags, 0o600)


def _parsed(content: bytes) -> frozenset[str]:
    try:
        about = json.loads(content)
        if about["format"] != "recprune-hidden" or about["version"] != 1:
            raise ValueError
        return frozenset(str(item) for item in about["items"])
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError("hidden.json is no sound list of hidden items.") from error
