"""The text that raw values are known by, and texts as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError

__all__ = ["is_missing", "pack_joined", "pack_texts", "real", "text", "unpack_texts"]


def text(value: Any) -> str | None:
    """Return the canonical text of a raw categorical value; None for a missing one.

    Numbers read alike however the file stored them: whole or not, in 32 bits or 64, or as decimals;
    and so do dates and times, Python's and NumPy's.

    >>> text(3), text(3.0), text("3"), text(True), text(float("nan")), text(None)
    ('3', '3', '3', 'true', None, None)
    >>> text(np.datetime64("2024-01-31T12:00"))
    '2024-01-31 12:00:00'
    """
    if type(value) is str or type(value) is int:  # nearly all values: worth a short way
        return str(value)
    if is_missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float | np.floating):
        # NumPy's str has as many digits as the type's own bits need: 0.1 in 32 bits is 0.1 too.
        return str(int(value)) if float(value).is_integer() else repr(float(str(value)))
    if isinstance(value, np.datetime64):  # finer than Python's are cut to microseconds
        unit = np.datetime_data(value.dtype)[0]
        value = value.astype("datetime64[us]").item() if unit[0] in "npfa" else value.item()
    return str(value)


def is_missing(value: Any) -> bool:
    """Tell None, NaN, NaT and the missing values of pandas and of NumPy's masked arrays, neither of
    which this floor imports.
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, Decimal):  # a signalling NaN cannot be compared
        return value.is_nan()
    return isinstance(value, float | np.floating) and value != value


def real(value: Any) -> float:
    """Return a number, or a text of one, as a float; NaN where it is missing.

    Raises:
        TypeError: no number, or a complex one, of which NumPy would drop a part.
        ValueError: a text of none.
        OverflowError: a whole number beyond all floats.
    """
    if is_missing(value):
        return math.nan
    if isinstance(value, np.complexfloating):
        raise TypeError(f"{value} is a complex number")
    return float(value)


def pack_texts(values: Sequence[str | None]) -> dict[str, NDArray[Any]]:
    """Return texts as arrays: UTF-8 ``bytes``, ``lengths``, and the ``missing`` ones' positions.

    ``missing`` is there only when a value is None.

    >>> {k: v.tolist() for k, v in pack_texts(["a", None, "é"]).items()}
    {'bytes': [97, 195, 169], 'lengths': [1, 0, 2], 'missing': [1]}
    """
    raw = [b"" if v is None else v.encode("utf-8", "surrogatepass") for v in values]
    out = pack_joined(b"".join(raw), np.array([len(r) for r in raw], np.int64))
    missing = [i for i, v in enumerate(values) if v is None]
    if missing:
        out["missing"] = np.array(missing, np.uint32)
    return out


def pack_joined(joined: bytes, lengths: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return as :func:`pack_texts` does texts that stand one after the other, none missing.

    Args:
        joined: the texts in UTF-8.
        lengths: bytes of each, shape ``(n,)``.
    """
    small = len(lengths) == 0 or lengths.max() < 256
    return {
        "bytes": np.frombuffer(joined, np.uint8),
        "lengths": lengths.astype(np.uint8 if small else np.uint32),
    }


def unpack_texts(packed: Mapping[str, NDArray[Any]]) -> list[str | None]:
    """Return the texts of ``pack_texts``'s arrays; every length is checked before it is used.

    Raises:
        ArtifactError: the arrays disagree, or hold bytes that are no UTF-8.
    """
    try:
        lengths, blob = packed["lengths"], packed["bytes"]
    except KeyError as error:
        raise ArtifactError(f"texts without {error}") from error
    if lengths.ndim != 1 or lengths.dtype not in (np.uint8, np.uint32) or blob.dtype != np.uint8:
        raise ArtifactError("texts need lengths of uint8 or uint32, and bytes")
    ends = np.cumsum(lengths, dtype=np.int64)
    if (int(ends[-1]) if len(ends) else 0) != blob.size:
        raise ArtifactError("lengths and bytes disagree")
    data, starts = blob.tobytes(), ends - lengths
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    try:
        values: list[str | None] = [data[a:b].decode("utf-8", "surrogatepass") for a, b in pairs]
    except UnicodeDecodeError as error:
        raise ArtifactError(f"texts that are no UTF-8: {error}") from error
    missing = packed.get("missing", np.empty(0, np.int64))
    if missing.size and (int(missing.min()) < 0 or int(missing.max()) >= len(values)):
        raise ArtifactError("missing positions out of range")
    for position in missing.ravel().tolist():
        values[position] = None
    return values
