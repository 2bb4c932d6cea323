"""Users and items as ranking needs them: attributes, histories and seen items before the test."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.encode import vectors
from recprune.data.ids import id_texts, positions
from recprune.data.table import Table
from recprune.histories import CrossTable, SeenItems
from recprune.users import Users

__all__ = ["build_items", "build_users", "raw_column", "repeats"]

Index = NDArray[np.int64]


def build_items(table: Table) -> pl.DataFrame | None:
    """Return one row an item, sorted by id: its id and the first value of its columns.

    The columns that cross fields are indexed by are always there, fields or not.
    """
    item = table.schema.item
    if item is None:
        return None
    fields = [f.name for f in table.schema.fields if f.source == "item" and f.name != item]
    by = [f.by for f in table.schema.fields if f.by is not None and f.by != item]
    columns = list(dict.fromkeys([*fields, *by]))
    order = None if table.time is None else np.argsort(table.time, kind="stable")
    items = table.frame[item].unique().sort().to_frame()
    for column in columns:
        pairs = pl.DataFrame([table.frame[item], table.frame[column]])
        ordered = pairs if order is None else pairs[order]
        first = ordered.group_by(item, maintain_order=True).agg(pl.col(column).drop_nulls().first())
        items = items.with_columns(first.sort(item)[column])
    return items


def build_users(
    table: Table, ids: pl.Series, known: NDArray[np.bool_], items: pl.DataFrame | None
) -> Users:
    """Return the users as of the test: columns of each user's latest row before it.

    Args:
        table: all rows.
        ids: all users, sorted.
        known: rows before the test, shape ``(n,)``. A user without any has the columns of the
            first test row (attributes come with a request), no history and no seen items.
        items: the catalogue, for the seen items: the user's positive known rows.

    User and context fields are both kept: a context field's value for ranking is the latest one.
    """
    schema = table.schema
    user = str(schema.user)
    owner = positions(table.frame[user], ids)
    latest = _latest(table, owner, known)
    kept = [f for f in schema.fields if f.source in ("user", "context")]
    columns = {f.name: raw_column(table.frame[f.name][latest], f.kind) for f in kept}
    rows = np.flatnonzero(known)
    cross = {}
    for by in dict.fromkeys(f.by for f in schema.fields if f.by is not None):
        cross[by] = _histories(table, by, owner, rows, len(ids))
    seen = None
    if items is not None:
        rows = np.flatnonzero(known & (table.label == 1))
        where = positions(table.frame[str(schema.item)][rows], items[str(schema.item)])
        seen = SeenItems.from_entries(
            owner[rows], where, id_texts(items[str(schema.item)]), len(ids)
        )
    return Users(tuple(id_texts(ids)), columns, cross, seen)


def repeats(table: Table, rows: Index) -> bool:
    """Tell whether a user takes an item again: a positive pair that comes twice in these rows."""
    user, item = table.schema.user, table.schema.item
    if user is None or item is None:
        return False
    positive = rows[table.label[rows] == 1]
    pairs = table.frame.select(user, item)[positive]
    return bool(pairs.n_unique() < len(pairs))


def raw_column(series: pl.Series, kind: str) -> list[object] | NDArray[np.float64]:
    """Return a column as :class:`recprune.users.Users` keeps it: numbers with NaN, or raw values."""
    if kind == "numeric":
        return series.cast(pl.Float64).to_numpy()
    if kind == "dense":
        return vectors(series)
    return series.to_list()


def _latest(table: Table, owner: Index, known: NDArray[np.bool_]) -> Index:
    """Return each user's latest known row, or else the first row."""
    n = len(owner)
    moment = np.empty(n, np.int64)
    moment[np.argsort(table.time, kind="stable") if table.time is not None else np.arange(n)] = (
        np.arange(n)
    )
    order = np.lexsort((np.where(known, moment, -1 - moment), owner))
    last = np.append(owner[order][1:] != owner[order][:-1], True)
    found: Index = order[last]
    return found


def _histories(table: Table, by: str, owner: Index, rows: Index, n_users: int) -> CrossTable:
    """Return the latest value of every cross field of one item column, a user and value at a time."""
    names = [f.name for f in table.schema.fields if f.by == by]
    part = table.frame[rows]
    frame = pl.DataFrame([part[name] for name in names])
    frame = frame.with_columns(pl.Series("", owner[rows]), part[by].alias(" "))
    if table.time is not None:
        frame = frame[np.argsort(table.time[rows], kind="stable")]
    frame = frame.drop_nulls(" ").group_by("", " ").agg(pl.col(names).last()).sort("", " ")
    values = frame[" "].unique().sort()
    numbers = {name: frame[name].cast(pl.Float64).to_numpy() for name in names}
    return CrossTable.from_entries(
        frame[""].to_numpy(), positions(frame[" "], values), values.to_list(), numbers, n_users
    )
