"""Parts of dates: hour, weekday, month, and age in days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError
from recprune.texts import is_missing, real

__all__ = ["DATE_PARTS", "DAY", "DatePart", "date_part"]

DatePart = Literal["hour", "weekday", "month", "age"]
DATE_PARTS: tuple[DatePart, ...] = ("hour", "weekday", "month", "age")

Raw = Sequence[Any] | NDArray[Any]
#: Microseconds a day.
DAY = 86_400_000_000


def date_part(part: DatePart, raw: Raw, now: Raw | None = None, name: str = "") -> list[Any]:
    """Return a part of each date; None where it is missing.

    Args:
        part: ``"hour"`` (0–23), ``"weekday"`` (0 = Monday), ``"month"`` (1–12), or ``"age"``: days
            from the date to ``now``, or, without it, from 1970-01-01 to the date.
        raw: dates or times, ISO 8601 texts, or seconds since 1970. With a zone, as UTC.
        now: when each row happened, as ``raw``.
        name: of the column, for errors.

    Raises:
        DataError: a value is no date; or ``raw`` and ``now`` differ in length.

    >>> date_part("weekday", ["2024-12-31", None]), date_part("hour", [datetime(2024, 1, 1, 13)])
    ([1, None], [13])
    >>> date_part("age", ["2024-12-30"], now=["2024-12-31T12:00:00"])
    [1.5]
    """
    micros = [_micros(value, name) for value in raw]
    if part == "age":
        if now is None:
            return [None if m is None else m / DAY for m in micros]
        if len(now) != len(raw):
            raise DataError(
                f"Column {name!r} has {len(raw)} dates for {len(now)} times of their rows."
            )
        ends = [_micros(value, name) for value in now]
        pairs = zip(micros, ends, strict=True)
        return [None if m is None or e is None else (e - m) / DAY for m, e in pairs]
    read = {"hour": _hour, "weekday": _weekday, "month": _month}[part]
    return [None if m is None else read(m) for m in micros]


def _micros(value: Any, name: str) -> int | None:
    """Return a moment in microseconds since 1970."""
    if is_missing(value) or (isinstance(value, str) and not value):
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return int(np.datetime64(value, "us").astype(np.int64))
        if isinstance(value, date):
            return int(np.datetime64(value, "us").astype(np.int64))
        if isinstance(value, np.datetime64):
            return int(value.astype("datetime64[us]").astype(np.int64))
        return int(np.int64(int(real(value) * 1e6)))  # which refuses what 64 bits do not hold
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Column {name!r} holds dates; {value!r} is none ({error}).") from error


def _hour(micros: int) -> int:
    return micros % DAY // 3_600_000_000


def _weekday(micros: int) -> int:
    return (micros // DAY + 3) % 7  # 1970-01-01 was a Thursday


def _month(micros: int) -> int:
    return int(np.datetime64(micros, "us").astype("datetime64[M]").astype(np.int64)) % 12 + 1
