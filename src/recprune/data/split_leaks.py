"""The leak test on every split: what trains must not know what tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.disk_frame import Frame
from recprune.data.frames import comparable
from recprune.data.infer import read_time
from recprune.data.quality import Finding, Severity
from recprune.data.table import Table
from recprune.schema import Schema

__all__ = ["future_trains", "given_leaks", "shared_rows", "shared_users", "split_leaks"]

#: From this share of test rows with a twin that trains on, they are worth a warning.
OFTEN = 0.1
#: Mixes the hashes of columns so that their order counts (golden ratio, Knuth 1973, section 6.4).
ODD = np.uint64(0x9E3779B97F4A7C15)

Index = NDArray[np.int64]


def shared_users(users: Index | None, index: Sequence[Index], by: str) -> list[Finding]:
    """Report users with rows in two parts of a split that keeps users together: an error in it.

    Args:
        users: each row's user, shape ``(n,)``, or None.
        index: rows of each part.
        by: how the rows were split; of another way than ``"user"`` nothing is asked.

    >>> shared_users(np.array([0, 0, 1]), [np.array([0]), np.array([1, 2])], "user")[0].rows
    1
    """
    if users is None or by != "user":
        return []
    parts = np.concatenate([np.unique(users[at]) for at in index])
    _, counts = np.unique(parts, return_counts=True)
    shared = int((counts > 1).sum())
    if not shared:
        return []
    message = f"{shared:,} users have rows in two parts, though the split is by user."
    action = "do not believe the verdict: this is a defect of the split"
    return [Finding("shared_users", "", "error", shared, action, message)]


def future_trains(
    time: NDArray[Any] | None, users: Index | None, index: Sequence[Index], by: str
) -> list[Finding]:
    """Report training rows that are later than test rows: of the same user where users are known.

    A split by time has none, without users either; if it has, that is an error. Of other splits it
    is a warning: what a user does later says what they did before.

    Args:
        time: orders the rows, shape ``(n,)``; None = nothing is reported.
        users: each row's user, shape ``(n,)``, or None.
        index: rows of train, valid and test.
        by: how the rows were split.

    >>> day, user = np.array([1, 2, 3, 1]), np.array([0, 0, 0, 1])
    >>> future_trains(day, user, [np.array([2, 3]), np.array([0]), np.array([1])], "random")[0].rows
    1
    """
    if time is None:
        return []
    train, test = index[0], index[2]
    if users is None or by == "time":
        late = int((time[train] > pl.Series(time[test]).fill_nan(None).min()).sum())
        whose = "a test row"
    else:
        order = test[np.argsort(time[test], kind="stable")]
        owners, place = np.unique(users[order], return_index=True)
        first = np.full(int(users.max()) + 1, -1)
        first[owners] = order[place]
        known = train[first[users[train]] >= 0]
        late = int((time[known] > time[first[users[known]]]).sum())
        whose = "a test row of their user"
    if not late:
        return []
    severity: Severity = "error" if by == "time" else "warning"
    message = f"{late:,} rows that train are later than {whose}."
    action = "kept, as this split has it; a split by time trains on the past alone"
    if by == "time":
        action = "do not believe the verdict: this is a defect of the split"
    return [Finding("future_trains", "", severity, late, action, message, late / len(train))]


def shared_rows(
    frame: Frame, others: Iterable[NDArray[Any]], index: Sequence[Index]
) -> list[Finding]:
    """Report test rows that equal a training row in every column.

    Rows are compared by 64-bit hashes, made of one column at a time.

    Args:
        frame: fields and ids of all rows, in memory or on disk.
        others: what else rows must have in common: label and time, each shape ``(n,)``.
        index: rows of train, valid and test.

    >>> frame, label = pl.DataFrame({"a": [1, 1, 1, 2]}), np.array([1, 0, 1, 1])
    >>> shared_rows(frame, [label], [np.array([0, 1]), np.array([3]), np.array([2])])[0].rows
    1
    """
    rows = pl.Series(_hashes(frame, others))
    train, test = rows[index[0]], rows[index[2]]
    shared = int(test.is_in(train.implode()).sum())
    if not shared:
        return []
    share = shared / len(test)
    severity: Severity = "warning" if share > OFTEN else "info"
    message = f"{shared:,} test rows ({share:.1%}) equal a training row in every field."
    action = "kept; a model that learned rows by heart would be right about them"
    return [Finding("shared_rows", "", severity, shared, action, message, share)]


def _hashes(frame: Frame, others: Iterable[NDArray[Any]]) -> NDArray[np.uint64]:
    if isinstance(frame, pl.DataFrame):
        lists = [comparable(c) for c in frame if c.dtype.is_nested()]
        more = [pl.Series(f"\0{i}", values) for i, values in enumerate(others)]
        return frame.with_columns(*lists, *more).hash_rows(seed=0).to_numpy()
    hashes = np.zeros(len(frame), np.uint64)
    columns = chain((frame[name] for name in frame.columns), map(pl.Series, others))
    for place, column in enumerate(columns):
        hashes = hashes * ODD ^ comparable(column).hash(seed=place).to_numpy()
    return hashes


def split_leaks(
    table: Table, users: Index | None, index: Sequence[Index], by: str
) -> list[Finding]:
    """Run all of the above on a split of a table; the arguments are theirs."""
    others = [table.label] if table.time is None else [table.label, table.time]
    return [
        *shared_users(users, index, by),
        *future_trains(table.time, users, index, by),
        *shared_rows(table.frame, others, index),
    ]


def given_leaks(parts: Mapping[str, pl.DataFrame], schema: Schema) -> list[Finding]:
    """Run what can be run on rows that came split: twins, and the future where the time is there.

    Args:
        parts: the rows of train, valid and test, in this order.
        schema: names the fields, the label, and the user and time columns if there are any.
    """
    columns = [*schema.names, schema.label, schema.user, schema.item, schema.time]
    there = set.intersection(*(set(frame.columns) for frame in parts.values()))
    names = [n for n in dict.fromkeys(columns) if n in there]
    frame = pl.concat([part.select(names) for part in parts.values()], how="vertical_relaxed")
    ends = np.cumsum([0, *map(len, parts.values())])
    index = [np.arange(a, b) for a, b in pairwise(ends)]
    time = read_time(frame[schema.time]).to_numpy() if schema.time in there else None
    users = None
    if schema.user is not None:
        users = frame[schema.user].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return [*future_trains(time, users, index, "given"), *shared_rows(frame, [], index)]
