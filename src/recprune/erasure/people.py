"""A user out of a folder of users (``users.rp``)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.erasure.names import Names
from recprune.erasure.records import Removed
from recprune.histories import CrossTable, SeenItems
from recprune.users import Users

__all__ = ["clean_users", "id_columns", "texts_of", "without"]

Mask = NDArray[np.bool_]


def clean_users(folder: Path, names: Names) -> list[Removed]:
    """Write a folder of users again without one of them; return what went.

    Raises:
        ArtifactError: the folder is not sound.
    """
    users = Users.load(folder)
    left, removed = without(users, names)
    if removed:
        with tempfile.TemporaryDirectory(dir=folder) as place:  # others' files in the folder stay
            left.save(Path(place) / "users.rp")
            for file in (Path(place) / "users.rp").iterdir():
                file.replace(folder / file.name)
    return [Removed(str(folder), what, count) for what, count in removed.items()]


def without(users: Users, names: Names) -> tuple[Users, dict[str, int]]:
    """Return the others, and what went: what in words → how many.

    Values of histories and seen items that nobody else has go too; telling names in columns of
    others become missing.
    """
    gone = names.are(pl.Series(users.ids, dtype=pl.String)).to_numpy().astype(np.bool_)
    removed = {"user": int(gone.sum())} if gone.any() else {}
    columns, known = {}, id_columns(users, names)
    for name, column in users.columns.items():
        left = column[~gone] if isinstance(column, np.ndarray) else _kept(column, ~gone)
        columns[name], told = _untold(left, names, name in known)
        if told:
            removed[f"values of column {name!r}, now missing"] = told
    cross = {by: _cross(table, ~gone, names) for by, table in users.cross.items()}
    seen = users.seen
    if seen is not None:
        left_in = np.repeat(~gone, np.diff(seen.offsets))
        left_in &= ~_mentioned(seen.items, names)[seen.index]
        items, index = _used(seen.items, seen.index[left_in])
        seen = SeenItems(items, _offsets(seen.offsets, left_in, ~gone), index)
    for what, before, after in (
        *(
            (f"entries of the histories by {by!r}", users.cross[by].keys, cross[by].keys)
            for by in cross
        ),
        *([("seen items", users.seen.index, seen.index)] if users.seen and seen else []),
    ):
        if len(before) > len(after):
            removed[what] = len(before) - len(after)
    return Users(tuple(_kept(users.ids, ~gone)), columns, cross, seen), removed


def id_columns(users: Users, names: Names) -> set[str]:
    """Return the columns that hold ids of users: those that are called so, and that of the ids."""
    return {
        name
        for name, column in users.columns.items()
        if name in names.columns
        or (not isinstance(column, np.ndarray) and tuple(column) == users.ids)
    }


def texts_of(column: Iterable[Any]) -> Iterator[str]:
    """Yield the texts of a column, and those of its lists."""
    for value in column:
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, str):
                yield each


def _cross(table: CrossTable, stay: Mask, names: Names) -> CrossTable:
    left = np.repeat(stay, np.diff(table.offsets)) & ~_mentioned(table.values, names)[table.keys]
    values, keys = _used(table.values, table.keys[left])
    fields = {name: numbers[left] for name, numbers in table.fields.items()}
    return CrossTable(values, _offsets(table.offsets, left, stay), keys, fields, table.defaults)


def _offsets(before: NDArray[np.int64], left: Mask, stay: Mask) -> NDArray[np.int64]:
    """Return where each user's entries start once some are gone, and some users."""
    sums = np.concatenate([[0], np.cumsum(left)])
    sizes = (sums[before[1:]] - sums[before[:-1]])[stay]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _used(
    values: tuple[str, ...], places: NDArray[Any]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the values that are left, and the places among them."""
    used, index = np.unique(places, return_inverse=True)
    return tuple(values[i] for i in used.tolist()), index.astype(np.int32)


def _mentioned(values: tuple[str, ...], names: Names) -> Mask:
    return names.mentions(pl.Series(values, dtype=pl.String)).to_numpy().astype(np.bool_)


def _kept(values: Sequence[Any], stay: Mask) -> list[Any]:
    return [value for value, stays in zip(values, stay.tolist(), strict=True) if stays]


def _untold(column: Any, names: Names, of_users: bool) -> tuple[Any, int]:
    """Return a column without what names the user, and how many values did."""
    if isinstance(column, np.ndarray):
        return column, 0
    texts = pl.Series(sorted(set(texts_of(column))), dtype=pl.String)
    gone = set(texts.filter(names.stand_in(texts, of_users)))
    left = [
        [v for v in value if v not in gone]
        if isinstance(value, list | tuple)
        else None
        if value in gone
        else value
        for value in column
    ]
    return left, sum(one != other for one, other in zip(left, column, strict=True))
