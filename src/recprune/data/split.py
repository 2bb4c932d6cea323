"""Which rows train, which validate and which test: disjoint, and no look into the future."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.table import Table
from recprune.errors import DataError, ParameterError

__all__ = ["SplitBy", "assign", "check_classes", "halves"]

SplitBy = Literal["auto", "time", "user", "random", "stratified"]
Index = NDArray[np.int64]
PARTS = ("train", "valid", "test")


def assign(
    table: Table, users: Index | None, by: str, shares: tuple[float, float], seed: int
) -> tuple[str, list[Index]]:
    """Return the way the rows were split, and the rows of train, valid and test (sorted).

    Args:
        table: the table.
        users: each row's user, shape ``(n,)``, or None.
        by: ``"time"``: cut where the time column passes a quantile, rows of equal time together.
            ``"user"``: all rows of a user together. ``"random"``; ``"stratified"``: random with
            equal label rates. ``"auto"``: time if there is a time column, else user if users have
            several rows, else stratified.
        shares: shares of the rows that validate and test.
        seed: of the draw.

    Raises:
        ParameterError: an unknown ``by``, or shares that leave no training rows.
        DataError: the table has no time (user) column, or too few times (users).
    """
    if by not in get_args(SplitBy):
        options = ", ".join(map(repr, get_args(SplitBy)))
        raise ParameterError.of("by", "Dataset.split", f"one of {options}", by)
    for name, share in zip(("valid", "test"), shares, strict=True):
        if not (isinstance(share, float) and 0 < share < 1):
            raise ParameterError.of(name, "Dataset.split", "a float in (0, 1)", share)
    if sum(shares) >= 1:
        raise ParameterError.of("valid", "Dataset.split", "less than 1 − test", shares[0])
    if by == "auto":
        repeated = users is not None and len(users) > len(np.unique(users))
        by = "time" if table.time is not None else "user" if repeated else "stratified"
    if by == "time":
        part = _by_time(table, shares)
    else:
        if by == "user":
            part = _by_user(table, users, shares, seed)
        else:
            strata = table.label if by == "stratified" else np.zeros(len(table.label))
            part = _deal(strata, np.ones(len(strata)), _three(shares), seed, "rows")
    return by, [np.flatnonzero(part == i) for i in range(len(PARTS))]


def halves(label: NDArray[np.float32], users: Index | None, seed: int) -> tuple[Index, Index]:
    """Return the rows of *tune* and *gate*: halves of the validation rows with no user in both.

    Users with and without a positive row are halved apart (without users: the classes).
    """
    if users is None:
        part = _deal(label, np.ones(len(label)), (0.5, 0.5), seed, "tune")
    else:
        part = _deal_users(label, users, (0.5, 0.5), seed, "tune")
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def check_classes(labels: dict[str, NDArray[np.float32]], how: str) -> None:
    """Refuse parts without rows of both classes.

    Raises:
        DataError: names the part and its counts.
    """
    for name, label in labels.items():
        positives = int(label.sum())
        if not 0 < positives < len(label):
            raise DataError(
                f"The {name} part has {len(label)} rows, {positives} of them positive; every part "
                f"needs both classes. It was split by {how}: take another way (by=…), larger "
                "shares, or more rows."
            )


def _by_time(table: Table, shares: tuple[float, float]) -> NDArray[Any]:
    if table.time is None:
        raise DataError(
            "There is no time column to split by. Name it with time=…, or split by another way."
        )
    times, counts = np.unique(table.time, return_counts=True)
    if len(times) < 3:
        raise DataError(
            f"Time column {table.schema.time!r} has {len(times)} different values; a split by time "
            "needs three or more. Split by another way (by=…)."
        )
    before = np.cumsum(counts) - counts
    valid, test = shares
    n = len(table.time)
    first = 1 + int(np.argmin(np.abs(before[1:-1] - n * (1 - valid - test))))
    second = first + 1 + int(np.argmin(np.abs(before[first + 1 :] - n * (1 - test))))
    return np.searchsorted(times[[first, second]], table.time, side="right")


def _by_user(
    table: Table, users: Index | None, shares: tuple[float, float], seed: int
) -> NDArray[Any]:
    if users is None:
        raise DataError(
            "There is no user column to split by. Name it with user=…, or split by another way."
        )
    return _deal_users(table.label, users, _three(shares), seed, "users")


def _deal_users(
    label: NDArray[np.float32], users: Index, shares: Sequence[float], seed: int, name: str
) -> NDArray[Any]:
    owners, place = np.unique(users, return_inverse=True)
    positive = np.bincount(place, label, minlength=len(owners)) > 0
    rows = np.bincount(place, minlength=len(owners)).astype(float)
    return _deal(positive, rows, shares, seed, name)[place]


def _deal(
    strata: NDArray[Any], weight: NDArray[Any], shares: Sequence[float], seed: int, name: str
) -> NDArray[Any]:
    """Deal units to parts by weight, each stratum in the same shares."""
    part = np.empty(len(strata), np.int64)
    drawn = stream(seed, "split", name).permutation(len(strata))
    bounds = np.cumsum(shares)[:-1]
    for stratum in np.unique(strata):
        units = drawn[strata[drawn] == stratum]
        middle = (np.cumsum(weight[units]) - weight[units] / 2) / weight[units].sum()
        part[units] = np.searchsorted(bounds, middle, side="right")
    return part


def _three(shares: tuple[float, float]) -> tuple[float, float, float]:
    valid, test = shares
    return 1 - valid - test, valid, test
