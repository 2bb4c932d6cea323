"""Raw value ↔ row of a field's embedding table: vocabularies, knots, and both for all fields.

Every field owns a block of rows. Row 0 is padding, row 1 is the *unknown* row (unseen and pruned
values, and missing ones that training never saw). A categorical value then has one row of its own.
A numeric value lies between two *knots* (training quantiles), each with a row: its embedding is
the linear interpolation of the two rows, so a numeric field is a piecewise linear curve in
embedding space and needs no scaling (Gorishniy et al. 2022, "On Embeddings for Numerical
Features", arXiv 2203.05556, eq. 1, in the form of a table).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError, DataError
from recprune.schema import Schema

__all__ = [
    "PADDING",
    "UNKNOWN",
    "Encoder",
    "Knots",
    "Rows",
    "Vocabulary",
    "pack_texts",
    "text",
    "unpack_texts",
]

PADDING, UNKNOWN, FIRST = 0, 1, 2

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


def text(value: Any) -> str | None:
    """Return the canonical text of a raw categorical value; None for a missing one.

    Numbers read alike however the file stored them: whole or not, in 32 bits or 64.

    >>> text(3), text(3.0), text("3"), text(True), text(float("nan")), text(None)
    ('3', '3', '3', 'true', None, None)
    """
    if type(value) is str or type(value) is int:  # nearly all values: worth a short way
        return str(value)
    if _missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        # NumPy's str has as many digits as the type's own bits need: 0.1 in 32 bits is 0.1 too.
        return str(int(value)) if float(value).is_integer() else repr(float(str(value)))
    return str(value)


def _missing(value: Any) -> bool:
    """Tell None, NaN, NaT and the missing value of pandas, which this floor does not import."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and value != value


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The values of a categorical field; value ``i`` has row ``i + 2``. None = missing."""

    values: tuple[str | None, ...]

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return FIRST + len(self.values)

    @cached_property
    def _codes(self) -> dict[str | None, int]:
        return {v: i + FIRST for i, v in enumerate(self.values)}

    def lookup(self, raw: Sequence[Any] | NDArray[Any]) -> IntArray:
        """Return the row of each raw value, shape ``(n,)``; unseen values get the unknown row.

        >>> Vocabulary(("red", "blue")).lookup(["blue", "green", None, "red"]).tolist()
        [3, 1, 1, 2]
        """
        codes = self._codes
        return np.fromiter((codes.get(text(v), UNKNOWN) for v in raw), np.int32, len(raw))

    def take(self, kept_rows: NDArray[np.integer[Any]]) -> Vocabulary:
        """Return the vocabulary of the kept rows (sorted, 0 and 1 first)."""
        return Vocabulary(tuple(self.values[r - FIRST] for r in kept_rows.tolist() if r >= FIRST))


@dataclass(frozen=True, eq=False)
class Knots:
    """The knots of a numeric field: increasing values; knot ``i`` has row ``i + 2``."""

    points: NDArray[np.float64]

    def __post_init__(self) -> None:
        points = self.points
        with np.errstate(all="ignore"):
            steps = np.diff(points) if points.ndim == 1 else np.zeros(1)
        # Infinite steps too: two finite knots can lie further apart than a float can say.
        if len(steps) < 1 or not ((steps > 0) & np.isfinite(steps)).all():
            raise DataError("A numeric field needs at least two increasing, finite knots.")

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return FIRST + len(self.points)

    def locate(self, values: NDArray[np.floating[Any]]) -> tuple[IntArray, FloatArray]:
        """Return the lower knot's row and the share of the upper knot, each shape ``(n,)``.

        Values beyond the ends (infinities too) take the end's row; NaN takes the unknown row.

        >>> code, share = Knots(np.array([0.0, 10.0, 20.0])).locate(np.array([5.0, -1.0, np.nan]))
        >>> code.tolist(), share.tolist()
        ([2, 2, 1], [0.5, 0.0, 0.0])
        """
        x = np.asarray(values, np.float64)
        missing = np.isnan(x)
        x = np.clip(np.where(missing, self.points[0], x), self.points[0], self.points[-1])
        low = np.clip(np.searchsorted(self.points, x, side="right") - 1, 0, len(self.points) - 2)
        share = (x - self.points[low]) / (self.points[low + 1] - self.points[low])
        code = np.where(missing, UNKNOWN, low + FIRST).astype(np.int32)
        return code, np.where(missing, 0.0, share).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows of a table.

    Args:
        codes: shape ``(n_rows, n_fields)``: a row of each field's block (numeric: the lower knot).
        shares: shape ``(n_rows, n_numeric)``: the share of the upper knot, numeric fields in order.
    """

    codes: IntArray
    shares: FloatArray

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Rows:
        return Rows(self.codes[index], self.shares[index])


