"""Columns and filters of requests: checked value by value, up to the first that does not fit.

By hand, since pydantic collects every mistake of every member of a union: 720,000 of them in a body of
a megabyte, 1.1 GB and six seconds of a worker, which did not live to tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, PlainValidator, TypeAdapter, WithJsonSchema

__all__ = ["LARGEST", "Filter", "Name", "Record", "Whole"]

#: JSON knows no bounds; beyond 64 bits nothing here can be told apart.
LARGEST = 2**63
#: The most characters of a text and of a name; columns or elements; and values of a filter's column.
LONG_TEXT, LONG_NAME, MANY, MANY_FILTERED = 10_000, 1_000, 10_000, 1_000

Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST, strict=True)]
Number = Annotated[FiniteFloat, Field(strict=True)]
Text = Annotated[str, Field(max_length=LONG_TEXT)]
Name = Annotated[str, Field(max_length=LONG_NAME)]
Scalar = Text | bool | Whole | Number | None
#: A cell of a table; a sequence or a vector; a history, from values of an item column to numbers.
Value = (
    Scalar
    | Annotated[list[Scalar], Field(max_length=MANY)]
    | Annotated[dict[Text, Whole | Number | None], Field(max_length=MANY)]
)
Filtered = Scalar | Annotated[list[Scalar], Field(max_length=MANY_FILTERED)]


def _checked(whole: Any, check: Callable[[Any], Any]) -> dict[str, Any]:
    if type(whole) is not dict:
        raise ValueError("Input should be an object")
    if len(whole) > MANY:
        raise ValueError(f"Object should have at most {MANY:,} members")
    for name, value in whole.items():
        if len(name) > LONG_NAME:
            raise ValueError(f"Names should have at most {LONG_NAME:,} characters")
        try:
            whole[name] = check(value)
        except ValueError as error:
            raise ValueError(f"{name[:80]!r}: {error}") from None
    return whole


def _value(value: Any) -> Any:
    if type(value) is list:
        return _list(value, MANY)
    return _history(value) if type(value) is dict else _scalar(value)


def _filtered(value: Any) -> Any:
    return _list(value, MANY_FILTERED) if type(value) is list else _scalar(value)


def _list(values: list[Any], most: int) -> list[Any]:
    if len(values) > most:
        raise ValueError(f"List should have at most {most:,} elements")
    return [_scalar(each) for each in values]


def _history(values: dict[str, Any]) -> dict[str, Any]:
    if len(values) > MANY:
        raise ValueError(f"Object should have at most {MANY:,} members")
    if any(len(key) > LONG_TEXT or type(v) is bool or type(v) is str for key, v in values.items()):
        raise ValueError("A history should map texts to numbers")
    return {key: _scalar(each) for key, each in values.items()}


def _scalar(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        if len(value) > LONG_TEXT:
            raise ValueError(f"Texts should have at most {LONG_TEXT:,} characters")
        return value
    if value is None or kind is bool:
        return value
    if kind is int and not -LARGEST <= value <= LARGEST:
        value = _float(value)
    if kind is not int and kind is not float:
        raise ValueError("Input should be a text, a number, true, false or null")
    if not math.isfinite(value):
        raise ValueError("Numbers should be finite")
    return value


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _plain(check: Callable[[Any], Any], described: Any) -> tuple[Any, Any]:
    """Return how a type is checked, and the JSON Schema of the type that it stands for."""
    return (
        PlainValidator(lambda whole: _checked(whole, check)),
        WithJsonSchema(TypeAdapter(described).json_schema()),
    )


Record = Annotated[
    dict[str, Any],
    *_plain(_value, Annotated[dict[Name, Value], Field(max_length=MANY)]),
    Field(description="Column → raw value; null = it is not known."),
]
Filter = Annotated[dict[str, Any], *_plain(_filtered, dict[Name, Filtered])]
