"""What the rows of the pool stand for: field and text of each, in bounded bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.streaming import kernels

__all__ = ["Names", "Texts"]

#: Texts in UTF-8: where each begins and its bytes, each (n,), and all bytes; no bytes = missing.
Texts = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]


class Names:
    """Field and text of each row; the texts lie end to end.

    Args:
        capacity: rows.
        room: bytes of all texts that are ever held at once.
    """

    def __init__(self, capacity: int, room: int) -> None:
        #: Position of each row's field, shape (R,); −1 = it stands for no value.
        self.field = np.full(capacity, -1, np.int16)
        self._start = np.zeros(capacity, np.int64)
        self._size = np.zeros(capacity, np.int32)
        self._data = np.empty(room * 5 // 4, np.uint8)
        self._end = 0

    def put(self, rows: NDArray[np.int32], fields: NDArray[np.int32], texts: Texts) -> None:
        """Let rows stand for other values, one after the other."""
        self.field[rows] = fields
        held, done = (self._start, self._size, self._data), 0
        while done < len(rows):
            part = texts[0][done:], texts[1][done:], texts[2]
            more, self._end = kernels.put(rows[done:], part, held, self._end)
            done += more
            if done < len(rows):
                self._end = kernels.close_up(np.argsort(self._start, kind="stable"), *held)

    def of(self, field: int) -> tuple[NDArray[np.int64], list[str | None]]:
        """Return the rows that stand for a field's values, increasing, and these."""
        rows, data = np.flatnonzero(self.field == field), self._data.data
        spans = zip(self._start[rows].tolist(), self._size[rows].tolist(), strict=True)
        return rows, [
            bytes(data[at : at + n]).decode("utf-8", "surrogatepass") if n else None
            for at, n in spans
        ]

    def state(self, used: int) -> dict[str, NDArray[Any]]:
        """Return what the first ``used`` rows stand for."""
        start, size = self._start[:used], self._size[:used]
        at = np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())
        return {"field": self.field[:used].copy(), "size": size.copy(), "text": self._data[at]}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        used, size = len(state["field"]), state["size"].astype(np.int64)
        self.field[:used], self.field[used:] = state["field"], -1
        self._size[:used], self._size[used:] = size, 0
        self._start[:used] = np.cumsum(size) - size
        self._end = len(state["text"])
        self._data[: self._end] = state["text"]