@dataclass(frozen=True, eq=False)
class Encoder:
    """All fields' vocabularies and knots, in the schema's field order."""

    schema: Schema
    parts: Mapping[str, Vocabulary | Knots]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each field's block."""
        return tuple(self.parts[n].rows for n in self.schema.names)

    @cached_property
    def numeric(self) -> tuple[int, ...]:
        """Positions of the numeric fields among the fields."""
        return tuple(i for i, f in enumerate(self.schema.fields) if f.kind == "numeric")

    def encode(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Rows:
        """Encode raw columns of equal length; a column that is absent counts as missing.

        Raises:
            DataError: columns differ in length, or a numeric column holds a non-number.
        """
        lengths = {name: len(columns[name]) for name in self.schema.names if name in columns}
        if len(set(lengths.values())) > 1:
            raise DataError(f"Columns differ in length: {lengths}.")
        n = next(iter(lengths.values()), 1)
        codes = np.full((n, len(self.schema.fields)), UNKNOWN, np.int32)
        shares = np.zeros((n, len(self.numeric)), np.float32)
        for i, name in enumerate(self.schema.names):
            part, raw = self.parts[name], columns.get(name, [None] * n)
            if isinstance(part, Vocabulary):
                codes[:, i] = part.lookup(raw)
            else:
                codes[:, i], shares[:, self.numeric.index(i)] = part.locate(_numbers(name, raw))
        return Rows(codes, shares)

    def take(self, fields: tuple[str, ...], kept_rows: Mapping[str, NDArray[Any]]) -> Encoder:
        """Return the encoder of these fields; ``kept_rows`` names each field's surviving rows."""
        parts: dict[str, Vocabulary | Knots] = {}
        for name in fields:
            part = self.parts[name]
            cut = isinstance(part, Vocabulary) and name in kept_rows
            parts[name] = part.take(kept_rows[name]) if cut else part  # type: ignore[union-attr]
        return Encoder(self.schema.only(fields), parts)

    def hash(self) -> str:
        """Return a hash of all vocabularies and knots."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the parts as arrays: per vocabulary UTF-8 bytes and end offsets, or knots.

        A missing value's entry, at most one a field, is told by ``FIELD.missing`` = its row.
        """
        out: dict[str, NDArray[Any]] = {}
        for name in self.schema.names:
            part = self.parts[name]
            if isinstance(part, Knots):
                out[f"{name}.knots"] = part.points
                continue
            packed = pack_texts(part.values)
            if "missing" in packed:
                packed["missing"] += FIRST
            out.update({f"{name}.{key}": array for key, array in packed.items()})
        return out

    @classmethod
    def from_tensors(cls, schema: Schema, tensors: Mapping[str, NDArray[Any]]) -> Encoder:
        """Build the encoder back; every length is checked before it is used."""
        parts: dict[str, Vocabulary | Knots] = {}
        for field in schema.fields:
            try:
                if field.kind == "numeric":
                    parts[field.name] = Knots(
                        np.asarray(tensors[f"{field.name}.knots"], np.float64)
                    )
                    continue
                keys = ("bytes", "lengths", "missing")
                packed = {k: tensors[t] for k in keys if (t := f"{field.name}.{k}") in tensors}
                if "missing" in packed:
                    packed["missing"] = packed["missing"].astype(np.int64) - FIRST
                values = tuple(unpack_texts(packed))
                if len(set(values)) != len(values):
                    raise ArtifactError("it holds a value twice")
                parts[field.name] = Vocabulary(values)
            except (KeyError, ArtifactError, DataError) as error:
                what = str(error).removesuffix(".")
                raise ArtifactError(
                    f"Vocabulary of {field.name!r} cannot be read: {what}."
                ) from error
        return cls(schema, parts)


def pack_texts(values: Sequence[str | None]) -> dict[str, NDArray[Any]]:
    """Return texts as arrays: UTF-8 ``bytes``, ``lengths``, and the ``missing`` ones' positions.

    ``missing`` is there only when a value is None.

    >>> {k: v.tolist() for k, v in pack_texts(["a", None, "é"]).items()}
    {'bytes': [97, 195, 169], 'lengths': [1, 0, 2], 'missing': [1]}
    """
    raw = [b"" if v is None else v.encode("utf-8", "surrogatepass") for v in values]
    lengths = np.array([len(r) for r in raw], np.int64)
    small = len(lengths) == 0 or lengths.max() < 256
    out: dict[str, NDArray[Any]] = {
        "bytes": np.frombuffer(b"".join(raw), np.uint8),
        "lengths": lengths.astype(np.uint8 if small else np.uint32),
    }
    missing = [i for i, v in enumerate(values) if v is None]
    if missing:
        out["missing"] = np.array(missing, np.uint32)
    return out


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


def _numbers(name: str, raw: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "fiub":
        return raw.astype(np.float64)
    try:
        numbers = [
            np.nan if _missing(v) or (isinstance(v, str) and not v) else float(v) for v in raw
        ]
        return np.array(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Field {name!r} is numeric; a value is not a number: {error}.") from error
