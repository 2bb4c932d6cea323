"""From a field's raw values to rows of its table: one class for each way to look a value up.

Every field owns a block of rows. Row 0 is padding, row 1 is the *unknown* row (unseen and pruned
values, and missing ones that training never saw). What a value reads from the others:

- ``Vocabulary``, ``Buckets``: one row, the value's own or its hash's.
- ``Knots``: a number lies between two *knots*, each with a row: its embedding is the linear
  interpolation of the two, so a numeric field is a piecewise linear curve in embedding space and
  needs no scaling (Gorishniy et al. 2022, "On Embeddings for Numerical Features", arXiv
  2203.05556, eq. 1, in the form of a table).
- ``Sequence``, ``Components`` (:mod:`recprune.bags`): several rows, each times a weight: a *bag*, whose embedding is the
  weighted sum.

A lookup fills ``width`` codes and ``n_shares`` shares a row of data. The share of a number is that
of the upper knot; the shares of a bag are the weights of its slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recprune.compact import condensed, skipped
from recprune.errors import DataError
from recprune.texts import pack_texts, real, text

__all__ = [
    "FIRST",
    "PADDING",
    "UNKNOWN",
    "Buckets",
    "Knots",
    "Lookup",
    "Vocabulary",
    "numbers_of",
]

PADDING, UNKNOWN, FIRST = 0, 1, 2

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
Raw = Sequence[Any] | NDArray[Any]


class Lookup(Protocol):
    """What an encoder knows of one field.

    ``rows`` is the number of its table's rows, padding and unknown included. ``prunable`` tells
    whether rows may be cut one by one (those of knots and components go with their field).
    """

    prunable: bool

    @property
    def rows(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def n_shares(self) -> int: ...

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return codes, shape ``(n, width)``, and shares, shape ``(n, n_shares)``."""

    def take(self, kept_rows: NDArray[Any]) -> Lookup:
        """Return the lookup of the kept rows (sorted, 0 and 1 first)."""

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays, of which the encoder's hash is."""

    def stored(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays in few bytes, which the encoder reads back too."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The values of a categorical field; value ``i`` has row ``i + 2``. None = missing."""

    values: tuple[str | None, ...]

    prunable = True
    width, n_shares = 1, 0

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return FIRST + len(self.values)

    @cached_property
    def codes(self) -> dict[str | None, int]:
        """Value → row."""
        return {v: i + FIRST for i, v in enumerate(self.values)}

    def lookup(self, raw: Raw) -> IntArray:
        """Return the row of each raw value, shape ``(n,)``; unseen values get the unknown row.

        >>> Vocabulary(("red", "blue")).lookup(["blue", "green", None, "red"]).tolist()
        [3, 1, 1, 2]
        """
        codes = self.codes
        return np.fromiter((codes.get(text(v), UNKNOWN) for v in raw), np.int32, len(raw))

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return codes, shape ``(n, 1)``, and no shares."""
        return self.lookup(raw)[:, None], np.zeros((len(raw), 0), np.float32)

    def take(self, kept_rows: NDArray[Any]) -> Vocabulary:
        """Return the vocabulary of the kept rows (sorted, 0 and 1 first)."""
        return Vocabulary(tuple(self.values[r - FIRST] for r in kept_rows.tolist() if r >= FIRST))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return UTF-8 bytes, lengths, and ``missing``: the row of the missing value's entry."""
        packed = pack_texts(self.values)
        if "missing" in packed:
            packed["missing"] += FIRST
        return packed

    def stored(self) -> dict[str, NDArray[Any]]:
        """Return the values as :func:`recprune.compact.condensed` packs them."""
        return condensed(self.values)


@dataclass(frozen=True, eq=False)
class Buckets:
    """Rows shared by hash: a value reads row 2 + (hash mod ``count``); a missing one is unknown.

    The hash is BLAKE2b's first 8 bytes, the same on every machine (Weinberger et al. 2009, "Feature
    Hashing for Large Scale Multitask Learning").

    Args:
        count: number of buckets.
        kept: buckets that still have a row, increasing; None = all.

    >>> Buckets(3).lookup(["red", "red", None]).tolist()[1:]
    [3, 1]
    """

    count: int
    kept: IntArray | None = None

    prunable = True
    width, n_shares = 1, 0

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return FIRST + (self.count if self.kept is None else len(self.kept))

    def lookup(self, raw: Raw) -> IntArray:
        """Return the row of each raw value, shape ``(n,)``."""
        known: dict[str | None, int] = {None: -1}
        words = [text(v) for v in raw]
        for word in words:
            if word not in known:
                digest = hashlib.blake2b(
                    str(word).encode("utf-8", "surrogatepass"), digest_size=8
                ).digest()
                known[word] = int.from_bytes(digest, "little") % self.count
        bucket = np.fromiter((known[w] for w in words), np.int64, len(words))
        if self.kept is None:
            place = bucket + FIRST
        else:
            at = np.searchsorted(self.kept, bucket)
            held = np.append(self.kept, -1)[at] == bucket
            place = np.where(held, at + FIRST, UNKNOWN)
        return np.where(bucket < 0, UNKNOWN, place).astype(np.int32)

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return codes, shape ``(n, 1)``, and no shares."""
        return self.lookup(raw)[:, None], np.zeros((len(raw), 0), np.float32)

    def take(self, kept_rows: NDArray[Any]) -> Buckets:
        """Return the buckets of the kept rows (sorted, 0 and 1 first)."""
        all_buckets = np.arange(self.count, dtype=np.int32) if self.kept is None else self.kept
        return Buckets(self.count, all_buckets[kept_rows[kept_rows >= FIRST] - FIRST])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the number of buckets, and those kept."""
        out: dict[str, NDArray[Any]] = {"buckets": np.array([self.count], np.int64)}
        return out if self.kept is None else {**out, "kept": self.kept.astype(np.int32)}

    def stored(self) -> dict[str, NDArray[Any]]:
        """Return the number of buckets, and how many are cut before each of those kept."""
        out: dict[str, NDArray[Any]] = {"buckets": np.array([self.count], np.int64)}
        return out if self.kept is None else {**out, "skipped": skipped(self.kept)}


@dataclass(frozen=True, eq=False)
class Knots:
    """The knots of a numeric field: increasing values; knot ``i`` has row ``i + 2``."""

    points: NDArray[np.float64]

    prunable = False
    width, n_shares = 1, 1

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

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return codes and shares, each shape ``(n, 1)``."""
        code, share = self.locate(numbers_of(name, raw))
        return code[:, None], share[:, None]

    def take(self, kept_rows: NDArray[Any]) -> Knots:
        """Return the knots as they are: they go with their field."""
        return self

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the knots."""
        return {"knots": self.points}

    stored = tensors


def numbers_of(name: str, raw: Raw) -> NDArray[np.float64]:
    """Return raw numbers as float64, missing ones as NaN.

    Raises:
        DataError: a value is not a number; names the field.
    """
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "fiub":
        return raw.astype(np.float64)
    try:
        numbers = [np.nan if isinstance(v, str) and not v else real(v) for v in raw]
        return np.array(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Field {name!r} is numeric; a value is not a number: {error}.") from error
