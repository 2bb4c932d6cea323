"""Which rows belong together: by user, item, attribute, unseen ids, and calendar."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data import Split
from recprune.dates import DAY
from recprune.errors import DataError, ParameterError, nearest
from recprune.lookups import UNKNOWN

__all__ = ["activity", "group_of", "groups_by", "popularity", "slice_groups"]

Groups = NDArray[np.object_]

NOT_KNOWN = "not known"
MOST_VALUES = 12
AGE_EDGES = (18, 25, 35, 45, 55, 65)
#: Share of all that was taken that the head has, and the tail.
HEAD = TAIL = 0.2
ROUNDING = 1e-9
WEEKDAYS = np.array(["1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun"], object)
#: Microseconds in one unit of a time, and the first and last moment that it can be.
UNITS = (1, 1_000, 1_000_000)
YEARS = (np.datetime64("1990"), np.datetime64("2100"))
#: A calendar unit is a grouping if the rows hold this many of it.
LEAST_UNITS = 3


def slice_groups(
    rows: Split, train: Split | None = None, by: Iterable[str] = ()
) -> dict[tuple[str, str], Groups]:
    """Return each row's group, for every grouping that the rows allow.

    - ``("user", "activity")``: *new*, *light*, *heavy*, see :func:`activity`; needs ``train``.
    - ``("item", "popularity")``: *none*, *tail*, *mid*, *head*, see :func:`popularity`; likewise.
    - ``(column, "unseen ids")``: whether the user (item) is in any training row, or, without
      ``train``, whether the model's vocabulary has it; only where both occur.
    - ``(unit, "calendar")``: year, month, week (its Monday) or day, the longest of which the rows
      hold three or more; and the weekday, where they hold 14 days or more. For times that are dates,
      or numbers that count seconds, milliseconds or microseconds since 1970 in the years 1990 to
      2100; other numbers only order the rows.
    - ``(field, "sensitive")``: each sensitive field; ``(column, "attribute")``: each other column
      that ``by`` names. Values, or ranges of a number: see :func:`group_of`.

    Args:
        rows: that are judged.
        train: training rows of the same data set, from which counts come.
        by: names of fields or id columns.

    Raises:
        ParameterError: a name that is no column of the rows; the nearest one is named.
        DataError: a column of lists or vectors, which has no values to group by.
    """
    groups: dict[tuple[str, str], Groups] = {}
    schema = rows.encoder.schema
    if train is not None:
        for owners, name, kind, grouped in (
            ((train.users, rows.users), "user", "activity", activity),
            ((train.items, rows.items), "item", "popularity", popularity),
        ):
            learned, asked = owners
            if learned is not None and asked is not None:
                size = int(max(learned.max(initial=0), asked.max(initial=0))) + 1
                groups[name, kind] = grouped(np.bincount(learned, train.label, size))[asked]
    for role in ("user", "item"):
        column, unseen = getattr(schema, role), _unseen(rows, train, role)
        if unseen is not None and unseen.any() and not unseen.all():
            groups[column, "unseen ids"] = np.where(unseen, "unseen", "seen").astype(object)
    if rows.extras.time is not None:
        groups |= {(unit, "calendar"): value for unit, value in _calendar(rows.extras.time)}
    single = [f for f in schema.fields if f.kind in ("categorical", "numeric")]
    sensitive = [f.name for f in single if f.sensitive and f.name in rows.columns.columns]
    for name in dict.fromkeys([*sensitive, *by]):
        groups[name, "sensitive" if name in sensitive else "attribute"] = groups_by(rows, name)
    return groups


def groups_by(rows: Split, name: str) -> Groups:
    """Return each row's group by one column; see :func:`group_of`.

    Raises:
        ParameterError: no column of the rows; the nearest one is named.
        DataError: a column of lists or vectors.
    """
    if name not in rows.columns.columns:
        raise ParameterError(
            f"Slices by {name!r}: the rows have no such column.{nearest(name, rows.columns.columns)}"
        )
    return group_of(rows.columns[name], name)


def activity(taken: NDArray[np.number]) -> Groups:
    """Return each user's group: *new* took nothing, *light* at most as much as the median of the
    others, *heavy* more.

    Args:
        taken: positive training rows of each user, shape ``(n_users,)``.

    >>> activity(np.array([0, 1, 2, 9])).tolist()
    ['new', 'light', 'light', 'heavy']
    """
    positive = taken[taken > 0]
    middle = np.median(positive) if len(positive) else 0
    return np.where(taken == 0, "new", np.where(taken <= middle, "light", "heavy")).astype(object)


def popularity(taken: NDArray[np.number]) -> Groups:
    """Return each item's group: the *head* are the fewest most popular items that together have a
    fifth of all that was taken or more, the *tail* the least popular that together have a fifth at
    most, *mid* lies between (Abdollahpouri et al. 2021, "User-centered evaluation of popularity bias
    in recommender systems"); *none* was never taken. Items taken equally often are in one group.

    Args:
        taken: positive training rows of each item, shape ``(n_items,)``.

    >>> popularity(np.array([20, 20, 20, 10, 10, 10, 5, 4, 1, 0])).tolist()
    ['head', 'head', 'head', 'mid', 'mid', 'mid', 'tail', 'tail', 'tail', 'none']
    """
    counts, place, many = np.unique(taken, return_inverse=True, return_counts=True)
    share = counts * many / max(taken.sum(), 1)
    below = np.cumsum(share)  # these items included
    above = 1 - below
    group = np.where(
        above < HEAD - ROUNDING, "head", np.where(below <= TAIL + ROUNDING, "tail", "mid")
    )
    return np.where(counts == 0, "none", group).astype(object)[place]


def group_of(column: pl.Series, name: str) -> Groups:
    """Return each row's group in words: the value itself, or a range of a numeric column.

    A number with at most 12 values is grouped by value; an age (a name with the word ``age``) by
    18, 25, 35, …, 65; any other by the quartiles of these rows. Missing is ``"not known"``.

    Raises:
        DataError: a column of lists or vectors.

    >>> group_of(pl.Series([17, 18, None, *range(30, 45)]), "age")[[0, 1, 2, 3, -1]].tolist()
    ['under 18', '18 to 25', 'not known', '25 to 35', '35 to 45']
    """
    if column.dtype.is_nested():
        raise DataError(
            f"Slices by {name!r}: the column holds {column.dtype}. Name a column of single values."
        )
    if not column.dtype.is_numeric():
        return column.cast(pl.String).fill_null(NOT_KNOWN).to_numpy().astype(object)
    values = column.cast(pl.Float64).to_numpy()
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= MOST_VALUES:
        return np.array([NOT_KNOWN if not np.isfinite(v) else f"{v:g}" for v in values], object)
    edges = (
        np.array(AGE_EDGES, float)
        if "age" in name.lower().split("_")
        else np.quantile(known, [0.25, 0.5, 0.75])
    )
    edges = np.unique(edges)
    bounds = [f"under {edges[0]:g}"]
    bounds += [f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)]
    bounds += [f"{edges[-1]:g} and over"]
    place = np.searchsorted(edges, np.where(np.isfinite(values), values, 0), side="right")
    return np.where(np.isfinite(values), np.array(bounds, object)[place], NOT_KNOWN)


def _unseen(rows: Split, train: Split | None, role: str) -> NDArray[np.bool_] | None:
    """Return which rows have a user (item) that training did not see; None where nobody knows."""
    column, asked = getattr(rows.encoder.schema, role), getattr(rows, f"{role}s")
    learned = getattr(train, f"{role}s") if train is not None else None
    if column is not None and learned is not None and asked is not None:
        return np.isin(asked, learned, invert=True)
    if column is None or column not in rows.encoder.schema.names:
        return None
    (slots, _) = rows.encoder.columns_of((column,))
    unknown: NDArray[np.bool_] = rows.rows.codes[:, slots].ravel() == UNKNOWN
    return unknown


def _calendar(time: NDArray[np.number]) -> list[tuple[str, Groups]]:
    """Return (unit, each row's value) of the calendar groupings that the times allow."""
    if not np.isfinite(time).all() or not len(time):
        return []
    for unit in UNITS:
        micros = time.astype(np.float64) * unit
        first, last = (edge.astype("datetime64[us]").astype(np.int64) for edge in YEARS)
        if micros.min() >= first and micros.max() < last:
            break
    else:
        return []
    days = (micros // DAY).astype(np.int64)
    dates = days.astype("datetime64[D]")
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    out = []
    for name, value in (
        ("year", dates.astype("datetime64[Y]")),
        ("month", dates.astype("datetime64[M]")),
        ("week", (days - weekday).astype("datetime64[D]")),
        ("day", dates),
    ):
        values, place = np.unique(value, return_inverse=True)
        if len(values) >= LEAST_UNITS:
            out.append((name, values.astype(str).astype(object)[place]))
            break
    if len(np.unique(days)) >= 14:
        out.append(("weekday", WEEKDAYS[weekday]))
    return out
