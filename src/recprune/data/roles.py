"""Whose attribute a column is: a guess that a schema overrides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recprune.data.disk_frame import Frame
from recprune.data.frames import comparable
from recprune.data.ids import positions
from recprune.schema import Source

__all__ = ["guess_sources"]

#: Rows that rule most columns out before all rows are read.
SAMPLE = 50_000


def guess_sources(
    frame: Frame, columns: Sequence[str], user: str | None, item: str | None
) -> dict[str, Source]:
    """Tell whose attribute each column is, from the rows.

    A column with one value for each user (item) is the user's (item's) attribute, otherwise it is
    context. One that is both belongs to the side with fewer ids, where more rows bear it out: a
    table with one row a user says nothing against an item's attribute.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"u": [1, 1, 2], "i": [7, 8, 7], "age": [30, 30, 40], "x": [1, 2, 3]})
    >>> guess_sources(frame, ["age", "x"], "u", "i")
    {'age': 'user', 'x': 'context'}
    """
    sides: list[tuple[int, Source, set[str]]] = []
    named: tuple[tuple[str | None, Source], ...] = ((user, "user"), (item, "item"))
    for owner, source in named:
        if owner is None:
            continue
        others = [c for c in columns if c != owner]
        some = _fixed(frame.head(SAMPLE), others, owner)
        fixed = some if len(frame) <= SAMPLE else _fixed(frame, some, owner)
        sides.append((frame[owner].n_unique(), source, set(fixed)))
    sides.sort(key=lambda side: side[0])
    owners = {owner: source for owner, source in named if owner is not None}
    out: dict[str, Source] = {}
    for column in columns:
        fits = [source for _, source, fixed in sides if column in fixed]
        out[column] = owners.get(column) or (fits[0] if fits else "context")
    return out


def _fixed(frame: Frame, columns: Sequence[str], owner: str) -> list[str]:
    """Return the columns whose value in every row is that of the owner's first row."""
    place = positions(frame[owner], frame[owner].unique())
    first = np.empty(len(frame), np.int64)
    first[place[::-1]] = np.arange(len(frame))[::-1]
    expected = first[place]
    values = ((c, comparable(frame[c])) for c in columns)
    return [c for c, v in values if v.eq_missing(v[expected]).all()]
