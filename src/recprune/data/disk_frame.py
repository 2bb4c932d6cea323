"""A table's columns, read from disk one at a time when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["DiskFrame", "Frame", "keep"]

Index = NDArray[np.int64]
Reader = Callable[[], pl.Series]


class DiskFrame:
    """What the rest of the house needs of a Polars frame, with one column in memory at a time.

    Args:
        readers: column name → a function that reads the column whole.
        n_rows: the columns' length.
        index: the rows that are chosen, positions, shape ``(n,)``; None = all.

    >>> frame = DiskFrame({"a": lambda: pl.Series("a", [5, 6, 7])}, 3)
    >>> frame[np.array([2, 0])]["a"].to_list()
    [7, 5]
    """

    def __init__(
        self, readers: Mapping[str, Reader], n_rows: int, index: Index | None = None
    ) -> None:
        self._readers, self._n_rows, self._index = dict(readers), n_rows, index
        self._last: tuple[str, pl.Series] | None = None

    def __len__(self) -> int:
        return self._n_rows if self._index is None else len(self._index)

    @property
    def columns(self) -> list[str]:
        """Column names."""
        return list(self._readers)

    def __getitem__(self, chosen: Any) -> Any:
        """Return a column by its name, or the frame of some rows: positions or a mask."""
        if not isinstance(chosen, str):
            at = np.asarray(chosen)
            at = np.flatnonzero(at) if at.dtype == np.bool_ else at
            index = at if self._index is None else self._index[at]
            return DiskFrame(self._readers, self._n_rows, index)
        # Most columns are asked for twice in a row.
        if self._last is None or self._last[0] != chosen:
            series = self._readers[chosen]().alias(chosen)
            self._last = chosen, series if self._index is None else series[self._index]
        return self._last[1]

    def keep(self, names: Sequence[str]) -> DiskFrame:
        """Return the frame of these columns alone."""
        return DiskFrame({n: self._readers[n] for n in names}, self._n_rows, self._index)

    def derived(self, readers: Mapping[str, Reader]) -> DiskFrame:
        """Return a frame of columns that are read from this one, of the same rows."""
        return DiskFrame(readers, len(self))

    def head(self, n: int) -> DiskFrame:
        """Return the first rows."""
        sample: DiskFrame = self[np.arange(min(n, len(self)))]
        return sample

    def select(self, *names: str) -> pl.DataFrame:
        """Return these columns in memory."""
        return pl.DataFrame([self[name] for name in names])


Frame = pl.DataFrame | DiskFrame


def keep(frame: Frame, names: Sequence[str]) -> Frame:
    """Return the frame of these columns alone, wherever it lies."""
    return frame.keep(names) if isinstance(frame, DiskFrame) else frame.select(names)
