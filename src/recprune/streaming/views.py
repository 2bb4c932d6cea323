"""A column of texts as it lies in memory: Arrow's string views, read in place.

Polars hands a column over by Arrow's C stream interface (https://arrow.apache.org/docs/format,
"C stream interface"), whose structures are read here by their layout. A text is sixteen bytes: its
length, and its bytes if they are at most twelve, else the number of a buffer and where in it they
begin ("Variable-size binary view layout").
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["Views", "joined", "views_of"]

#: For texts (n,): length and twelve bytes, or length, four bytes, buffer and place; shape (n, 4).
#: Then the buffers' bytes end to end, and where each buffer begins.
Views = tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.int64]]


class _Array(ctypes.Structure):
    """Arrow's ``ArrowArray``."""


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "buffers", "children")),
    ("buffer", ctypes.POINTER(ctypes.c_void_p)),
    ("child", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private", ctypes.c_void_p),
]


class _Stream(ctypes.Structure):
    """Arrow's ``ArrowArrayStream``, of which one function is called here."""

    _fields_ = (
        ("get_schema", ctypes.c_void_p),
        ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Array))),
        ("get_last_error", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private", ctypes.c_void_p),
    )


_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype = ctypes.c_void_p
_address.argtypes = [ctypes.py_object, ctypes.c_char_p]


@contextmanager
def views_of(texts: pl.Series) -> Iterator[list[Views]]:
    """Give the views of a column of type String, a tuple a chunk, as long as the block lasts.

    Those of missing texts mean nothing.
    """
    capsule: Any = texts.__arrow_c_stream__(None)
    at = _address(capsule, b"arrow_array_stream")
    stream, arrays = _Stream.from_address(at), list[_Array]()
    try:
        while True:
            array = _Array()
            if stream.get_next(at, ctypes.byref(array)):
                raise MemoryError("Arrow could not hand over a column.")
            if not array.release:
                break
            arrays.append(array)
        yield [_views(array) for array in arrays]
    finally:
        for array in arrays:
            array.release(ctypes.byref(array))


def joined(texts: pl.Series, sizes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the bytes of texts end to end, none of them longer than its size, 0 of a missing one.

    >>> joined(pl.Series(["ab", None, "c"]), np.array([2, 0, 1], np.int32)).tobytes()
    b'abc'
    """
    out = np.empty(int(sizes.sum()), np.uint8)
    start = end = 0
    with views_of(texts) as chunks:
        for chunk in chunks:
            end = _join(chunk, sizes[start : start + len(chunk[0])], out, end)
            start += len(chunk[0])
    return out


@compiled
def _join(chunk: Views, sizes: NDArray[np.int32], out: NDArray[np.uint8], end: Any) -> Any:
    views, data, starts = chunk
    for i in range(len(sizes)):
        size = sizes[i]
        if views[i, 0] > 12 and size:
            start = starts[views[i, 2]] + np.int64(views[i, 3])
            for k in range(size):
                out[end + k] = data[start + k]
        else:
            for k in range(size):
                out[end + k] = (views[i, 1 + k // 4] >> np.uint32(8 * (k % 4))) & np.uint32(255)
        end += size
    return end


def _views(array: _Array) -> Views:
    few = array.buffers - 3  # beside validity, views and the buffers' sizes
    sizes = _bytes(array.buffer[array.buffers - 1], 8 * few).view(np.int64)
    data = [_bytes(array.buffer[2 + k], size) for k, size in enumerate(sizes.tolist())]
    whole = data[0] if few == 1 else np.concatenate([np.empty(0, np.uint8), *data])
    views = _bytes(array.buffer[1], 16 * (array.offset + array.length)).view(np.uint32)
    return views.reshape(-1, 4)[array.offset :], whole, np.cumsum(sizes) - sizes


def _bytes(address: int | None, size: int) -> NDArray[np.uint8]:
    if not size:
        return np.empty(0, np.uint8)
    assert address is not None
    memory: Any = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(memory, np.uint8)
