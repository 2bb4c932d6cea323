"""Which items a filter on their columns lets through.

A filter names item columns and what their values may be, as plain data: it can come with a request.
Of a column of texts, one text or several; of a column of numbers, numbers or ranges ``"low..high"``,
either end left out or both there, both included. An item must do for every column, with any one of
the column's values. None stands for a missing value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.catalogue import Catalogue
from recprune.errors import DataError, ParameterError, nearest
from recprune.texts import text

__all__ = ["passing"]

Mask = NDArray[np.bool_]


def passing(catalogue: Catalogue, asked: Mapping[str, Any], strict: bool) -> Mask:
    """Return which items a filter lets through, shape ``(n_items,)``.

    Args:
        catalogue: the items.
        asked: column → a value, a range or a list of such.
        strict: whether a text that no item has is an error or just matches nothing.

    Raises:
        ParameterError: not a mapping, or a column that the catalogue cannot be filtered by.
        DataError: a value that is no number or range in a column of numbers; or see ``strict``.

    >>> items = Catalogue(
    ...     ("a", "b", "c"), {}, {},
    ...     texts={"kind": (np.array([0, 1, -1]), ("toy", "book"))},
    ...     numbers={"price": np.array([3.0, 8.0, 9.5])},
    ... )
    >>> passing(items, {"kind": ["toy", None], "price": "5.."}, strict=True).tolist()
    [False, False, True]
    """
    if not isinstance(asked, Mapping):
        raise ParameterError.of("filter", "recommend", "a mapping of item columns to values", asked)
    mask = np.ones(len(catalogue), bool)
    for column, wanted in asked.items():
        several = isinstance(wanted, list | tuple | set | frozenset | np.ndarray)
        values = list(wanted) if several else [wanted]
        if column in catalogue.numbers:
            mask &= _numbers(column, catalogue.numbers[column], values)
            continue
        if column in catalogue.keys:
            places, known = catalogue.keys[column], catalogue.key_values[column]
        elif column in catalogue.texts:
            places, known = catalogue.texts[column]
        else:
            others = sorted({*catalogue.numbers, *catalogue.keys, *catalogue.texts})
            hint = nearest(str(column), others) if others else " It has none."
            raise ParameterError(f"The catalogue has no column {column!r} to filter by.{hint}")
        mask &= _texts(column, known, values, strict)[places]
    return mask


def _texts(column: str, known: tuple[str, ...], values: Iterable[Any], strict: bool) -> Mask:
    """Return which of the known texts, and as the last one missing, are asked for."""
    places = {value: i for i, value in enumerate(known)}
    asked = np.zeros(len(known) + 1, bool)
    for value in values:
        name = text(value)
        if name is None:
            asked[-1] = True
        elif name in places:
            asked[places[name]] = True
        elif strict:
            raise DataError(
                f"The filter asks for {name!r}, which no item has as {column!r}."
                f"{nearest(name, known)}"
            )
    return asked


def _numbers(column: str, numbers: NDArray[np.float64], values: Iterable[Any]) -> Mask:
    mask = np.zeros(len(numbers), bool)
    for value in values:
        if text(value) is None:
            mask |= np.isnan(numbers)
            continue
        low, dots, high = str(value).partition("..")
        try:
            least = float(low) if low.strip() or not dots else -np.inf
            most = float(high) if high.strip() else (np.inf if dots else least)
        except ValueError as error:
            raise DataError(
                f"The filter on {column!r} must be numbers, or ranges such as '2..5', '2..' and "
                f"'..5'. Got {value!r} instead."
            ) from error
        mask |= (numbers >= least) & (numbers <= most)
    return mask
