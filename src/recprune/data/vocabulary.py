"""Which values of a categorical field get a row of their own."""

from __future__ import annotations

import polars as pl

from recprune.lookups import Vocabulary
from recprune.texts import text

__all__ = ["fit_vocabulary", "vocabulary_of"]


def fit_vocabulary(
    series: pl.Series, min_count: int = 1, max_size: int | None = None
) -> Vocabulary:
    """Return the values that come at least ``min_count`` times, most frequent first, ties by text.

    >>> fit_vocabulary(pl.Series(["b", "a", None, "a", "b", "c"]), 2).values
    ('a', 'b')
    >>> fit_vocabulary(pl.Series(["b", "a", "a"]), max_size=1).values
    ('a',)
    """
    return vocabulary_of(series.alias("value").value_counts(), min_count, max_size)


def vocabulary_of(table: pl.DataFrame, min_count: int, max_size: int | None) -> Vocabulary:
    """Return the vocabulary of values and how often each comes; see :func:`fit_vocabulary`.

    Args:
        table: the columns ``value`` and ``count``.
        min_count: least count of a value with a row of its own.
        max_size: most values; None = no limit.
    """
    counts: dict[str | None, int] = {}
    for value, count in zip(table["value"].to_list(), table["count"].to_list(), strict=True):
        word = text(value)
        counts[word] = counts.get(word, 0) + count
    kept = [(w, c) for w, c in counts.items() if c >= min_count]
    kept.sort(key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))
    return Vocabulary(tuple(word for word, _ in kept[:max_size]))
