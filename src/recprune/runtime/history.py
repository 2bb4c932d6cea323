"""What a user is known to have done with the values of an item column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError

__all__ = ["History", "numbers"]

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class History:
    """A user's entries with the values of one item column.

    Args:
        keys: positions among the catalogue's values of the column, shape ``(n_entries,)``.
        fields: cross field → shape ``(n_entries + 1,)``: each entry's number, then the default.
    """

    keys: IntArray
    fields: Mapping[str, NDArray[np.floating[Any]]]

    def none(self) -> History:
        """Return the same without entries: the defaults alone."""
        return History(self.keys[:0], {name: numbers[-1:] for name, numbers in self.fields.items()})


def numbers(name: str, values: Sequence[Any]) -> NDArray[np.float64]:
    """Return a cross field's values as numbers; None = missing.

    Raises:
        DataError: a value that is no number.
    """
    try:
        return np.array([np.nan if v is None else float(v) for v in values], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Cross field {name!r}: a value is not a number: {error}.") from error
