"""Raw rows ↔ rows of all fields' tables: one lookup a field, side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recprune.bags import Components
from recprune.bags import Sequence as Bag
from recprune.compact import deflated, expanded, units_after
from recprune.dates import date_part
from recprune.errors import ArtifactError, DataError
from recprune.lookups import FIRST, Buckets, Knots, Lookup, Vocabulary
from recprune.schema import Field, Kind, Schema
from recprune.scratch import copied, gather, on_disk, scratch
from recprune.texts import unpack_texts

__all__ = ["Encoder", "Rows"]

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]
Columns = Mapping[str, Sequence[Any] | NDArray[Any]]

#: Names of the arrays of a lookup, as its hash and protocols 1 and 2 have them; as stored now.
KEYS = ("bytes", "lengths", "missing", "buckets", "kept", "knots", "sequence", "mean", "scale")
SHORT = ("numbers", "texts", "skipped")


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows of a table.

    Args:
        codes: rows of each field's block, shape ``(n_rows, n_slots)``: one slot of a categorical
            or numeric (the lower knot) field, several of a sequence or dense one; fields in order.
        shares: shape ``(n_rows, n_shares)``: the share of the upper knot of numeric fields, the
            weight of each slot of sequences and dense fields; fields in order.

    Both may lie on disk (:mod:`recprune.scratch`).
    """

    codes: IntArray
    shares: FloatArray

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Rows:
        """Return some of the rows, in memory: positions, a mask or a slice."""
        return Rows(gather(self.codes, index), gather(self.shares, index))

    def blocks(self, size: int) -> Iterator[tuple[slice, Rows]]:
        """Yield all rows in order, so many at once, and where they stand."""
        for start in range(0, len(self), size):
            block = slice(start, min(start + size, len(self)))
            yield block, self[block]

    def part(self, index: NDArray[Any]) -> Rows:
        """Return some of the rows (positions), on disk if these are."""
        if not on_disk(self.codes):
            return self[index]
        return Rows(*(copied(array, rows=index) for array in (self.codes, self.shares)))

    def select(self, codes: NDArray[Any], shares: NDArray[Any]) -> Rows:
        """Return some of the columns (:meth:`Encoder.columns_of`), on disk if these are."""
        if not on_disk(self.codes):
            chosen = self.codes[:, codes], self.shares[:, shares]
            return Rows(np.ascontiguousarray(chosen[0]), np.ascontiguousarray(chosen[1]))
        return Rows(copied(self.codes, columns=codes), copied(self.shares, columns=shares))


