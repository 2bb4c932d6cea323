"""Tensors without their zeros: what unstructured pruning would take on disk.

Artefacts store dense tensors, since a cut leaves no zeros. These forms only count bytes: what
zeroing single weights could save at best, positions counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.compact import LEVEL, skipped

__all__ = ["without_zeros"]

Array = NDArray[Any]
Arrays = dict[str, Array]


def without_zeros(stored: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
    """Return values and positions of tensors, in the smallest of three forms each.

    - all elements, and no positions;
    - the non-zero elements, and ``bits.NAME``, one bit an element, the first in the highest bit of
      the first byte: 1 = the next value, 0 = zero;
    - the non-zero elements, and ``skipped.NAME``, the number of zeros before each since the one
      before it (:func:`recprune.compact.skipped`).

    Positions count as deflated, like an artefact's kept units.

    Args:
        stored: tensors as they would be stored, of any number of dims.

    >>> values, positions = without_zeros({"w": np.eye(64, dtype=np.float32)})
    >>> len(values["w"]), positions["skipped.w"].tolist()[0][:3]
    (64, [0, 64, 64])
    """
    values: Arrays = {}
    positions: Arrays = {}
    for name, array in stored.items():
        there = array.ravel() != 0
        forms: list[tuple[Array, Arrays]] = [
            (array, {}),
            (array.ravel()[there], {f"bits.{name}": np.packbits(there)}),
            (array.ravel()[there], {f"skipped.{name}": skipped(np.flatnonzero(there))}),
        ]
        values[name], places = min(forms, key=_size)
        positions |= places
    return values, positions


def _size(form: tuple[Array, Arrays]) -> int:
    return form[0].nbytes + sum(len(zlib.compress(p.tobytes(), LEVEL)) for p in form[1].values())
