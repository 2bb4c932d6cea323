"""The slow, plain reading of events that the fast one is held against: one json.loads a payload."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from recprune.texts import text

SCALARS = {"city": pl.String, "price": pl.Float64}
COLUMNS = {
    **{n: k() for n, k in SCALARS.items()},
    "seen": pl.List(pl.String()),
    "vec": pl.List(pl.Float64()),
}


class Refused(ValueError):
    """The payload is no event; its argument is the fault."""


@dataclass
class Plain:
    """One event as the plain reader has it."""

    row: dict[str, Any]
    label: float
    id: str


def plain_event(payload: bytes, columns: dict[str, Any] = COLUMNS) -> Plain:
    """Read a payload with keys ``clicked`` and ``event`` beside the columns."""
    if len(payload) > 1_000_000:
        raise Refused("size")
    try:
        line = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("utf8") from None
    if deepest(line) > 32:
        raise Refused("depth")

    def number(word: str) -> float:
        if math.isinf(float(word)):
            raise Refused("json")
        return float(word)

    def constant(word: str) -> None:
        raise Refused("json")

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in pairs:
            out.setdefault(key, value)
        return out

    try:
        event = json.loads(
            line, parse_constant=constant, parse_float=number, object_pairs_hook=first
        )
    except Refused:
        raise
    except ValueError:
        raise Refused("json") from None
    if not isinstance(event, dict):
        raise Refused("object")
    row = {name: value_of(event.get(name), kind) for name, kind in columns.items()}
    label, id_ = (value_of(event.get(key), pl.String()) for key in ("clicked", "event"))
    if id_ is None:
        raise Refused("id")
    if label not in ("0", "1", "true", "false"):
        raise Refused("label")
    return Plain(row, float(label in ("1", "true")), id_)


def value_of(value: Any, kind: pl.DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, pl.List):
        if not isinstance(value, list):
            raise Refused("type")
        inner = kind.inner() if isinstance(kind.inner, type) else kind.inner
        return [None if v is None else one(v, inner) for v in value]
    return one(value, kind) if value != "" or kind != pl.String else None


def one(value: Any, kind: Any) -> Any:
    if isinstance(value, list | dict):
        raise Refused("type")
    if kind == pl.String:
        out = text(value)
        try:
            (out or "").encode()
        except UnicodeEncodeError:
            raise Refused("utf8") from None
        return out
    if isinstance(value, bool | str):
        raise Refused("type")
    try:
        return float(value)
    except OverflowError:
        raise Refused("type") from None


def deepest(line: str) -> int:
    """Return how many brackets are open at once, outside of texts."""
    depth = most = 0
    quoted = escaped = False
    for letter in line:
        if quoted:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                quoted = False
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            most = max(most, depth)
        elif letter in "]}":
            depth -= 1
    return most