@dataclass(frozen=True, eq=False)
class Encoder:
    """All fields' lookups, in the schema's field order."""

    schema: Schema
    parts: Mapping[str, Lookup]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each field's block."""
        return tuple(self.parts[n].rows for n in self.schema.names)

    @cached_property
    def numeric(self) -> tuple[int, ...]:
        """Positions of the numeric fields among the fields."""
        return self._of("numeric")

    @cached_property
    def bags(self) -> tuple[int, ...]:
        """Positions of the fields whose values are weighted sums of rows: sequences, vectors."""
        return self._of("sequence", "dense")

    @cached_property
    def slots(self) -> tuple[slice, ...]:
        """Each field's columns of ``Rows.codes``."""
        return _runs([self.parts[n].width for n in self.schema.names])

    @cached_property
    def share_slots(self) -> tuple[slice, ...]:
        """Each field's columns of ``Rows.shares``; none of a categorical field."""
        return _runs([self.parts[n].n_shares for n in self.schema.names])

    def encode(self, columns: Columns) -> Rows:
        """Encode raw columns of equal length; a column that is absent counts as missing.

        A field that is a part of a date is taken from its own column, or else from the date's.

        Raises:
            DataError: columns differ in length, or a value is not of its field's kind.
        """
        raw = {f.name: raw_column(f, columns, self.schema.time) for f in self.schema.fields}
        lengths = {name: len(column) for name, column in raw.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise DataError(f"Columns differ in length: {lengths}.")
        n = next(iter(lengths.values()), 1)
        rows = self.blank(n)
        for i, (name, column) in enumerate(raw.items()):
            given = [None] * n if column is None else column
            codes, shares = self.parts[name].encode(name, given)
            rows.codes[:, self.slots[i]], rows.shares[:, self.share_slots[i]] = codes, shares
        return rows

    def blank(self, n: int, disk: bool = False) -> Rows:
        """Return ``n`` rows to fill, in memory or on disk."""
        n_slots, n_shares = ((s[-1].stop if s else 0) for s in (self.slots, self.share_slots))
        make = scratch if disk else _in_memory
        return Rows(make(n, n_slots, np.int32), make(n, n_shares, np.float32))

    def columns_of(self, names: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Return the columns of ``Rows.codes`` and of ``Rows.shares`` that these fields own."""
        at = [self.schema.names.index(name) for name in names]
        return _indices([self.slots[i] for i in at]), _indices([self.share_slots[i] for i in at])

    def take(self, fields: tuple[str, ...], kept_rows: Mapping[str, NDArray[Any]]) -> Encoder:
        """Return the encoder of these fields; ``kept_rows`` names each field's surviving rows."""
        parts = {n: self.parts[n] for n in fields}
        parts |= {n: parts[n].take(kept_rows[n]) for n in fields if n in kept_rows}
        return Encoder(self.schema.only(fields), parts)

    def hash(self) -> str:
        """Return a hash of all lookups."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the lookups as arrays, named ``FIELD.what``; see each lookup's ``tensors``."""
        return self._named({name: self.parts[name].tensors() for name in self.schema.names})

    @cached_property
    def stored(self) -> bytes:
        """The lookups as an artefact stores them. Kept, since searches count bytes again and again."""
        named = self._named({name: self.parts[name].stored() for name in self.schema.names})
        return deflated(named, sum(self.sizes))  # a row has a byte of weights at least

    @classmethod
    def from_tensors(cls, schema: Schema, tensors: Tensors) -> Encoder:
        """Build the encoder back, from either form; every length is checked before it is used.

        Raises:
            ArtifactError: names the field whose arrays make no lookup.
        """
        parts: dict[str, Lookup] = {}
        for field in schema.fields:
            own = {k: tensors[t] for k in KEYS + SHORT if (t := f"{field.name}.{k}") in tensors}
            try:
                parts[field.name] = _read_lookup(field.kind, own)
            except (KeyError, ValueError, ArtifactError, DataError) as error:
                what = str(error).removesuffix(".")
                raise ArtifactError(
                    f"Vocabulary of {field.name!r} cannot be read: {what}."
                ) from error
        return cls(schema, parts)

    @staticmethod
    def _named(parts: Mapping[str, Tensors]) -> dict[str, NDArray[Any]]:
        return {
            f"{name}.{key}": array for name, part in parts.items() for key, array in part.items()
        }

    def _of(self, *kinds: str) -> tuple[int, ...]:
        return tuple(i for i, f in enumerate(self.schema.fields) if f.kind in kinds)


def raw_column(field: Field, columns: Columns, time: str | None) -> Any:
    """Return a field's raw column, derived from its date's if it is a part of one; None = absent.

    Args:
        field: the field.
        columns: the given columns.
        time: name of the column that says when a row happened, to which an age refers.
    """
    if field.name in columns or field.of is None or field.of not in columns:
        return columns.get(field.name)
    assert field.part is not None
    now = columns.get(time) if time is not None and time != field.of else None
    return date_part(field.part, columns[field.of], now, field.of)


def _in_memory(rows: int, columns: int, dtype: DTypeLike) -> NDArray[Any]:
    return np.empty((rows, columns), dtype)


def _runs(widths: Sequence[int]) -> tuple[slice, ...]:
    ends = list(accumulate(widths))
    return tuple(slice(end - width, end) for end, width in zip(ends, widths, strict=True))


def _indices(slices: Sequence[slice]) -> IntArray:
    runs = [np.arange(s.start, s.stop, dtype=np.int32) for s in slices]
    return np.concatenate([*runs, np.empty(0, np.int32)])


def _read_lookup(kind: Kind, tensors: Tensors) -> Lookup:
    if kind == "numeric":
        return Knots(np.asarray(tensors["knots"], np.float64))
    if kind == "dense":
        mean, scale = (np.asarray(tensors[k], np.float64) for k in ("mean", "scale"))
        return Components(mean, scale)
    elements = _read_elements(tensors)
    if kind == "categorical":
        return elements
    length, averaged, *separator = np.asarray(tensors["sequence"], np.int64).ravel().tolist()
    if not 1 <= length <= 1 << 20:
        raise ArtifactError(f"a sequence of length {length}")
    return Bag(elements, length, bool(averaged), bytes(separator).decode())


def _read_elements(tensors: Tensors) -> Vocabulary | Buckets:
    if "buckets" in tensors:
        (count,) = np.asarray(tensors["buckets"], np.int64).ravel().tolist()
        kept = units_after(tensors["skipped"]) if "skipped" in tensors else tensors.get("kept")
        if count < 1 or (kept is not None and (kept.dtype != np.int32 or kept.ndim != 1)):
            raise ArtifactError("its buckets are no counted ones")
        if kept is not None and not (np.diff(kept, prepend=-1, append=count) > 0).all():
            raise ArtifactError("its kept buckets are not increasing and below their count")
        return Buckets(count, kept)
    values = expanded(tensors) if tensors.keys() & {"numbers", "texts"} else _by_lengths(tensors)
    vocabulary = Vocabulary(tuple(values))
    if len(vocabulary.codes) != len(values):  # kept: whoever reads a vocabulary looks values up
        raise ArtifactError("it holds a value twice")
    return vocabulary


def _by_lengths(tensors: Tensors) -> list[str | None]:
    """Return the values as protocols 1 and 2 store them."""
    packed = {k: tensors[k] for k in ("bytes", "lengths", "missing") if k in tensors}
    if "missing" in packed:
        if packed["missing"].dtype != np.uint32:
            raise ArtifactError("the missing value's row is no number of rows")
        packed["missing"] = packed["missing"].astype(np.int64) - FIRST
    return unpack_texts(packed)
