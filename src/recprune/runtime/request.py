"""A request's raw columns, checked before anything is encoded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.encoding import Encoder, Rows
from recprune.errors import DataError
from recprune.lookups import FIRST, UNKNOWN, Knots, Vocabulary
from recprune.texts import real, text

__all__ = ["RequestEncoder"]

Column = Sequence[Any] | NDArray[Any]


class RequestEncoder:
    """An encoder that checks what it is sent, and is quick at one row.

    Args:
        encoder: the model's encoder, or the part of it for one side.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.names = encoder, encoder.schema.names
        self._plain = not encoder.bags and not any(f.of for f in encoder.schema.fields)
        self._codes: list[dict[str | None, int] | None] = []
        self._points: list[list[float]] = []
        for name in self.names:
            part = encoder.parts[name]
            self._plain = self._plain and isinstance(part, Knots | Vocabulary)
            self._codes.append(part.codes if isinstance(part, Vocabulary) else None)
            self._points.append(part.points.tolist() if isinstance(part, Knots) else [])
        self._lists = {self.names[i] for i in encoder.bags}
        dates = {f.of for f in encoder.schema.fields if f.of is not None}
        time = {encoder.schema.time} if dates and encoder.schema.time else set()
        #: The columns that are read.
        self.columns = (*self.names, *sorted((dates | time) - set(self.names)))

    def table(self, table: Any) -> Rows:
        """Encode a mapping of columns, or a data frame; unknown columns are ignored.

        Raises:
            DataError: no table, a column that is not one, columns of two lengths, or a number
                that is not one. The message names the field.
        """
        if not isinstance(table, Mapping) and not hasattr(table, "columns"):
            raise DataError(
                "A request must be a mapping of column names to values, or a data frame. "
                f"Got {type(table).__name__} instead."
            )
        given = table if isinstance(table, Mapping) else list(table.columns)
        columns = {name: self._column(name, table[name]) for name in self.columns if name in given}
        if not columns and len(given):
            # Nothing that the model uses was sent: as many rows as sent, all of them missing.
            name = next(iter(given))
            nothing = [None] * len(_column(str(name), table[name], 2))
            columns = {self.names[0]: nothing} if self.names else {}
        if all(len(column) == 1 for column in columns.values()):
            return self.record({name: column[0] for name, column in columns.items()})
        return self.encoder.encode(columns)

    def record(self, record: Mapping[str, Any]) -> Rows:
        """Encode one row: a value, not a column, a field.

        Raises:
            DataError: a numeric field's value is not a number; the message names the field.
        """
        if not self._plain:
            return self._encode(record)
        codes, shares = [], []
        try:
            for name, known, points in zip(self.names, self._codes, self._points, strict=True):
                raw = record.get(name)
                if known is not None:
                    codes.append(known.get(text(raw), UNKNOWN))
                    continue
                # A float is the common case, and a call is worth a tenth of a request.
                x = raw if type(raw) is float else nan if raw == "" else real(raw)
                if x != x:
                    codes.append(UNKNOWN)
                    shares.append(0.0)
                    continue
                x = min(max(x, points[0]), points[-1])
                low = min(bisect_right(points, x) - 1, len(points) - 2)
                codes.append(low + FIRST)
                shares.append((x - points[low]) / (points[low + 1] - points[low]))
        except (TypeError, ValueError, OverflowError):
            return self._encode(record)  # the encoder proper words the error
        return Rows(np.array([codes], np.int32), np.array([shares], np.float32))

    def _column(self, name: str, raw: Any) -> Column:
        return _column(name, raw, 2 if name in self._lists else 1)

    def _encode(self, record: Mapping[str, Any]) -> Rows:
        return self.encoder.encode({n: [record[n]] for n in self.columns if n in record})


def _column(name: str, raw: Any, dimensions: int) -> Column:
    if isinstance(raw, list | tuple):
        return raw
    if not isinstance(raw, np.ndarray) and hasattr(raw, "__array__") and hasattr(raw, "__len__"):
        raw = np.asarray(raw)
    if isinstance(raw, np.ndarray):
        if not 1 <= raw.ndim <= dimensions:
            raise DataError(f"Column {name!r} must be one-dimensional. Got shape {raw.shape}.")
        return raw
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes | bytearray | memoryview):
        return raw
    raise DataError(
        f"Column {name!r} must be a list or array of values, one a row. "
        f"Got {type(raw).__name__} instead."
    )
