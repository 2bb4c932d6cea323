"""The catalogue: every item's encoded columns, so that all items can be scored for a user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.bags import FARTHEST, Components
from recprune.encoding import Encoder
from recprune.errors import ArtifactError, DataError
from recprune.lookups import Knots
from recprune.schema import Schema
from recprune.texts import pack_texts, text, unpack_texts

__all__ = ["Catalogue"]

Array = NDArray[Any]
IntArray = NDArray[np.int32]
NO_KEY = -1


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The item side of a model, in catalogue order.

    Args:
        ids: item ids, as text, without repeats.
        codes: item field → rows of the field's table, shape ``(n_items, n_slots)``.
        shares: item field with shares → these, shape ``(n_items, n_shares)``; see
            :class:`recprune.encoding.Rows`.
        keys: item column that indexes cross fields → position in ``key_values``, shape
            ``(n_items,)``; -1 = the item's value is missing. These are *raw* values: pruning rows
            of a field's table never merges users' histories.
        key_values: item column → its raw values, as text.
        defaults: cross field → what a value without history reads as; not named = missing.
        texts: item column to filter by → position among its distinct values, shape ``(n_items,)``,
            -1 = missing; and these values. Raw ones too, whatever was pruned.
        numbers: numeric item column to filter by → shape ``(n_items,)``, NaN = missing.
    """

    ids: tuple[str, ...]
    codes: Mapping[str, IntArray]
    shares: Mapping[str, NDArray[np.float32]]
    keys: Mapping[str, IntArray] = field(default_factory=dict)
    key_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, tuple[IntArray, tuple[str, ...]]] = field(default_factory=dict)
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id → position."""
        return {item: i for i, item in enumerate(self.ids)}

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        columns: Mapping[str, Sequence[Any] | Array],
        ids: Sequence[Any] | Array,
        defaults: Mapping[str, float] | None = None,
    ) -> Catalogue:
        """Encode the items' raw columns for one model.

        Args:
            encoder: the model's encoder; its item fields and the columns that its cross fields
                are indexed by must be given.
            columns: raw item columns, each ``n_items`` long. The item id's own column may be
                left out: ``ids`` stands for it. All that hold one value an item, the ones that
                the model has no field of too, are kept to filter by.
            ids: item ids, in catalogue order.
            defaults: cross field → what a value without history reads as, as in the users' tables.

        Raises:
            DataError: a column is absent or has another length, or an item comes twice or has no id.
        """
        schema = encoder.schema
        known = [name for i in ids if (name := text(i)) is not None]
        if len(known) < len(ids):
            raise DataError(f"{len(ids) - len(known)} items of the catalogue have no id.")
        names = tuple(known)
        given: dict[str, Sequence[Any] | Array] = dict(columns)
        if schema.item is not None:
            given.setdefault(schema.item, names)
        fields, by = _item_fields(schema), _key_columns(schema)
        for name in (*fields, *by):
            if name not in given:
                raise DataError(f"The catalogue needs the item column {name!r}; it is not given.")
            if len(given[name]) != len(names):
                raise DataError(
                    f"Item column {name!r} has {len(given[name])} values for {len(names)} items."
                )
        if len(set(names)) != len(names):
            raise DataError("The catalogue holds one item id twice.")
        side = encoder.take(fields, {})
        rows = side.encode({name: given[name] for name in fields})
        codes, shares = {}, {}
        for name, slots, share_slots in zip(fields, side.slots, side.share_slots, strict=True):
            codes[name] = np.ascontiguousarray(rows.codes[:, slots])
            if share_slots.stop > share_slots.start:
                shares[name] = np.ascontiguousarray(rows.shares[:, share_slots])
        keys, key_values = {}, {}
        for column in by:
            keys[column], key_values[column] = _factorise(given[column])
        cross = {f.name for f in schema.fields if f.source == "cross"}
        kept = {name: float(v) for name, v in (defaults or {}).items() if name in cross}
        texts, numbers = _to_filter_by(schema, given, keys, len(names))
        return cls(names, codes, shares, keys, key_values, kept, texts, numbers)

    def joined(self, other: Catalogue) -> Catalogue:
        """Return both catalogues' items, this one's first; both of one encoder, and of other items.

        A column to filter by that only one of them has is missing for the other's items.

        Raises:
            DataError: an item is in both, or a column holds texts in one and numbers in the other.
        """
        ids = (*self.ids, *other.ids)
        if len(set(ids)) != len(ids):
            raise DataError("Two catalogues hold one item id.")
        texts_of_either = self.texts.keys() | other.texts.keys()
        for name, given in (*self.numbers.items(), *other.numbers.items()):
            if name in texts_of_either and not np.isnan(given).all():  # all missing tell no kind
                raise DataError(f"Item column {name!r} holds texts and numbers.")
        n, m = len(self), len(other)
        codes = {f: np.concatenate([a, other.codes[f]]) for f, a in self.codes.items()}
        shares = {f: np.concatenate([a, other.shares[f]]) for f, a in self.shares.items()}
        none = np.full(n, NO_KEY, np.int32), np.full(m, NO_KEY, np.int32)
        keys, key_values, texts = {}, {}, {}
        for by, places in self.keys.items():
            both = (places, self.key_values[by]), (other.keys[by], other.key_values[by])
            keys[by], key_values[by] = _merged(*both)
        for name in sorted(texts_of_either):
            mine, theirs = self.texts.get(name, (none[0], ())), other.texts.get(name, (none[1], ()))
            texts[name] = _merged(mine, theirs)
        numbers = {
            name: np.concatenate(
                [c.numbers.get(name, np.full(len(c), np.nan)) for c in (self, other)]
            )
            for name in sorted((self.numbers.keys() | other.numbers.keys()) - texts_of_either)
        }
        defaults = {**other.defaults, **self.defaults}
        return Catalogue(ids, codes, shares, keys, key_values, defaults, texts, numbers)

    def tensors(self) -> dict[str, Array]:
        """Return everything as arrays, for ``catalogue.safetensors``; ``from_tensors`` reads it back."""
        out = {f"ids.{k}": array for k, array in pack_texts(self.ids).items()}
        out |= {f"codes.{name}": _squeezed(array) for name, array in self.codes.items()}
        out |= {f"shares.{name}": _squeezed(array) for name, array in self.shares.items()}
        for by, keys in self.keys.items():
            out[f"keys.{by}"] = keys
            packed = pack_texts(self.key_values[by])
            out |= {f"values.{by}.{k}": array for k, array in packed.items()}
        for name, value in self.defaults.items():
            out[f"defaults.{name}"] = np.array([value], np.float64)
        out |= {f"number.{name}": array for name, array in self.numbers.items()}
        for name, (places, values) in self.texts.items():
            out[f"text.{name}"] = places
            out |= {f"values.text.{name}.{k}": array for k, array in pack_texts(values).items()}
        return out

    @classmethod
    def from_tensors(cls, encoder: Encoder, tensors: Mapping[str, Array]) -> Catalogue:
        """Build the catalogue back for the encoder that it was built with.

        Raises:
            ArtifactError: an array is absent, or has another shape or range than the model needs.
        """
        try:
            return _read(encoder, tensors)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ArtifactError(f"The catalogue cannot be read: {error}.") from error


def _read(encoder: Encoder, tensors: Mapping[str, Array]) -> Catalogue:
    schema = encoder.schema
    ids = _texts("ids", tensors)
    codes, shares, keys, key_values = {}, {}, {}, {}
    for name in _item_fields(schema):
        part = encoder.parts[name]
        # A numeric field's code is the lower of two knots: the row above it must exist too.
        size = part.rows - 1 if isinstance(part, Knots) else part.rows
        code = _checked(f"codes.{name}", tensors, (len(ids), part.width), (0, size))
        codes[name] = code.astype(np.int32)
        if part.n_shares:
            most = 1.0 if isinstance(part, Knots) else FARTHEST
            least = -FARTHEST if isinstance(part, Components) else 0.0
            share = _checked(f"shares.{name}", tensors, (len(ids), part.n_shares), (least, most))
            shares[name] = share.astype(np.float32)
    for by in _key_columns(schema):
        key_values[by] = _texts(f"values.{by}", tensors)
        sizes = (NO_KEY, len(key_values[by]))
        keys[by] = _checked(f"keys.{by}", tensors, (len(ids), 1), sizes)[:, 0].astype(np.int32)
    cross = [f.name for f in schema.fields if f.source == "cross"]
    defaults = {n: float(tensors[f"defaults.{n}"][0]) for n in cross if f"defaults.{n}" in tensors}
    numbers, texts = {}, {}
    for name, array in tensors.items():
        kind, _, column = name.partition(".")
        if kind == "number":
            if array.shape != (len(ids),) or array.dtype != np.float64:
                raise ArtifactError(f"{name} has shape {array.shape} and type {array.dtype}")
            numbers[column] = array
        elif kind == "text":
            values = _texts(f"values.{name}", tensors)
            bounds = (NO_KEY, len(values))
            places = _checked(name, tensors, (len(ids), 1), bounds)[:, 0].astype(np.int32)
            texts[column] = places, values
    return Catalogue(ids, codes, shares, keys, key_values, defaults, texts, numbers)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _to_filter_by(
    schema: Schema, given: Mapping[str, Sequence[Any] | Array], keys: Iterable[str], n: int
) -> tuple[dict[str, tuple[IntArray, tuple[str, ...]]], dict[str, NDArray[np.float64]]]:
    """Return the columns of texts and of numbers that hold one value an item, but for ``keys``."""
    texts, numbers = {}, {}
    several = [f.name for f in schema.fields if f.kind in ("sequence", "dense")]
    numeric = [f.name for f in schema.fields if f.kind == "numeric"]
    for name, raw in given.items():
        if name in keys or name == schema.item or name in several or len(raw) != n:
            continue
        # Of NumPy's times a list has whole numbers, of which nobody knows what they count.
        array = isinstance(raw, np.ndarray) and raw.dtype.kind not in "mM"
        values: list[Any] = np.asarray(raw).tolist() if array else list(raw)
        if any(isinstance(v, list | tuple | dict | np.ndarray) for v in values):
            continue
        if name in numeric or (name not in schema.names and all(map(_is_number, values))):
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                numbers[name] = np.array([np.nan if v is None else v for v in values], np.float64)
        else:
            texts[name] = _factorise(values)
    return texts, numbers


def _checked(
    name: str, tensors: Mapping[str, Array], shape: tuple[int, int], bounds: tuple[float, float]
) -> Array:
    """Return the array if it has the shape, one column being stored flat, and lies within bounds.

    Numbers go from ``low`` to below ``high``; shares are floats and may be exactly ``high``.
    """
    array, (low, high) = tensors[name], bounds
    kind = "f" if name.startswith("shares.") else "i"
    if array.shape != (shape if shape[1] > 1 else shape[:1]) or array.dtype.kind != kind:
        raise ArtifactError(
            f"{name} has shape {array.shape} and type {array.dtype} for {shape[0]} items"
        )
    array = array.reshape(shape)
    if shape[0]:
        least, most = array.min(), array.max()
        if not (least >= low and (most < high or (kind == "f" and most <= high))):
            raise ArtifactError(
                f"{name} goes from {least} to {most}; the model allows {low}–{high}"
            )
    return array


def _squeezed(array: Array) -> Array:
    """Return one column as a flat array: the form of nearly all fields."""
    return array[:, 0] if array.shape[1] == 1 else array


def _texts(prefix: str, tensors: Mapping[str, Array]) -> tuple[str, ...]:
    keys = ("bytes", "lengths", "missing")
    values = unpack_texts({k: tensors[t] for k in keys if (t := f"{prefix}.{k}") in tensors})
    known = tuple(v for v in values if v is not None)
    if len(set(known)) != len(values):
        raise ArtifactError(f"{prefix} has a missing or repeated value")
    return known


def _factorise(raw: Sequence[Any] | Array) -> tuple[IntArray, tuple[str, ...]]:
    """Return each value's position among the distinct values (-1 = missing), and these."""
    places: dict[str | None, int] = {None: NO_KEY}
    keys = [places.setdefault(text(v), len(places) - 1) for v in raw]
    return np.array(keys, np.int32), tuple(v for v in places if v is not None)


def _merged(
    one: tuple[IntArray, tuple[str, ...]], other: tuple[IntArray, tuple[str, ...]]
) -> tuple[IntArray, tuple[str, ...]]:
    """Return positions among the values of both."""
    places = {value: i for i, value in enumerate(one[1])}
    moved = [places.setdefault(value, len(places)) for value in other[1]]
    moved.append(NO_KEY)  # -1 reads the last
    return np.concatenate([one[0], np.array(moved, np.int32)[other[0]]]), tuple(places)


def _item_fields(schema: Schema) -> tuple[str, ...]:
    return tuple(f.name for f in schema.fields if f.source == "item")


def _key_columns(schema: Schema) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.by for f in schema.fields if f.by is not None))
