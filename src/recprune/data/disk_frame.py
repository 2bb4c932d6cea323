"""A table's columns, read from disk one at a time when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.scratch import parked

__all__ = ["Digest", "DiskFrame", "Frame", "Reader", "blocks", "keep", "sampled"]

Index = NDArray[np.int64]
#: Rows read at once.
BLOCK = 1 << 18


@dataclass(frozen=True)
class Digest:
    """A column in short, from which its kind can be told.

    Args:
        values: each different text once, or of numbers the least, the greatest and the infinite
            ones; and a missing value if there is one.
        missing: rows without a value.
        infinite: rows with an infinite number.
    """

    values: pl.Series
    missing: int = 0
    infinite: int = 0


@dataclass(frozen=True)
class Reader:
    """How a column is read.

    Args:
        whole: reads all rows.
        part: reads rows ``start`` to ``stop`` (exclusive); of a column whose kind was told from all
            rows, as values of that kind.
        digest: tells the column in short; None = only all rows tell.
    """

    whole: Callable[[], pl.Series]
    part: Callable[[int, int], pl.Series]
    digest: Callable[[], Digest] | None = None


class DiskFrame:
    """What the rest of the house needs of a Polars frame, with one column in memory at a time.

    Args:
        readers: column name → how it is read.
        n_rows: the columns' length.
        index: the rows that are chosen, positions, shape ``(n,)``; None = all.

    >>> a = pl.Series("a", [5, 6, 7])
    >>> frame = DiskFrame({"a": Reader(lambda: a, lambda start, stop: a[start:stop])}, 3)
    >>> frame[np.array([2, 0])]["a"].to_list()
    [7, 5]
    """

    #: Frame, name and column that was read last.
    _recent: ClassVar[tuple[DiskFrame, str, pl.Series] | None] = None

    def __init__(
        self, readers: Mapping[str, Reader], n_rows: int, index: Index | None = None
    ) -> None:
        self._readers, self._n_rows, self._index = dict(readers), n_rows, index

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
            return DiskFrame(self._readers, self._n_rows, parked(index))
        # Most columns are asked for twice in a row. All frames keep one column between them.
        recent = DiskFrame._recent
        if recent is None or recent[0] is not self or recent[1] != chosen:
            DiskFrame._recent = None
            recent = DiskFrame._recent = self, chosen, self._whole(chosen)
        return recent[2]

    def _whole(self, name: str) -> pl.Series:
        series = self._readers[name].whole().alias(name)
        return series if self._index is None else series[self._index]

    def rows(self, name: str, start: int, stop: int) -> pl.Series:
        """Return rows ``start`` to ``stop`` (exclusive) of a column."""
        stop = min(stop, len(self))
        if self._index is None:
            return self._readers[name].part(start, stop).alias(name)
        index = self._index[start:stop]
        if not len(index):
            return self._readers[name].part(0, 0).alias(name)
        low, high = int(index.min()), int(index.max()) + 1
        return self._readers[name].part(low, high).alias(name)[index - low]

    def blocks(self, name: str) -> Iterator[tuple[slice, pl.Series]]:
        """Yield a column's rows in order, so many at once, and where they stand."""
        for start in range(0, len(self), BLOCK):
            block = slice(start, min(start + BLOCK, len(self)))
            yield block, self.rows(name, block.start, block.stop)

    def digest(self, name: str) -> Digest | None:
        """Return a column in short; None where only all rows tell."""
        digest = self._readers[name].digest
        return None if digest is None or self._index is not None else digest()

    def reader(self, name: str) -> Reader:
        """Return how another frame of the same rows can read a column of this one."""
        digest = self._readers[name].digest if self._index is None else None
        return Reader(partial(self._whole, name), partial(self.rows, name), digest)

    @staticmethod
    def release() -> None:
        """Let go of the column that was read last."""
        DiskFrame._recent = None

    def keep(self, names: Sequence[str]) -> DiskFrame:
        """Return the frame of these columns alone."""
        return DiskFrame({n: self._readers[n] for n in names}, self._n_rows, self._index)

    def derived(self, readers: Mapping[str, Reader]) -> DiskFrame:
        """Return a frame of the same rows with these columns too, or in the place of its own."""
        return DiskFrame({**{n: self.reader(n) for n in self.columns}, **readers}, len(self))

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


def blocks(frame: Frame, name: str) -> Iterator[tuple[slice, pl.Series]]:
    """Yield a column's rows in order and where they stand: all at once if they are in memory."""
    if isinstance(frame, DiskFrame):
        yield from frame.blocks(name)
    else:
        yield slice(0, len(frame)), frame[name]


def sampled(frame: Frame, name: str, most: int) -> pl.Series:
    """Return a column, or of a longer one ``most`` rows, evenly spread.

    >>> sampled(pl.DataFrame({"a": range(9)}), "a", 3).to_list()
    [0, 4, 8]
    """
    if len(frame) <= most:
        whole: pl.Series = frame[name]
        return whole
    at = np.linspace(0, len(frame) - 1, most).astype(np.int64)
    parts: list[pl.Series] = []
    for block, part in blocks(frame, name):
        low, high = np.searchsorted(at, (block.start, block.stop))
        parts.append(part[at[low:high] - block.start])
    return pl.concat(parts)
