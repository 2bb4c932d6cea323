"""Which values of a categorical field get a row of their own."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recprune.encoding import Vocabulary, text
from recprune.schema import Field

__all__ = ["SENSITIVE_COUNT", "VocabularyRule", "fit_vocabulary"]

#: A personal attribute's value that fewer rows have could give its bearer away.
SENSITIVE_COUNT = 10


@dataclass(frozen=True)
class VocabularyRule:
    """What a value needs for a row of its own; all other values read, and train, the unknown row.

    Args:
        min_count: least number of training rows; None = 1, and 10 for a sensitive field.
        max_size: most values, the most frequent ones; None = no limit.
    """

    min_count: int | None = None
    max_size: int | None = None

    def least(self, field: Field) -> int:
        """Return the least number of training rows of a value of ``field``."""
        if self.min_count is not None:
            return self.min_count
        return SENSITIVE_COUNT if field.sensitive else 1

    def over(self, other: VocabularyRule) -> VocabularyRule:
        """Return this rule, with what it leaves open taken from ``other``."""
        return VocabularyRule(
            other.min_count if self.min_count is None else self.min_count,
            other.max_size if self.max_size is None else self.max_size,
        )


def fit_vocabulary(
    series: pl.Series, min_count: int = 1, max_size: int | None = None
) -> Vocabulary:
    """Return the values that come at least ``min_count`` times, most frequent first, ties by text.

    >>> fit_vocabulary(pl.Series(["b", "a", None, "a", "b", "c"]), 2).values
    ('a', 'b')
    >>> fit_vocabulary(pl.Series(["b", "a", "a"]), max_size=1).values
    ('a',)
    """
    table = series.alias("value").value_counts()
    counts: dict[str | None, int] = {}
    for value, count in zip(table["value"].to_list(), table["count"].to_list(), strict=True):
        word = text(value)
        counts[word] = counts.get(word, 0) + count
    kept = [(w, c) for w, c in counts.items() if c >= min_count]
    kept.sort(key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))
    return Vocabulary(tuple(word for word, _ in kept[:max_size]))
