"""Encoding whole frames: as ``Encoder.encode``, row by row equal, in Polars instead of Python."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.encoding import UNKNOWN, Encoder, Knots, Rows, Vocabulary
from recprune.errors import DataError

__all__ = ["encode_frame", "floats"]

#: Rows located at once: their few arrays stay in the processor's cache.
BLOCK = 1 << 15


def encode_frame(encoder: Encoder, frame: pl.DataFrame) -> Rows:
    """Encode a frame of plain columns; a column that is absent counts as missing.

    Raises:
        DataError: a numeric column holds text.

    >>> from recprune.schema import Field, Schema
    >>> schema = Schema((Field("c", "categorical"),), label="y")
    >>> encoder = Encoder(schema, {"c": Vocabulary(("red", "blue"))})
    >>> encode_frame(encoder, pl.DataFrame({"c": ["blue", None]})).codes.tolist()
    [[3], [1]]
    """
    n = len(frame)
    codes = np.full((n, len(encoder.schema.fields)), UNKNOWN, np.int32)
    shares = np.zeros((n, len(encoder.numeric)), np.float32)
    for i, name in enumerate(encoder.schema.names):
        part = encoder.parts[name]
        series = frame[name] if name in frame.columns else None
        if isinstance(part, Vocabulary):
            codes[:, i] = _lookup(part, series, n)
        elif series is not None:
            _locate(part, floats(series), codes[:, i], shares[:, encoder.numeric.index(i)])
    return Rows(codes, shares)


def _lookup(part: Vocabulary, series: pl.Series | None, n: int) -> NDArray[np.int32]:
    if series is None:
        return part.lookup([None] * n)
    distinct = series.unique()
    codes = part.lookup(distinct.to_list())
    mapped = series.replace_strict(
        distinct, pl.Series(codes), default=UNKNOWN, return_dtype=pl.Int32
    )
    return mapped.to_numpy()


def floats(series: pl.Series) -> NDArray[np.float64]:
    """Return a numeric field's column, missing values as NaN.

    Raises:
        DataError: it holds text.
    """
    try:
        return series.cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Field {series.name!r} is numeric; a value is not a number: {str(error).splitlines()[0]}"
        ) from error


def _locate(
    part: Knots,
    values: NDArray[np.float64],
    codes: NDArray[np.int32],
    shares: NDArray[np.float32],
) -> None:
    for start in range(0, len(values), BLOCK):
        block = slice(start, start + BLOCK)
        codes[block], shares[block] = part.locate(values[block])
