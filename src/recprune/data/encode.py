"""Encoding whole frames: as ``Encoder.encode``, row by row equal, in Polars instead of Python."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.bags import Components, Sequence
from recprune.data.disk_frame import DiskFrame, Frame, blocks
from recprune.encoding import Encoder, Rows
from recprune.errors import DataError
from recprune.lookups import UNKNOWN, Buckets, Knots, Lookup, Vocabulary
from recprune.scratch import forget

__all__ = ["encode_frame", "floats", "vectors"]

#: Rows located at once: their few arrays stay in the processor's cache.
BLOCK = 1 << 15


def encode_frame(encoder: Encoder, frame: Frame) -> Rows:
    """Encode a frame of plain columns; a column that is absent counts as missing.

    The rows of a frame on disk are on disk too.

    Raises:
        DataError: a numeric column holds text.

    >>> from recprune.schema import Field, Schema
    >>> schema = Schema((Field("c", "categorical"),), label="y")
    >>> encoder = Encoder(schema, {"c": Vocabulary(("red", "blue"))})
    >>> encode_frame(encoder, pl.DataFrame({"c": ["blue", None]})).codes.tolist()
    [[3], [1]]
    """
    n = len(frame)
    rows = encoder.blank(n, disk=isinstance(frame, DiskFrame))
    for i, name in enumerate(encoder.schema.names):
        part, codes = encoder.parts[name], rows.codes[:, encoder.slots[i]]
        shares = rows.shares[:, encoder.share_slots[i]]
        if name not in frame.columns:
            codes[:], shares[:] = part.encode(name, [None])
            continue
        for at, series in blocks(frame, name):
            _fill(part, series, codes[at], shares[at])
        forget(rows.codes)
        forget(rows.shares)
    return rows


def _fill(
    part: Lookup, series: pl.Series, codes: NDArray[np.int32], shares: NDArray[np.float32]
) -> None:
    """Write a column's codes and shares, each shape ``(n, …)``."""
    if isinstance(part, Vocabulary | Buckets):
        codes[:, 0] = _lookup(part, series)
    elif isinstance(part, Knots):
        _locate(part, floats(series), codes[:, 0], shares[:, 0])
    elif isinstance(part, Sequence):
        codes[:], shares[:] = _pack(part, series)
    elif isinstance(part, Components):
        codes[:], shares[:] = part.weigh(vectors(series))


def _lookup(part: Vocabulary | Buckets, series: pl.Series) -> NDArray[np.int32]:
    distinct = series.unique()
    codes = part.lookup(distinct.to_list())
    mapped = series.replace_strict(
        distinct, pl.Series(codes), default=UNKNOWN, return_dtype=pl.Int32
    )
    return mapped.to_numpy()


def _pack(part: Sequence, series: pl.Series) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    sizes = series.list.len().fill_null(0).to_numpy()
    owner = np.repeat(np.arange(len(series)), sizes)
    flat = series.explode(empty_as_null=False, keep_nulls=False)
    return part.pack(owner, _lookup(part.elements, flat), len(series))


def vectors(series: pl.Series) -> NDArray[np.float64]:
    """Return a dense field's column as an array, shape ``(n, width)``; missing values as NaN."""
    values = series.arr.to_list().list.explode(keep_nulls=False, empty_as_null=False)
    out = np.full((len(series), int(series.dtype.shape[0])), np.nan)  # type: ignore[attr-defined]
    out[series.is_not_null().to_numpy()] = values.to_numpy().reshape(-1, out.shape[1])
    return out


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
