"""Options that go together, written once: a verb takes a record of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

__all__ = ["expanded"]

EMPTY = inspect.Parameter.empty


def expanded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Return a verb that takes each field of its records in the record's place.

    A parameter annotated with a dataclass is a record; its fields' annotations are options, as
    those of plain parameters. The verb is called with the record made of what was typed.
    """
    records: dict[str, type] = {}
    parameters: dict[str, inspect.Parameter] = {}
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        kind = hints[name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters[name] = _option(name, kind, parameter.default)
            continue
        records[name] = kind
        own = get_type_hints(kind, include_extras=True)
        for field in _special_first(kind):
            default = EMPTY if field.default is MISSING else field.default
            parameters[field.name] = _option(field.name, own[field.name], default)

    def call(**typed: Any) -> Any:
        made = {
            name: kind(**{f.name: typed.pop(f.name) for f in _special_first(kind)})
            for name, kind in records.items()
        }
        return verb(**made, **typed)

    call.__name__, call.__doc__, call.__module__ = verb.__name__, verb.__doc__, verb.__module__
    call.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    call.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return call


def _special_first(record: Any) -> list[Field[Any]]:
    """Return a record's fields, its own before those of the records that it extends."""
    return [
        field
        for kind in record.__mro__
        for field in (fields(record) if is_dataclass(kind) else ())
        if field.name in inspect.get_annotations(kind)
    ]


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
