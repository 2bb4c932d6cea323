"""A number for a text: the same on every machine and in every version, fast for whole columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["MISSING", "byte_hashes", "hashes"]

#: What a missing text hashes to.
MISSING = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


def hashes(texts: pl.Series, salt: int = 0) -> Hashes:
    """Return a 64-bit hash of each text's UTF-8 bytes; of a missing one :data:`MISSING`.

    Eight bytes at a time go through the finaliser of MurmurHash3 (Appleby 2011), a bijection:
    different texts of one length up to eight bytes never share a hash, others by chance, 2⁻⁶⁴ a
    pair. It is no secret: whoever chooses the texts can make them collide.

    Args:
        texts: of type String, shape ``(n,)``.
        salt: another number gives other hashes, 0 ≤ salt < 2⁶⁴.

    Returns:
        shape ``(n,)``.

    >>> [hex(h) for h in hashes(pl.Series(["a", "", None])).tolist()]
    ['0x405337e338614e91', '0x0', '0x9e3779b97f4a7c15']
    """
    joined = texts.str.join("").item() or ""
    lengths = texts.str.len_bytes().fill_null(0).to_numpy()
    out = _hashed(joined.encode(), lengths.astype(np.int64), salt)
    if texts.null_count():
        out[texts.is_null().to_numpy()] = MISSING
    return out


def byte_hashes(texts: Sequence[bytes], salt: int = 0) -> Hashes:
    """Return :func:`hashes` of bytes, shape ``(n,)``.

    >>> byte_hashes([b"a"]) == hashes(pl.Series(["a"]))
    array([ True])
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return _hashed(b"".join(texts), lengths, salt)


def _hashed(joined: bytes, lengths: NDArray[np.int64], salt: int) -> Hashes:
    out = np.empty(len(lengths), np.uint64)
    _hash(np.frombuffer(joined, np.uint8), lengths, np.uint64(salt), out)
    return out


@compiled
def _hash(
    blob: NDArray[np.uint8], lengths: NDArray[np.int64], salt: np.uint64, out: Hashes
) -> None:
    start = 0
    for i in range(len(lengths)):
        end = start + lengths[i]
        h = salt ^ (np.uint64(lengths[i]) * np.uint64(0x9E3779B97F4A7C15))
        at = start
        while at < end:
            word = np.uint64(0)
            for byte in range(min(8, end - at)):
                word |= np.uint64(blob[at + byte]) << np.uint64(8 * byte)
            h ^= word
            h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
            h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
            h ^= h >> np.uint64(33)
            at += 8
        out[i] = h
        start = end
