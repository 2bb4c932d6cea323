"""What an artefact holds beside weights, in few bytes: kept units, texts, and all of it deflated.

A pruned model of ten KB had five of lists: of the values its rows stand for, and of the rows it had
before. Weights are not deflated: they hardly shrink, and a file can be checked against its plan.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from recprune.errors import ArtifactError

__all__ = [
    "condensed",
    "deflated",
    "expanded",
    "from_planes",
    "inflated",
    "packed_units",
    "planes",
    "skipped",
    "units_after",
    "unpacked_units",
]

#: Of a vocabulary of a million values, level 9 gains 0.3 % and takes ten times as long.
LEVEL = 6
#: What a file may unfold to: so many bytes, and so many times its own and the weights'. Zeros shrink
#: a thousandfold, but every row has weights.
UNFOLDED, TIMES = 1 << 23, 20
#: Neither byte comes in UTF-8, lone surrogates included.
END, MISSING = b"\xff", b"\xfe"
#: Whole numbers with more digits are texts.
DIGITS = 18

Array = NDArray[Any]
IntArray = NDArray[np.int32]
Planes = NDArray[np.uint8]


def deflated(tensors: Mapping[str, Array], beside: int = 0) -> bytes:
    """Return tensors as a safetensors file, deflated (zlib, RFC 1950); equal tensors, equal bytes.

    Args:
        tensors: name → array.
        beside: bytes of weights that are stored with them, or fewer. What shrinks more than
            :func:`inflated` then believes has its bytes deflated one by one, to an eighth at best.
    """
    raw = format_tensors(dict(tensors))
    data = zlib.compress(raw, LEVEL)
    if len(raw) <= _most(data, beside):
        return data
    single = zlib.compressobj(LEVEL, strategy=zlib.Z_HUFFMAN_ONLY)
    return single.compress(raw) + single.flush()


def inflated(data: bytes, beside: int) -> dict[str, Array]:
    """Return the tensors of :func:`deflated`'s bytes.

    Args:
        data: the bytes. They may unfold to 8 MB and 20 times themselves and the weights; what is
            beyond is not unfolded.
        beside: bytes of the weights that are stored with them.

    Raises:
        ArtifactError: more than that, cut short, or something else.
        SafetensorError: what they unfold to is no safetensors file.
    """
    stream, most = zlib.decompressobj(), _most(data, beside)
    try:
        raw = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise ArtifactError(f"it cannot be inflated: {error}") from error
    if len(raw) > most:
        raise ArtifactError(f"it unfolds to more than {most:,} bytes")
    if not stream.eof or stream.unused_data:
        raise ArtifactError("it is cut short, or something follows it")
    return parse_tensors(raw)


def _most(data: bytes, beside: int) -> int:
    return UNFOLDED + TIMES * (len(data) + beside)


def planes(numbers: NDArray[np.integer[Any]]) -> Planes:
    """Return whole numbers ≥ 0 as bytes, shape (1, 2, 4 or 8, n): the lowest of all numbers first.

    Bytes of one rank deflate better side by side than numbers do.

    >>> planes(np.array([7, 258])).tolist()
    [[7, 2], [0, 1]]
    """
    small = numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
    little = small.astype(small.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, small.itemsize).T.copy()


def from_planes(stored: Array) -> NDArray[np.unsignedinteger[Any]]:
    """Return the numbers of :func:`planes`'s bytes.

    Raises:
        ArtifactError: other arrays.
    """
    if stored.ndim != 2 or stored.dtype != np.uint8 or len(stored) not in (1, 2, 4, 8):
        raise ArtifactError("numbers are stored in 1, 2, 4 or 8 rows of bytes")
    return np.ascontiguousarray(stored.T).view(f"<u{len(stored)}").ravel()


def skipped(units: NDArray[np.integer[Any]]) -> Planes:
    """Return how many units are left out before each: of kept ones, mostly small numbers.

    >>> skipped(np.array([0, 1, 4], np.int32)).tolist()
    [[0, 0, 2]]
    """
    return planes(_gaps(units))


def units_after(stored: Array) -> IntArray:
    """Return the increasing units whose :func:`skipped` these are.

    Raises:
        ArtifactError: no numbers in planes, or units beyond int32.
    """
    return _after(from_planes(stored))


def packed_units(keep: Mapping[str, IntArray], axes: Sequence[str]) -> dict[str, Array]:
    """Return the kept units of some axes: ``axes``, their places, and ``skipped``, side by side.

    Args:
        keep: axis → kept units, increasing.
        axes: names of all axes. How many units each has must be known to the reader.

    >>> packed_units({"b": np.array([1, 2]), "c": np.array([5])}, ["a", "b", "c"])["skipped"]
    array([[1, 0, 5]], dtype=uint8)
    """
    places = [place for place, name in enumerate(axes) if name in keep]
    if not places:
        return {}
    gaps = np.concatenate([_gaps(keep[axes[place]]) for place in places])
    return {"axes": planes(np.array(places)), "skipped": planes(gaps)}


def unpacked_units(
    tensors: Mapping[str, Array], sizes: Sequence[tuple[str, int]]
) -> dict[str, IntArray]:
    """Return axis → kept units from :func:`packed_units`'s arrays.

    Args:
        tensors: the arrays.
        sizes: name of each axis and how many units it has, in order.

    Raises:
        ArtifactError: other units than the axes have.
    """
    if not tensors:
        return {}
    places = from_planes(tensors["axes"]).tolist()
    named = [sizes[place] for place in places]
    ends = np.cumsum([size for _, size in named])
    gaps = from_planes(tensors["skipped"])
    if sorted(set(places)) != places or min(s for _, s in named) < 0 or ends[-1] != len(gaps):
        raise ArtifactError("it names other axes, or other numbers of units, than config.json")
    parts = np.split(gaps, ends[:-1])
    return {name: _after(part) for (name, _), part in zip(named, parts, strict=True)}


def _gaps(units: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    before = np.concatenate([[-1], units[:-1]]) if len(units) else units
    return units.astype(np.int64) - before - 1


def _after(gaps: NDArray[np.unsignedinteger[Any]]) -> IntArray:
    most = np.iinfo(np.int32).max
    if int(gaps.max(initial=0)) <= most:  # then no sum of them wraps round
        units = np.cumsum(gaps, dtype=np.int64) + np.arange(len(gaps))
        if not len(units) or units[-1] <= most:
            return units.astype(np.int32)
    raise ArtifactError("units are numbered beyond all axes")


def condensed(values: Sequence[str | None]) -> dict[str, Array]:
    """Return texts, all different, as arrays that deflate well.

    - ``texts``: UTF-8, each text followed by the byte 255; a missing one is the byte 254.
    - ``numbers``, where more than half are whole numbers: :func:`planes` of each number plus one,
      and of 0 for a value that is none. ``texts`` then has those only, and is left out without any.

    >>> {name: array.tolist() for name, array in condensed(["7", "é", None, "8", "300"]).items()}
    {'numbers': [[8, 0, 0, 9, 45], [0, 0, 0, 0, 1]], 'texts': [195, 169, 255, 254, 255]}
    """
    numbers = [int(v) + 1 if _is_number(v) else 0 for v in values]
    out: dict[str, Array] = {}
    if 2 * np.count_nonzero(numbers) > len(values):
        out["numbers"] = planes(np.array(numbers, np.int64))
        values = [v for v, number in zip(values, numbers, strict=True) if not number]
        if not values:
            return out
    raw = b"".join(_bytes(value) + END for value in values)
    return {**out, "texts": np.frombuffer(raw, np.uint8)}


def expanded(tensors: Mapping[str, Array]) -> list[str | None]:
    """Return the texts of :func:`condensed`'s arrays.

    Raises:
        ArtifactError: the arrays disagree, or hold bytes that are no UTF-8.
    """
    raw = tensors.get("texts", np.empty(0, np.uint8))
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise ArtifactError("texts are stored in a vector of bytes")
    try:
        texts = _texts(raw.tobytes())
    except UnicodeDecodeError as error:
        raise ArtifactError(f"texts that are no UTF-8: {error}") from error
    if "numbers" not in tensors:
        return texts
    numbers = from_planes(tensors["numbers"])
    # Millions of equal bytes shrink to nothing, and would unfold to millions of texts.
    if np.count_nonzero(numbers) >= 256**numbers.itemsize:
        raise ArtifactError("it holds a number twice")
    if np.count_nonzero(numbers == 0) != len(texts):
        raise ArtifactError("numbers and texts disagree")
    others = iter(texts)
    return [str(n - 1) if n else next(others) for n in numbers.tolist()]


def _texts(data: bytes) -> list[str | None]:
    if data and not data.endswith(END):
        raise ArtifactError("its last text has no end")
    if MISSING in data or b"\n" in data:
        words = data.split(END)[:-1]
        return [None if w == MISSING else w.decode("utf-8", "surrogatepass") for w in words]
    # In one piece it takes half the time.
    *texts, _ = data.replace(END, b"\n").decode("utf-8", "surrogatepass").split("\n")
    return list(texts)


def _is_number(value: str | None) -> TypeGuard[str]:
    """Tell whether a text is what a whole number reads as."""
    return (
        value is not None
        and value.isascii()
        and value.isdecimal()
        and (value[0] != "0" or len(value) == 1)
        and len(value) <= DIGITS
    )


def _bytes(value: str | None) -> bytes:
    return MISSING if value is None else value.encode("utf-8", "surrogatepass")
