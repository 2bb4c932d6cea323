"""Which row a value has, compiled: a table of keys with open addressing.

A key is 64 bits mixed of a field and the hash of a text. Two values of one key would share a row; of
a million values that happens once in 40 million streams. Collisions of places are resolved by linear
probing, and a key that goes leaves no mark behind (Knuth 1998, section 6.4, algorithms L and R).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["Hashes", "find", "home", "insert", "key_of", "keys_of", "remove"]

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int32]

HALF, ONE = np.uint64(32), np.uint64(1)
A, B, C = np.uint64(30), np.uint64(27), np.uint64(31)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def key_of(value: Any, salt: Any) -> Any:
    """Return the key of a value's hash in a field, never 0 (Steele et al. 2014, fig. 15, mixed)."""
    x = value ^ salt
    x = (x ^ (x >> A)) * FIRST
    x = (x ^ (x >> B)) * SECOND
    x = x ^ (x >> C)
    return x if x else ONE


@compiled
def keys_of(values: Hashes, salts: Hashes) -> Hashes:
    """Return the keys of hashes, shape (n,), each with its field's salt, shape (n,)."""
    keys = np.empty(len(values), np.uint64)
    for i in range(len(values)):
        keys[i] = key_of(values[i], salts[i])
    return keys


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
