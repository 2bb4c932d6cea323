"""A number for a text: the same on every machine and in every version, fast for whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.streaming.views import Views, views_of

__all__ = ["MISSING", "byte_hashes", "hashed", "hashes"]

#: What a missing text hashes to.
MISSING = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


def hashes(texts: pl.Series, salt: int = 0, part: slice = slice(None)) -> Hashes:
    """Return a 64-bit hash of each text's UTF-8 bytes; of a missing one :data:`MISSING`.

    Eight bytes at a time go through the finaliser of MurmurHash3 (Appleby 2011), a bijection:
    different texts of one length up to eight bytes never share a hash, others by chance, 2⁻⁶⁴ a
    pair. It is no secret: whoever chooses the texts can make them collide.

    Args:
        texts: of type String, shape ``(n,)``.
        salt: another number gives other hashes, 0 ≤ salt < 2⁶⁴.
        part: which texts, as in ``texts[part]``, without taking those out; no step below 1.

    Returns:
        shape ``(n,)``, of ``part``.

    >>> [hex(h) for h in hashes(pl.Series(["a", "", None])).tolist()]
    ['0x405337e338614e91', '0x0', '0x9e3779b97f4a7c15']
    """
    return hashed(texts, salt, part)[0]


def hashed(
    texts: pl.Series, salt: int = 0, part: slice = slice(None)
) -> tuple[Hashes, NDArray[np.int32]]:
    """Return :func:`hashes` and each text's bytes, 0 of a missing one, both shape ``(n,)``.

    >>> hashed(pl.Series(["a", "é", None]))[1].tolist()
    [1, 2, 0]
    """
    out = np.empty(len(range(len(texts))[part]), np.uint64)
    lengths = np.empty(len(out), np.int32)
    gone = texts.is_null().to_numpy()[part] if texts.null_count() else np.empty(0, np.bool_)
    start = 0
    with views_of(texts if part == slice(None) else texts.rechunk()) as chunks:
        for views, data, starts in chunks:
            chosen = views[part]
            at = slice(start, start + len(chosen))
            _hash_views((chosen, data, starts), gone[at], np.uint64(salt), out[at], lengths[at])
            start = at.stop
    return out, lengths


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
def _mixed(h: Any, word: Any) -> Any:
    h ^= word
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@compiled
def _hash_one(blob: NDArray[np.uint8], start: Any, size: Any, salt: Any) -> Any:
    h = salt ^ (np.uint64(size) * np.uint64(0x9E3779B97F4A7C15))
    end = start + size
    for at in range(start, end, 8):
        word = np.uint64(0)
        for byte in range(min(8, end - at)):
            word |= np.uint64(blob[at + byte]) << np.uint64(8 * byte)
        h = _mixed(h, word)
    return h


@compiled
def _hash(blob: NDArray[np.uint8], lengths: NDArray[np.int64], salt: Any, out: Hashes) -> None:
    start = 0
    for i in range(len(lengths)):
        out[i] = _hash_one(blob, start, lengths[i], salt)
        start += lengths[i]


@compiled
def _hash_views(
    chunk: Views, gone: NDArray[np.bool_], salt: Any, out: Hashes, lengths: NDArray[np.int32]
) -> None:
    views, data, starts = chunk
    for i in range(len(views)):
        if len(gone) and gone[i]:
            out[i], lengths[i] = MISSING, 0
            continue
        size = np.int64(views[i, 0])
        lengths[i] = size
        if size > 12:
            start = starts[views[i, 2]] + np.int64(views[i, 3])
            out[i] = _hash_one(data, start, size, salt)
            continue
        h = salt ^ (np.uint64(size) * np.uint64(0x9E3779B97F4A7C15))
        word = np.uint64(views[i, 1]) | np.uint64(views[i, 2]) << np.uint64(32)
        if size >= 8:
            h = _mixed(h, word)
            word, size = np.uint64(views[i, 3]), size - 8
        if size:
            h = _mixed(h, word & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)))
        out[i] = h
