"""One event read by itself: what an event means, and the reason why a payload is none.

:mod:`recprune.streaming.events` reads whole blocks at once and asks here about the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from recprune.texts import text

__all__ = ["DEEPEST", "LARGEST", "Fault", "Poison", "Unreadable", "cells", "parsed"]

Fault = Literal["size", "utf8", "json", "object", "depth", "type", "label", "id"]

#: Bytes of the largest payload.
LARGEST = 1_000_000
#: Brackets that may be open at once.
DEEPEST = 32
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}


@dataclass(frozen=True)
class Poison:
    """A payload that is no event.

    Args:
        index: its place among the payloads.
        fault: what is wrong, in one word.
        reason: in one sentence; it names columns, and no value.
    """

    index: int
    fault: Fault
    reason: str


class Unreadable(ValueError):
    """A payload cannot be read as an event.

    Args:
        fault: see :class:`Poison`.
        reason: see :class:`Poison`.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault, self.reason = fault, reason


def parsed(payload: bytes) -> dict[str, Any]:
    """Return a payload's JSON object. Of a key that is there twice, the first one counts.

    Raises:
        Unreadable: it is none.

    >>> parsed(b'{"user": "ann", "user": "eve"}')
    {'user': 'ann'}
    """
    if len(payload) > LARGEST:
        raise Unreadable("size", f"{len(payload):,} bytes, of at most {LARGEST:,}")
    try:
        line = payload.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("utf8", f"no UTF-8: {error.reason} at byte {error.start}") from error
    if not line.strip():
        raise Unreadable("json", "nothing in it")
    if line.startswith("\ufeff"):
        raise Unreadable("json", "no sound JSON: it starts with a byte order mark")
    if _depth(line) > DEEPEST:
        raise Unreadable("depth", f"more than {DEEPEST} lists and objects in one another")
    try:
        value = json.loads(
            line, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_first
        )
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Unreadable("json", f"no sound JSON: {why}{place}") from error
    if not isinstance(value, dict):
        raise Unreadable("object", f"no object but {_kind(value)}")
    return value


def cells(
    event: Mapping[str, Any],
    columns: Mapping[str, pl.DataType],
    loose: Collection[str] = (),
) -> dict[str, Any]:
    """Return an event's values by column; None where there is none.

    Args:
        event: as :func:`parsed`.
        columns: String, Float64, or lists of them.
        loose: columns of type String that may hold a list or an object: its JSON is the text.

    Raises:
        Unreadable: a value is of another kind than its column.

    >>> cells({"price": 3, "city": 7.0}, {"price": pl.Float64(), "city": pl.String()})
    {'price': 3.0, 'city': '7'}
    """
    return {
        name: _cell(name, event.get(name), kind, name in loose) for name, kind in columns.items()
    }


def _cell(name: str, value: Any, kind: pl.DataType, loose: bool) -> Any:
    if value is None:
        return None
    if loose and isinstance(value, list | dict):
        return json.dumps(value)
    inner = getattr(kind, "inner", None)
    if inner is None:
        return _scalar(name, value, kind)
    if not isinstance(value, list):
        raise Unreadable("type", f"{name!r} holds {_kind(value)} where a list belongs")
    return [None if each is None else _scalar(name, each, inner) for each in value]


def _scalar(name: str, value: Any, kind: Any) -> str | float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == pl.String:
        if isinstance(value, list | dict):
            raise Unreadable("type", f"{name!r} holds {_kind(value)} where text belongs")
        if isinstance(value, str) and not value.isascii() and _lone(value):
            raise Unreadable("utf8", f"{name!r} holds half a surrogate pair")
        return text(value)
    if not number:
        raise Unreadable("type", f"{name!r} holds {_kind(value)} where a number belongs")
    try:
        return float(value)
    except OverflowError as error:
        raise Unreadable("type", f"{name!r} holds a number beyond all floats") from error


def _depth(line: str) -> int:
    if line.count("{") + line.count("[") <= DEEPEST:
        return 0
    open_, deepest = 0, 0
    for bracket in re.findall(r"[\[\]{}]", STRING.sub("", line)):
        open_ += 1 if bracket in "[{" else -1
        deepest = max(deepest, open_)
    return deepest


def _lone(value: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in value)


def _kind(value: Any) -> str:
    return "null" if value is None else KINDS.get(type(value), "an object")


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("a number beyond all floats")
    return value


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON; a missing number is null")
