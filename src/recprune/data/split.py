"""Which rows train, which validate and which test: disjoint, and no look into the future."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.quality import Finding
from recprune.data.table import Table
from recprune.errors import DataError, ParameterError, SchemaError

__all__ = ["GIVEN", "Assigned", "SplitRule", "assign", "check_classes", "deal", "halves"]

WAYS = ("auto", "time", "user", "last-n", "random", "stratified")
Index = NDArray[np.int64]
PARTS = ("train", "valid", "test")
#: The way of parts that came apart.
GIVEN = "given"


@dataclass(frozen=True)
class SplitRule:
    """How rows were dealt to the parts, kept with a model, so that it is measured on no row it learned from.

    Args:
        by: the way, decided where it was ``"auto"``; ``"given"`` = the parts came apart.
        valid: share of the rows that validate.
        test: share of the rows that test.
        seed: of the draw.
    """

    by: str
    valid: float = 0.15
    test: float = 0.15
    seed: int = 0

    def deals_as(self, other: SplitRule) -> bool:
        """Tell whether two rules deal the same rows of a table to *train*, *valid* and *test*.

        Of parts that came apart nobody knows. By time, and by a user's last rows, nothing is drawn.

        >>> SplitRule("time", seed=1).deals_as(SplitRule("time", seed=2))
        True
        >>> SplitRule("user", seed=1).deals_as(SplitRule("user", seed=2))
        False
        """
        return self.by != GIVEN and self._deciding == other._deciding

    @property
    def _deciding(self) -> tuple[object, ...]:
        if self.by.startswith("last-"):
            return (self.by,)
        seed = None if self.by == "time" else self.seed
        return (self.by, self.valid, self.test, seed)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitRule:
        """Build a rule from ``to_json``'s dictionary.

        Raises:
            SchemaError: it holds something else.

        >>> rule = SplitRule("user", seed=3)
        >>> SplitRule.from_json(rule.to_json()) == rule
        True
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise SchemaError(f"The rule of the split cannot be read: {error}.") from error


class Assigned(NamedTuple):
    """How rows were split, the rows of train, valid and test (sorted), and what was found."""

    by: str
    rows: list[Index]
    findings: tuple[Finding, ...] = ()


def assign(
    table: Table, users: Index | None, by: str, shares: tuple[float, float], seed: int, n: int = 1
) -> Assigned:
    """Deal the rows to train, valid and test.

    Args:
        table: the table.
        users: each row's user, shape ``(n,)``, or None.
        by: ``"time"``: cut where the time column passes a quantile, rows of equal time together.
            ``"user"``: all rows of a user together. ``"last-n"``: of every user the last ``n``
            rows test, the ``n`` before validate, the rest train; a user with fewer than
            2 ``n`` + 1 rows trains only. Rows are ordered by time, without a time column as they
            stand, and rows of one time too. ``"last-3"`` is ``"last-n"`` with ``n`` = 3.
            ``"random"``; ``"stratified"``: random with equal label rates. ``"auto"``: time if
            there is a time column, else user if users have several rows, else stratified.
        shares: shares of the rows that validate and test; without effect on ``"last-n"``.
        seed: of the draw.
        n: of ``"last-n"``.

    With ``"last-n"`` no row of a user trains that comes after one that tests, but rows of other
    users do (Ji et al. 2023, "A Critical Study on Data Leakage in Recommender System Offline
    Evaluation"): where popularity changes with time, ``"time"`` is the stricter way.

    Raises:
        ParameterError: an unknown ``by``, an ``n`` below 1, or shares that leave no training rows.
        DataError: the table has no time (user) column, or too few times (users, rows of a user).
    """
    by, n = _way(by, n)
    for name, share in zip(("valid", "test"), shares, strict=True):
        if not (isinstance(share, float) and 0 < share < 1):
            raise ParameterError.of(name, "Dataset.split", "a float in (0, 1)", share)
    if sum(shares) >= 1:
        raise ParameterError.of("valid", "Dataset.split", "less than 1 − test", shares[0])
    if by == "auto":
        repeated = users is not None and len(users) > len(np.unique(users))
        by = "time" if table.time is not None else "user" if repeated else "stratified"
    found: tuple[Finding, ...] = ()
    if by == "time":
        part = _by_time(table, shares)
    elif by.startswith("last-"):
        part, found = _by_last(table, users, n)
    else:
        if by == "user":
            part = _by_user(table, users, shares, seed)
        else:
            strata = table.label if by == "stratified" else np.zeros(len(table.label))
            part = _deal(strata, None, _three(shares), seed, "rows")
    return Assigned(by, [np.flatnonzero(part == i) for i in range(len(PARTS))], found)


