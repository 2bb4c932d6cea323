"""Hashes of texts: a plain reading of the definition, and that nothing else moves them."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recprune.streaming.hashes import MISSING, hashed, hashes

LAST = 2**64 - 1
TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20))


def slow(text: str | None, salt: int) -> int:
    if text is None:
        return MISSING
    raw = text.encode()
    h = salt ^ (len(raw) * 0x9E3779B97F4A7C15 & LAST)
    for at in range(0, len(raw), 8):
        h ^= int.from_bytes(raw[at : at + 8], "little")
        h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCD & LAST
        h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53 & LAST
        h ^= h >> 33
    return h


@given(TEXTS, st.integers(0, LAST))
def test_it_is_what_it_says(texts: list[str | None], salt: int) -> None:
    found = hashes(pl.Series(texts, dtype=pl.String), salt)
    assert found.tolist() == [slow(t, salt) for t in texts]


def test_bits_are_even_and_nothing_collides() -> None:
    texts = pl.Series(range(200_000)).cast(pl.String)
    found = hashes(texts)
    assert len(np.unique(found)) == len(texts)
    for shift in (0, 20, 56):
        counts = np.bincount((found >> np.uint64(shift)).astype(np.int64) & 255, minlength=256)
        # Chi-square of 255 degrees: mean 255, standard deviation 22.6.
        assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 255 + 5 * 22.6


@given(st.lists(TEXTS, max_size=4), st.integers(0, 5))
def test_chunks_slices_and_long_texts_read_alike(chunks: list[list[str | None]], cut: int) -> None:
    """However a column lies in memory: in pieces, from the middle, with texts in many buffers."""
    pieces = [pl.Series(c, dtype=pl.String) for c in chunks]
    pieces += [pl.Series(["a text of more than twelve bytes " * 3, None, "short"])]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole.append(piece)
    part = whole[cut:]
    for series in (whole, part, part.rechunk(), part.filter(part.is_not_null()), part.reverse()):
        texts = series.to_list()
        found, lengths = hashed(series, 3)
        assert found.tolist() == [slow(t, 3) for t in texts]
        assert lengths.tolist() == [len((t or "").encode()) for t in texts]
        some = slice(cut, None, 1 + cut % 3)
        assert hashes(series, 3, some).tolist() == found[some].tolist()
