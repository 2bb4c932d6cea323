"""Tensors without their zeros: what unstructured pruning would take on disk.

Artefacts store dense tensors, since a cut leaves no zeros. These forms only count bytes: what
zeroing single weights could save at best, positions counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as format_tensors

__all__ = ["without_zeros"]

Array = NDArray[Any]


def without_zeros(stored: Mapping[str, Array]) -> dict[str, Array]:
    """Return tensors in the smallest of three forms each.

    - as it is: ``NAME``;
    - ``values.NAME``, the non-zero elements in the order of rows, and ``bits.NAME``, one bit an
      element, the first in the highest bit of the first byte: 1 = the next value, 0 = zero;
    - ``values.NAME``, ``columns.NAME``, the column of each, and ``counts.NAME``, the values in each
      row (compressed sparse rows: Tinney & Walker 1967, with counts for pointers); columns and
      counts in the fewest of 1, 2 and 4 bytes that hold them all.

    Args:
        stored: tensors as they would be stored, of any number of dims; rows are the first dim, and
            those of a vector are one row.

    >>> {name: len(a) for name, a in without_zeros({"w": np.eye(64, dtype=np.float32)}).items()}
    {'values.w': 64, 'columns.w': 64, 'counts.w': 64}
    """
    out: dict[str, Array] = {}
    for name, array in stored.items():
        forms = [{name: array}, _bits(name, array), _columns(name, array)]
        sizes = [len(format_tensors(form)) for form in forms]
        out |= forms[sizes.index(min(sizes))]
    return out


def _bits(name: str, array: Array) -> dict[str, Array]:
    there = array != 0
    return {f"values.{name}": array[there], f"bits.{name}": np.packbits(there)}


def _columns(name: str, array: Array) -> dict[str, Array]:
    rows = array.reshape(len(array) if array.ndim > 1 else 1, -1)
    there = rows != 0
    return {
        f"values.{name}": rows[there],
        f"columns.{name}": _small(np.nonzero(there)[1]),
        f"counts.{name}": _small(np.count_nonzero(there, axis=1)),
    }


def _small(numbers: NDArray[np.intp]) -> Array:
    """Return whole numbers ≥ 0 in the fewest bytes."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