def deal(
    label: NDArray[Any], users: Index | None, shares: Sequence[float], seed: int, name: str
) -> NDArray[Any]:
    """Deal rows to parts in these shares, no user to two of them; return each row's part.

    Users with and without a positive row are dealt apart (without users: the classes).
    """
    if users is None:
        return _deal(label, None, shares, seed, name)
    return _deal_users(label, users, shares, seed, name)


def halves(label: NDArray[np.float32], users: Index | None, seed: int) -> tuple[Index, Index]:
    """Return the rows of *tune* and *gate*: halves of the validation rows, see :func:`deal`."""
    part = deal(label, users, (0.5, 0.5), seed, "tune")
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


def _way(by: str, n: int) -> tuple[str, int]:
    """Check the way and ``n``; return ``"last-n"`` with the number in place."""
    last = re.fullmatch(r"last-([1-9]\d{0,8})", str(by))
    if last is None and by not in WAYS:
        options = ", ".join(map(repr, WAYS))
        raise ParameterError.of("by", "Dataset.split", f"one of {options}, or 'last-3'", by)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ParameterError.of("n", "Dataset.split", "an int ≥ 1", n)
    n = int(last[1]) if last is not None else n
    return (f"last-{n}" if by.startswith("last-") else by), n


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


def _by_last(table: Table, users: Index | None, n: int) -> tuple[NDArray[Any], tuple[Finding, ...]]:
    users = _owned(users)
    # A stable sort: rows of one time (or of none) keep their order.
    keys = (users,) if table.time is None else (table.time, users)
    order = np.lexsort(keys)
    rows = np.bincount(users)
    from_end = np.empty(len(users), np.int64)
    from_end[order] = np.cumsum(rows)[users[order]] - 1 - np.arange(len(users))
    part = np.where(from_end < n, 2, np.where(from_end < 2 * n, 1, 0))
    short = rows <= 2 * n
    if short.all():
        raise DataError(
            f"No user has {2 * n + 1} rows, as a split by last-{n} needs (one or more to train, {n} "
            f"to validate, {n} to test). Split by another way (by=…), or take a smaller n."
        )
    alone = short[users]
    if not alone.any():
        return part, ()
    count = int((short & (rows > 0)).sum())
    action = f"used for training alone: {count} users have fewer than {2 * n + 1} rows"
    found = Finding("few rows", str(table.schema.user), "info", int(alone.sum()), action)
    return np.where(alone, 0, part), (found,)


def _owned(users: Index | None) -> Index:
    if users is None:
        raise DataError(
            "There is no user column to split by. Name it with user=…, or split by another way."
        )
    return users


def _by_user(
    table: Table, users: Index | None, shares: tuple[float, float], seed: int
) -> NDArray[Any]:
    users = _owned(users)
    return _deal_users(table.label, users, _three(shares), seed, "users")


def _deal_users(
    label: NDArray[np.float32], users: Index, shares: Sequence[float], seed: int, name: str
) -> NDArray[Any]:
    owners, place = np.unique(users, return_inverse=True)
    positive = np.bincount(place, label, minlength=len(owners)) > 0
    rows = np.bincount(place, minlength=len(owners)).astype(float)
    return _deal(positive, rows, shares, seed, name)[place]


def _deal(
    strata: NDArray[Any],
    weight: NDArray[Any] | None,
    shares: Sequence[float],
    seed: int,
    name: str,
) -> NDArray[Any]:
    """Deal units to parts by weight (None = alike), each stratum in the same shares."""
    n = len(strata)
    part = np.empty(n, np.int8)
    # There may be as many units as rows: 32 bits where they suffice.
    drawn = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
    stream(seed, "split", name).shuffle(drawn)
    bounds = np.cumsum(shares)[:-1]
    for stratum in np.unique(strata):
        units = drawn[(strata == stratum)[drawn]]
        if weight is None:
            ends = [_first_at(bound, len(units)) for bound in bounds]
            for number, own in enumerate(np.split(units, ends)):
                part[own] = number
            continue
        middle = (np.cumsum(weight[units]) - weight[units] / 2) / weight[units].sum()
        part[units] = np.searchsorted(bounds, middle, side="right")
    return part


def _first_at(bound: float, count: int) -> int:
    """Return the first of ``count`` equal units whose middle lies at a share ``bound`` or beyond.

    >>> _first_at(0.5, 3), _first_at(0.5, 4)
    (1, 2)
    """
    place = min(max(int(np.ceil(bound * count - 0.5)), 0), count)
    while place and (place - 0.5) / count >= bound:  # the product may have been rounded
        place -= 1
    while place < count and (place + 0.5) / count < bound:
        place += 1
    return place


def _three(shares: tuple[float, float]) -> tuple[float, float, float]:
    valid, test = shares
    return 1 - valid - test, valid, test
