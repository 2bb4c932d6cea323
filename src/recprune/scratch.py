"""Arrays on disk that last as long as they are used: for what may be larger than memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recprune.errors import DataError

__all__ = ["copied", "forget", "gather", "on_disk", "parked", "scratch", "stay_in_memory"]

#: Bytes below which an array is not worth a file.
SMALL = 1 << 20


#: Whether files are kept in memory.
_in_memory = False


def stay_in_memory() -> None:
    """Have all that this process makes from now on in memory instead: its source was sealed."""
    global _in_memory
    _in_memory = True


def scratch(rows: int, columns: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of shape ``(rows, columns)`` on disk, each column in one piece, to be filled.

    The file has no name, lies where temporary files do (``TMPDIR``; in memory after
    :func:`stay_in_memory`), and is gone with the array.

    Raises:
        DataError: the disk has no room for it.
    """
    size = rows * columns * np.dtype(dtype).itemsize
    if not size:
        return np.empty((rows, columns), dtype)
    with _unnamed() as file:
        try:
            # Reserved now: a write to a mapped page that finds no room would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            where, what = repr(tempfile.gettempdir()), "set TMPDIR to a folder on a larger disk."
            if _in_memory:
                where, what = "memory", "unseal the data onto an encrypted disk."
            raise DataError(
                f"There is no room for {size / 1e9:.1f} GB of encoded rows in {where} "
                f"({error.strerror}). Free some, or {what}"
            ) from error
        return np.memmap(file, dtype, "r+", shape=(columns, rows)).T


def _unnamed() -> BinaryIO:
    if not _in_memory:
        return tempfile.TemporaryFile(prefix="recprune-")
    return os.fdopen(os.memfd_create("recprune"), "w+b")


def on_disk(array: NDArray[Any]) -> bool:
    """Tell whether an array is one that :func:`scratch` made."""
    return isinstance(array, np.memmap)


def gather(array: NDArray[Any], index: Any) -> NDArray[Any]:
    """Return some rows of a two-dimensional array, in memory: positions, a mask or a slice.

    >>> gather(np.arange(6).reshape(3, 2), np.array([2, 0])).tolist()
    [[4, 5], [0, 1]]
    """
    if not isinstance(array, np.memmap):
        return array[index]  # type: ignore[no-any-return]
    first = np.asarray(array[:, 0])[index]
    out = np.empty((len(first), array.shape[1]), array.dtype)
    out[:, 0] = first
    for i in range(1, array.shape[1]):
        forget(array)  # around every page that is read, the system shows others
        out[:, i] = np.asarray(array[:, i])[index]
    forget(array)
    return out


def forget(array: NDArray[Any]) -> None:
    """Let the system take back the memory that shows an array's pages; they stay on disk."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def parked(values: NDArray[Any]) -> NDArray[Any]:
    """Return a one-dimensional array whose values lie on disk; pages that are read come to memory.

    A small array comes back as it is: a file of its own would cost more than it frees.

    >>> parked(np.array([3, 1]))[[1]].tolist()
    [1]
    """
    if values.nbytes < SMALL:
        return values
    out = scratch(len(values), 1, values.dtype)
    out[:, 0] = values
    forget(out)
    return out[:, 0]


def copied(
    array: NDArray[Any],
    rows: NDArray[Any] | None = None,
    columns: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return some rows and columns (positions; None = all) of an array, on disk."""
    chosen = np.arange(array.shape[1]) if columns is None else columns
    out = scratch(len(array) if rows is None else len(rows), len(chosen), array.dtype)
    for place, column in enumerate(chosen):
        values = np.asarray(array[:, column])
        out[:, place] = values if rows is None else values[rows]
        forget(array)
        forget(out)
    return out
