"""A request's raw columns, checked before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.encoding import Encoder, Rows
from recprune.errors import DataError

__all__ = ["encode_columns", "encode_record"]

Column = Sequence[Any] | NDArray[Any]


def encode_columns(encoder: Encoder, table: Any) -> Rows:
    """Encode a mapping of columns, or a data frame; columns the model does not know are ignored.

    Raises:
        DataError: no table, a column that is not one, columns of two lengths, or a number that is
            not one. The message names the field.
    """
    if not isinstance(table, Mapping) and not hasattr(table, "columns"):
        raise DataError(
            "A request must be a mapping of column names to values, or a data frame. "
            f"Got {type(table).__name__} instead."
        )
    given = table if isinstance(table, Mapping) else list(table.columns)
    columns = {name: _column(name, table[name]) for name in encoder.schema.names if name in given}
    if not columns and len(given):
        # Nothing that the model uses was sent: as many rows as sent, all of them missing.
        name = next(iter(given))
        nothing = [None] * len(_column(str(name), table[name]))
        columns = {encoder.schema.names[0]: nothing} if encoder.schema.names else {}
    return encoder.encode(columns)


def encode_record(encoder: Encoder, record: Mapping[str, Any]) -> Rows:
    """Encode one row: a value, not a column, a field.

    Raises:
        DataError: a numeric field's value is not a number; the message names the field.
    """
    return encoder.encode({n: [record[n]] for n in encoder.schema.names if n in record})


def _column(name: str, raw: Any) -> Column:
    if isinstance(raw, list | tuple):
        return raw
    if not isinstance(raw, np.ndarray) and hasattr(raw, "__array__") and hasattr(raw, "__len__"):
        raw = np.asarray(raw)
    if isinstance(raw, np.ndarray):
        if raw.ndim != 1:
            raise DataError(f"Column {name!r} must be one-dimensional. Got shape {raw.shape}.")
        return raw
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes | bytearray | memoryview):
        return raw
    raise DataError(
        f"Column {name!r} must be a list or array of values, one a row. "
        f"Got {type(raw).__name__} instead."
    )
