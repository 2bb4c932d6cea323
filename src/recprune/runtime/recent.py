"""What was computed of the stored users who were answered last."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any

from recprune.users import Users

__all__ = ["Recent"]

#: Bytes that a value and its key take beside its arrays, about.
OVERHEAD = 500


class Recent:
    """Keeps values of users of a store, up to so many bytes; the least recently asked go first.

    A store's users do not change while it lives, so that what was made of them stays right; with the
    store it goes, too. Only the last store asked is kept: one that took its place is asked no more.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self._bytes = limit, 0
        self._lock = Lock()
        self._store: weakref.ref[Users] | None = None
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept, about."""
        return self._bytes if self._kept else 0

    def get(self, users: Users, key: Hashable) -> Any:
        """Return the value, or None where there is none (any more)."""
        with self._lock:
            if self._store is None or self._store() is not users:
                return None
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, users: Users, key: Hashable, value: Any, size: int) -> None:
        """Keep a value whose arrays take so many bytes."""
        size += OVERHEAD
        with self._lock:
            if self._store is None or self._store() is not users:
                self._kept, self._bytes = OrderedDict(), 0
                # Of this object the store's end knows nothing: it would be held as long.
                kept = self._kept
                self._store = weakref.ref(users, lambda _: kept.clear())
            if key in self._kept or size > self.limit:
                return
            self._kept[key] = value, size
            self._bytes += size
            while self._bytes > self.limit:
                self._bytes -= self._kept.popitem(last=False)[1][1]
