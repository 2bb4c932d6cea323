"""How weights are stored: in 32, 16, 8 or 4 bits, and some rows of a table in more than others.

==========  ==================================================  =====================
encoding    stored for a matrix of n rows and k columns         bytes
==========  ==================================================  =====================
fp32        the values                                          4·n·k
fp16        the values                                          2·n·k
int8        int8 values; an fp32 scale a column                 n·k + 4·k
int8_row    each row: a byte of scale, int8 values              n·(1 + k)
int4_row    each row: a byte of scale, two values a byte        n·(1 + ⌈k / 2⌉)
==========  ==================================================  =====================

A vector is one row, and for ``int8`` one column. *Runs* give each run of rows an encoding of its
own; a table's first rows are its most used ones as a rule, so that they may have more bits (SHARK's
F-Quantization: Zhang et al. 2023).

*A row's scale* is a byte c: 0 = a row of zeros, else 2^((c − 192) / 8), rounded to fp32. It is the
smallest one by which no value exceeds 127.4 steps, or 7.4. Neighbours differ by 9 %, so that the
largest value takes at least 116.8 steps, or 6.8, and 117, or 7, once rounded: what was read has the
same scale again, and gives the same bytes.

*Four bits.* The first of two values is in the lower half of a byte. With an odd number of columns,
the first value has a byte of its own, and steps of a sixteenth: in a model with first-order weights
and an even number of dims, that is the first-order weight.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError, PlanError, nearest

__all__ = [
    "ENCODINGS",
    "PAIRS",
    "SCALES",
    "Encoding",
    "Runs",
    "Stored",
    "checked",
    "described",
    "packed",
    "pieces",
    "restored",
    "stored_bytes",
    "unpacked",
]

Encoding = Literal["fp32", "fp16", "int8", "int8_row", "int4_row"]
#: First row of each run, and the run's encoding; the first is row 0.
Runs = tuple[tuple[int, Encoding], ...]
Stored = Encoding | Runs
Array = NDArray[Any]

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
FP16_MAX = 65504.0
#: Its 127th part, rounded up to 16 bits, times 127 is still finite.
INT8_MAX = 3.4e38
#: Rows that are rounded at a time: what is between is held in the processor's cache.
BLOCK = 1 << 13
#: Byte → a row's scale.
SCALES: NDArray[np.float32] = np.exp2((np.arange(256) - 192) / 8).astype(np.float32)
SCALES[0] = 0
#: Byte → its two values of four bits.
PAIRS: NDArray[np.float32] = np.array(
    [[(half ^ 8) - 8 for half in (byte & 15, byte >> 4)] for byte in range(256)], np.float32
)
#: Name of a stored vector → type of its elements.
VECTORS = {np.dtype(t).name: np.dtype(t) for t in (np.float32, np.float16, np.int8, np.uint8)}


def checked(encoding: Any, tensor: str) -> Stored:
    """Return a tensor's encoding as plans hold it: a name, or runs as pairs of row and name.

    Raises:
        PlanError: it is neither.
    """
    known = f"one of {', '.join(ENCODINGS)}"
    if isinstance(encoding, str):
        if encoding not in ENCODINGS:
            raise PlanError(
                f"The encoding of tensor {tensor!r} must be {known}. Got {encoding!r} instead."
                f"{nearest(encoding, ENCODINGS)}"
            )
        return encoding
    try:
        runs = tuple((start, name) for start, name in encoding)
        starts = [start for start, _ in runs]
        sound = all(type(s) is int for s in starts) and starts == sorted(set(starts))
        if starts[0] or not sound or any(name not in ENCODINGS for _, name in runs):
            raise ValueError
    except (LookupError, TypeError, ValueError):
        raise PlanError(
            f"The encoding of tensor {tensor!r} must be {known}, or runs of rows: (0, encoding), "
            f"(first row, encoding), … with increasing rows. Got {encoding!r} instead."
        ) from None
    return runs


def described(encoding: Stored) -> str:
    """Return an encoding in words.

    >>> described(((0, "int8_row"), (40, "int4_row")))
    'int8_row to row 39, then int4_row'
    """
    if isinstance(encoding, str):
        return encoding
    ends = [f" to row {start - 1}" for start, _ in encoding[1:]] + [""]
    return ", then ".join(f"{name}{end}" for (_, name), end in zip(encoding, ends, strict=True))


def stored_bytes(shape: tuple[int, ...], encoding: Stored = "fp32") -> int:
    """Return the bytes of a tensor as stored, scales included.

    >>> [stored_bytes((100, 9), encoding) for encoding in ENCODINGS]
    [3600, 1800, 936, 1000, 600]
    """
    return sum(
        VECTORS[kind].itemsize * math.prod(size) for kind, size in _pieces_of(shape, encoding)
    )


def pieces(array: Array, encoding: Stored, tensor: str) -> list[Array]:
    """Return the arrays that are stored for a tensor.

    Args:
        array: the values, fp32.
        encoding: how; runs count in this array's own rows.
        tensor: its name.

    Raises:
        PlanError: a weight is too large for the encoding, or, but in fp32, no number.
    """
    if isinstance(encoding, tuple):
        blocks = [(slice(*ends), each) for ends, each in _blocks(len(array), encoding)]
        return [p for rows, each in blocks for p in pieces(array[rows], each, tensor)]
    if not array.size:
        return []
    if encoding == "fp32":
        return [np.ascontiguousarray(array, np.float32)]
    if encoding == "fp16":
        _check_peak(np.abs(array).max(), FP16_MAX, encoding, tensor)
        return [array.astype(np.float16)]
    if encoding == "int8":
        peak = np.abs(array).max(axis=0).astype(np.float32)
        _check_peak(peak, INT8_MAX, encoding, tensor)
        scale = _column_scales(array.reshape(len(array), -1), peak.ravel()).reshape(peak.shape)
        safe = np.where(scale > 0, scale, np.float32(1))
        return [np.clip(np.rint(array / safe), -127, 127).astype(np.int8), scale]
    rows = _as_rows(np.asarray(array, np.float32))
    out = np.empty(_pieces_of(array.shape, encoding)[0][1], np.uint8)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        out[block] = _packed_rows(rows[block], encoding, tensor)
    return [out]


def restored(stored: Sequence[Array], shape: tuple[int, ...], encoding: Stored) -> Array:
    """Return the values of a tensor, fp32, from what is stored for it.

    Args:
        stored: as :func:`pieces` gave them.
        shape: of the tensor.
        encoding: how it is stored; runs count in its own rows.
    """
    if isinstance(encoding, tuple):
        out, left = np.empty(shape, np.float32), iter(stored)
        for (start, end), each in _blocks(shape[0], encoding):
            part = (end - start, *shape[1:])
            own = list(islice(left, len(_pieces_of(part, each))))
            out[start:end] = restored(own, part, each)
        return out
    if not math.prod(shape):
        return np.empty(shape, np.float32)
    if encoding in ("fp32", "fp16"):
        return stored[0].astype(np.float32)
    if encoding == "int8":
        return stored[0].astype(np.float32) * stored[1]
    out = np.empty(shape, np.float32)
    rows = _as_rows(out)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        _unpack_rows(stored[0][block], encoding, rows[block])
    return out


def packed(arrays: Iterable[Array]) -> dict[str, Array]:
    """Return arrays end to end, in one vector a type of element: a tensor costs a file 80 bytes.

    >>> {name: len(v) for name, v in packed([np.zeros((2, 3)), np.zeros(4)]).items()}
    {'float64': 10}
    """
    kinds: dict[str, list[Array]] = {}
    for array in arrays:
        kinds.setdefault(array.dtype.name, []).append(array.ravel())
    return {name: np.concatenate(some) for name, some in sorted(kinds.items())}


def unpacked(
    vectors: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    encodings: Mapping[str, Stored],
) -> dict[str, Array]:
    """Return all tensors from the vectors that :func:`packed` made of their pieces, sorted by name.

    Args:
        vectors: type → elements.
        shapes: tensor → shape.
        encodings: tensor → how it is stored, in its own rows; fp32 if it is not named.

    Raises:
        ArtifactError: the vectors have other lengths or types than the tensors need.
    """
    needs = {name: _pieces_of(shapes[name], encodings.get(name, "fp32")) for name in sorted(shapes)}
    total: Counter[str] = Counter()
    for need in needs.values():
        for kind, size in need:
            total[kind] += math.prod(size)
    got = {kind: (v.dtype, v.shape) for kind, v in vectors.items()}
    if got != {kind: (VECTORS[kind], (length,)) for kind, length in total.items()}:
        raise ArtifactError("model.safetensors has other weights than config.json describes.")
    state, at = {}, Counter[str]()
    for name, need in needs.items():
        stored = []
        for kind, size in need:
            end = at[kind] + math.prod(size)
            stored.append(vectors[kind][at[kind] : end].reshape(size))
            at[kind] = end
        state[name] = restored(stored, shapes[name], encodings.get(name, "fp32"))
    return state


def _pieces_of(shape: tuple[int, ...], encoding: Stored) -> list[tuple[str, tuple[int, ...]]]:
    """Return the vector and the shape of each piece of a tensor."""
    if min(shape, default=1) < 0:
        raise ArtifactError(f"There is no tensor of shape {shape}.")
    if isinstance(encoding, tuple):
        parts = [((end - start, *shape[1:]), e) for (start, end), e in _blocks(shape[0], encoding)]
        return [piece for part, each in parts for piece in _pieces_of(part, each)]
    if 0 in shape:
        return []
    n = shape[0] if len(shape) > 1 else 1
    k = math.prod(shape) // n
    match encoding:
        case "fp32":
            return [("float32", shape)]
        case "fp16":
            return [("float16", shape)]
        case "int8":
            return [("int8", shape), ("float32", shape[1:])]
        case "int8_row":
            return [("uint8", (n, 1 + k))]
        case "int4_row":
            return [("uint8", (n, 1 + (k + 1) // 2))]
    raise PlanError(f"Encoding must be one of {', '.join(ENCODINGS)}. Got {encoding!r}.")


def _blocks(rows: int, runs: Runs) -> list[tuple[tuple[int, int], Encoding]]:
    """Return first and last row, exclusive, of each run that there is, and its encoding."""
    ends = [start for start, _ in runs[1:]] + [rows]
    return [((s, min(e, rows)), name) for (s, name), e in zip(runs, ends, strict=True) if s < rows]


def _as_rows(array: Array) -> Array:
    """Return a view of two dims; a vector is one row."""
    return array.reshape(len(array) if array.ndim > 1 else 1, -1)


def _packed_rows(rows: Array, encoding: Encoding, tensor: str) -> Array:
    """Return each row's scale and values in bytes, shape (n, bytes)."""
    n, k = rows.shape
    wide = encoding == "int8_row"
    bounds = np.float32(127.4 if wide else 7.4) * SCALES[1:]
    peak = np.abs(rows).max(axis=1)
    _check_peak(peak, float(bounds[-1]), encoding, tensor)
    code = 1 + np.searchsorted(bounds, peak)
    steps = rows / SCALES[code][:, None]
    odd = 0 if wide else k % 2
    steps[:, :odd] *= 16
    whole = np.rint(steps).astype(np.int8)
    out = np.empty((n, 1 + (k if wide else (k + 1) // 2)), np.uint8)
    out[:, 0] = np.where(whole.any(axis=1), code, 0)
    if wide:
        out[:, 1:] = whole.view(np.uint8)
        return out
    bits = whole.view(np.uint8)
    out[:, 1 : 1 + odd] = bits[:, :odd]
    out[:, 1 + odd :] = (bits[:, odd::2] & 15) | (bits[:, odd + 1 :: 2] << 4)
    return out


def _unpack_rows(stored: Array, encoding: Encoding, out: Array) -> None:
    """Write the values of packed rows into ``out``, shape (n, k)."""
    scale, k = SCALES[stored[:, 0]][:, None], out.shape[1]
    if encoding == "int8_row":
        np.multiply(stored[:, 1:].view(np.int8), scale, out=out)
        return
    odd = k % 2
    np.multiply(stored[:, 1 : 1 + odd].view(np.int8), scale / 16, out=out[:, :odd])
    values = PAIRS[stored[:, 1 + odd :]].reshape(len(out), k - odd)
    np.multiply(values, scale, out=out[:, odd:])


def _column_scales(columns: Array, peak: Array) -> Array:
    """Return the scale of each column, whose largest magnitude is ``peak``.

    It is the peak's 127th part. Where all values are multiples of a larger part of it, it is that:
    of columns that were read, and lost the row with the largest value, nothing changes.

    Args:
        columns: shape (n, k).
        peak: shape (k,).
    """
    parts = _round_scale(peak / np.arange(127, 0, -1, dtype=np.float32)[:, None])
    # A few rows tell columns that never were multiples of anything.
    few = columns[:: 1 + len(columns) // 4]
    fits = np.asarray(_multiples(few, parts[:, None]).all(axis=1))
    for part in np.flatnonzero(fits.any(axis=1)):
        at = np.flatnonzero(fits[part])
        fits[part, at] = _multiples(columns[:, at], parts[part, at]).all(axis=0)
    best = np.where(fits.any(axis=0), fits.argmax(axis=0), 0)
    return np.asarray(parts[best, np.arange(len(peak))], np.float32)


def _multiples(values: Array, scale: Array) -> NDArray[np.bool_]:
    """Tell which values are whole multiples of a scale, to the bit."""
    exact: NDArray[np.bool_] = np.rint(values / np.where(scale > 0, scale, 1)) * scale == values
    return exact


def _round_scale(scale: Array) -> Array:
    """Return the scales with 16 significant bits.

    Then every one of the 255 products is exact in fp32, and rounding what was rounded already
    changes nothing.
    """
    mantissa, exponent = np.frexp(scale)
    return np.asarray(np.ldexp(np.rint(mantissa * 2.0**16) / 2.0**16, exponent), np.float32)


def _check_peak(peak: Array, most: float, encoding: Encoding, tensor: str) -> None:
    """Refuse magnitudes beyond what an encoding holds, and NaN."""
    worst = float(np.max(peak))  # NaN if one is
    if not worst <= most:
        other = "fp32" if encoding == "int8" or not np.isfinite(worst) else "fp32 or int8"
        raise PlanError(
            f"Tensor {tensor!r} has a weight of {worst:g}; {encoding} holds at most {most:g}. "
            f"Store it as {other}."
        )
