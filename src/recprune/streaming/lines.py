"""Lines as they lie in memory, one after the other: a million of them without a million objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines"]

FEED = 10


class Lines(Sequence[bytes]):
    """Lines that end in a line feed each, which is no part of them.

    Args:
        data: all lines and their line feeds.
        ends: the place of each line feed, shape ``(n,)``.

    >>> lines = Lines.of([b"a", b"", b"bc"])
    >>> lines.data, lines.ends.tolist(), list(lines), lines[-1]
    (b'a\\n\\nbc\\n', [1, 2, 5], [b'a', b'', b'bc'], b'bc')
    """

    def __init__(self, data: bytes, ends: NDArray[np.int64]) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Lines:
        """Return lines that are objects of their own, none of which holds a line feed."""
        known = list(lines)
        lengths = np.fromiter(map(len, known), np.int64, len(known))
        data = b"\n".join(known) + b"\n" * bool(known)
        return cls(data, np.cumsum(lengths + 1) - 1)

    @classmethod
    def first(cls, data: bytes, most: int) -> Lines:
        """Return the first whole lines of some bytes, at most so many."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == FEED)[:most].astype(np.int64)
        return cls(data[: int(ends[-1]) + 1] if len(ends) else b"", ends)

    @classmethod
    def joined(cls, parts: Sequence[Lines]) -> Lines:
        """Return the lines of all, in order."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts, strict=False)]
        return cls(
            b"".join(part.data for part in parts), np.concatenate([np.empty(0, np.int64), *ends])
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each line without its line feed, shape ``(n,)``."""
        return np.diff(self.ends, prepend=-1) - 1

    def __len__(self) -> int:
        return len(self.ends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and self.data == other.data  # the ends follow

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self.data[int(self.ends[at - 1]) + 1 if at else 0 : int(self.ends[at])]

    def until(self, n: int) -> Lines:
        """Return the first so many."""
        return Lines(self.data[: int(self.ends[n - 1]) + 1 if n else 0], self.ends[:n])
