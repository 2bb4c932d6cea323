"""Which row a value has, compiled: a table of keys with open addressing.

A key is a text's hash, salted by its field (:mod:`recprune.streaming.hashes`). Two values of one key
would share a row; of a million values that happens once in 40 million streams. Collisions of places are resolved by linear
probing, and a key that goes leaves no mark behind (Knuth 1998, section 6.4, algorithms L and R).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["Hashes", "find", "home", "insert", "remove"]

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int32]

HALF = np.uint64(32)


@compiled
def home(key: Any, size: int) -> Any:
    """Return the place among ``size`` that a key would like: its upper half as a fraction."""
    return np.int64(((key >> HALF) * np.uint64(size)) >> HALF)


@compiled
def find(key: Any, keys: Hashes, table: Ints) -> Any:
    """Return the table's place that holds a key's row, or the empty one where it belongs."""
    at = home(key, len(table))
    while table[at] >= 0 and keys[table[at]] != key:
        at += 1
        if at == len(table):
            at = 0
    return at


@compiled
def remove(key: Any, keys: Hashes, table: Ints) -> None:
    """Take a key out and close the gap, so that nothing is ever marked as deleted."""
    hole = find(key, keys, table)
    at = hole
    while True:
        at += 1
        if at == len(table):
            at = 0
        row = table[at]
        if row < 0:
            break
        wish = home(keys[row], len(table))
        stays = hole < wish <= at if hole <= at else (wish > hole or wish <= at)
        if not stays:
            table[hole] = row
            hole = at
    table[hole] = -1


@compiled
def insert(rows: tuple[int, int], keys: Hashes, table: Ints) -> None:
    """Enter the keys of rows ``rows[0]`` to ``rows[1]``, which are not in the table."""
    for row in range(rows[0], rows[1]):
        table[find(keys[row], keys, table)] = row
