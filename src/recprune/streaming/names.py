"""What the rows of the pool stand for: field and text of each, in bounded bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.streaming import kernels

__all__ = ["Names"]


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

    def put(
        self, rows: NDArray[np.int32], fields: NDArray[np.int32], texts: Sequence[str | None]
    ) -> None:
        """Let rows stand for other values, one after the other; None = missing."""
        packed = [(text or "").encode("utf-8", "surrogatepass") for text in texts]
        for row, field, own in zip(rows.tolist(), fields.tolist(), packed, strict=True):
            self._size[row] = 0  # what it stood for is no longer held
            if self._end + len(own) > len(self._data):
                self._close_up()
            self.field[row], self._start[row], self._size[row] = field, self._end, len(own)
            self._data[self._end : self._end + len(own)] = np.frombuffer(own, np.uint8)
            self._end += len(own)

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

    def _close_up(self) -> None:
        order = np.argsort(self._start, kind="stable")
        self._end = kernels.close_up(order, self._start, self._size, self._data)
