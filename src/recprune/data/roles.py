"""Whose attribute a column is, and whether it is a personal one: guesses that a schema overrides."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from recprune.schema import Source

__all__ = ["guess_sensitive", "guess_sources"]

PERSONAL = frozenset(
    {
        "age",
        "ages",
        "birth",
        "birthdate",
        "birthday",
        "birthyear",
        "children",
        "citizenship",
        "disability",
        "dob",
        "ethnic",
        "ethnicity",
        "gender",
        "income",
        "kids",
        "marital",
        "married",
        "nationality",
        "pregnant",
        "race",
        "religion",
        "salary",
        "sex",
        "wage",
    }
)


def guess_sensitive(name: str) -> bool:
    """Tell whether a column's name names a personal attribute.

    >>> [guess_sensitive(n) for n in ("age_group", "maritalStatus", "has_children", "page", "wages")]
    [True, True, True, False, False]
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(word.lower() in PERSONAL for word in words)


def guess_sources(
    frame: pl.DataFrame, columns: Sequence[str], user: str | None, item: str | None
) -> dict[str, Source]:
    """Tell whose attribute each column is, from the rows.

    A column with one value for each user (item) is the user's (item's) attribute, otherwise it is
    context. One that is both belongs to the side with fewer ids, where more rows bear it out: a
    table with one row a user says nothing against an item's attribute.

    >>> frame = pl.DataFrame({"u": [1, 1, 2], "i": [7, 8, 7], "age": [30, 30, 40], "x": [1, 2, 3]})
    >>> guess_sources(frame, ["age", "x"], "u", "i")
    {'age': 'user', 'x': 'context'}
    """
    sides: list[tuple[int, Source, frozenset[str]]] = []
    for owner, source in ((user, "user"), (item, "item")):
        if owner is None:
            continue
        others = [c for c in columns if c != owner]
        counts = frame.group_by(owner).agg(pl.col(others).n_unique())
        fixed = [c for c in others if counts[c].max() == 1]
        side: Source = "user" if source == "user" else "item"
        sides.append((len(counts), side, frozenset(fixed)))
    sides.sort(key=lambda s: s[0])
    owners: dict[str, Source] = {}
    if user is not None:
        owners[user] = "user"
    if item is not None:
        owners[item] = "item"
    out: dict[str, Source] = {}
    for column in columns:
        fits = [source for _, source, fixed in sides if column in fixed]
        out[column] = owners.get(column) or (fits[0] if fits else "context")
    return out
