"""Columns that follow the item without being fixed by it: a price that changes, a title in spellings.

Where negatives are drawn, a negative has the context of the event that it is drawn for. A column
that follows the item would then give the negative away: it is another item's price.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.disk_frame import Frame
from recprune.data.frames import comparable
from recprune.data.ids import positions
from recprune.data.quality import Finding
from recprune.schema import Source

__all__ = ["bind_to_items", "follows"]

#: Rows that are looked at.
SAMPLE = 50_000
#: Equal steps of rank that numbers are told apart by.
BINS = 10
#: From here on a column is read as the item's; from there on it is reported.
BOUND, TOLD = 0.5, 0.1


def bind_to_items(
    frame: Frame, sources: Mapping[str, Source], item: str, stated: Container[str]
) -> tuple[dict[str, Source], list[Finding]]:
    """Return the sources, with context columns that follow the item as the item's; and findings.

    Args:
        frame: rows of 1.
        sources: column → whose attribute it was found to be.
        item: the item column.
        stated: columns whose source is stated: they stay as they are, and are reported.
    """
    out, found = dict(sources), []
    some = frame.head(SAMPLE)
    for name, source in sources.items():
        if source != "context":
            continue
        share = follows(some[name], some[item])
        if share < TOLD:
            continue
        if share >= BOUND and name not in stated:
            out[name] = "item"
            action = "read as the item's: it follows the item, and a negative has its item's latest"
        else:
            action = (
                "kept as the event's, though it follows the item: a negative, which has it from the "
                "event, can be told by it; drop it, or state its source in the schema"
            )
        found.append(Finding("follows the item", name, "warning", len(frame), action))
    return out, found


def follows(column: pl.Series, items: pl.Series) -> float:
    """Return how far a column follows the item: 0 = as chance has it, 1 = fixed by it.

    Two rows of one item agree with chance p, any two rows with chance q: (p − q) / (1 − q). Numbers
    agree within a tenth of the ranks. The mean is over rows of items that come twice or more.

    >>> items = pl.Series([1, 1, 2, 2] * 5)
    >>> follows(pl.Series(["a", "a", "b", "b"] * 5), items)
    1.0
    """
    value, n_values = _codes(comparable(column))
    owner = positions(items, items.unique())
    rows = np.bincount(owner)
    often = rows[owner] > 1
    if not often.any() or n_values < 2:
        return 0.0
    pair = np.unique(owner * n_values + value, return_inverse=True, return_counts=True)
    alike = (pair[2][pair[1]] - 1)[often]
    p = float(np.mean(alike / (rows[owner][often] - 1)))
    counts = np.bincount(value).astype(np.float64)
    q = float((counts * (counts - 1)).sum() / (len(value) * (len(value) - 1)))
    return max(0.0, (p - q) / (1 - q)) if q < 1 else 0.0


def _codes(column: pl.Series) -> tuple[NDArray[np.int64], int]:
    """Return each row's value as a small integer, and how many there are; missing is a value."""
    if column.dtype.is_numeric() and column.n_unique() > BINS:
        numbers = column.cast(pl.Float64).fill_nan(None)
        known = numbers.drop_nulls().to_numpy()
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
        codes = np.searchsorted(edges, numbers.to_numpy(), side="right")  # NaN: the last
        return np.where(numbers.is_null().to_numpy(), BINS, codes), BINS + 1
    distinct = column.drop_nulls().unique()
    return positions(column, distinct) + 1, len(distinct) + 1
