"""The options of a method, checked by the names and the types that its signature states."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from recprune.errors import ParameterError, nearest

__all__ = ["check_options"]

#: What an annotation asks for: in words, and as a class. Bools are no numbers.
KINDS: dict[Any, tuple[str, type]] = {
    int: ("an int", Integral),
    float: ("a float", Real),
    bool: ("True or False", bool),
    str: ("a string", str),
    tuple: ("a tuple", tuple | list),  # type: ignore[dict-item]
    type(None): ("None", type(None)),
}


def check_options(name: str, score: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a method does not have, or of a type that it does not take.

    Args:
        name: of the method.
        score: its function, whose keyword-only parameters are the options.
        options: that are given.

    Raises:
        ParameterError: names the method's options, or what one may be.

    >>> def method(*, repeats: int = 5): ...
    >>> check_options("method", method, {"repeat": 3})
    Traceback (most recent call last):
    recprune.errors.ParameterError: Method 'method' has no option 'repeat'. Did you mean 'repeats'?
    """
    if not options:
        return
    hints = typing.get_type_hints(score)
    known = [
        p.name
        for p in inspect.signature(score).parameters.values()
        if p.kind == p.KEYWORD_ONLY and p.name != "executor"  # where it runs, no option
    ]
    for option, value in options.items():
        if option not in known:
            own = nearest(option, known) if known else " It has none."
            raise ParameterError(f"Method {name!r} has no option {option!r}.{own}")
        hint = hints[option]
        union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        kinds = [
            KINDS[typing.get_origin(h) or h] for h in (typing.get_args(hint) if union else (hint,))
        ]
        if not any(_is(value, kind) for _, kind in kinds):
            wanted = " or ".join(words for words, _ in kinds)
            raise ParameterError.of(option, name, wanted, value)


def _is(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
