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
from recprune.security import Watched

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
            InputError: the file cannot be written, or too many would be hidden.
        """
        return self._change(lambda now: now | frozenset(items))

    def show(self, items: Iterable[str]) -> int:
        """Let items be recommended again; return how many are hidden now.

        Raises:
            InputError: the file cannot be written.
        """
        return self._change(lambda now: now - frozenset(items))

    def _change(self, made: Callable[[frozenset[str]], frozenset[str]]) -> int:
        with _alone(self._file):
            hidden = made(self.ids())
            if len(hidden) > MOST:
                raise InputError(f"At most {MOST} items can be hidden. Remove them instead.")
            about = {"format": "recprune-hidden", "version": 1, "items": sorted(hidden)}
            with file_written_whole(self._file) as partial:
                partial.write_text(json.dumps(about, ensure_ascii=False) + "\n", "utf-8")
        return len(hidden)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other writers out."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(file.with_name(f"{file.name}.lock"), "a", encoding="utf-8") as lock:
        os.chmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parsed(content: bytes) -> frozenset[str]:
    try:
        about = json.loads(content)
        if about["format"] != "recprune-hidden" or about["version"] != 1:
            raise ValueError
        return frozenset(str(item) for item in about["items"])
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError("hidden.json is no sound list of hidden items.") from error
