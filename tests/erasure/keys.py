"""Keys of the tests, apart from what they are used on: a process that erases loads no more."""

from __future__ import annotations

from recprune.crypto import ErasureKey

__all__ = ["KEY", "MASTER"]

KEY = ErasureKey(b"a key for those who left, and no other")
MASTER = b"a master key for folders at rest!!!"
