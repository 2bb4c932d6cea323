"""Fields whose value is a weighted sum of rows: lists of categories, and vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError
from recprune.lookups import (
    FIRST,
    PADDING,
    UNKNOWN,
    Buckets,
    FloatArray,
    IntArray,
    Raw,
    Vocabulary,
    numbers_of,
)
from recprune.texts import is_missing

__all__ = ["FARTHEST", "Components", "Sequence"]

#: Components further than this from the mean, in standard deviations, count as this far.
FARTHEST = 10.0


@dataclass(frozen=True, eq=False)
class Sequence:
    """A list of categories: the sum or mean of its elements' rows, the most recent ones.

    Elements that are missing are skipped; a list without any reads the unknown row.

    Args:
        elements: how one element is looked up.
        length: most elements; of a longer list the last ones count.
        mean: whether the elements' rows are averaged; else they are summed.
        separator: of a list that is written as one text; "" = only lists are taken.

    >>> tags = Sequence(Vocabulary(("a", "b")), length=2, separator="|")
    >>> codes, weights = tags.encode("tags", ["b|a|b", ["a"], None])
    >>> codes.tolist(), weights.tolist()
    ([[2, 3], [2, 0], [1, 0]], [[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]])
    """

    elements: Vocabulary | Buckets
    length: int
    mean: bool = True
    separator: str = ""

    prunable = True

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return self.elements.rows

    @property
    def width(self) -> int:
        """Number of slots: the greatest length."""
        return self.length

    @property
    def n_shares(self) -> int:
        """One weight a slot."""
        return self.length

    def pack(self, owner: NDArray[Any], codes: IntArray, n: int) -> tuple[IntArray, FloatArray]:
        """Return the slots of ``n`` lists from their elements' rows.

        Args:
            owner: each element's list, increasing, shape ``(n_elements,)``.
            codes: each element's row, shape ``(n_elements,)``.
            n: number of lists.
        """
        sizes = np.bincount(owner, minlength=n)
        ends = np.cumsum(sizes)
        from_end = ends[owner] - np.arange(len(owner))
        recent = from_end <= self.length
        sizes = np.minimum(sizes, self.length)
        owner, place = owner[recent], (sizes[owner] - from_end)[recent]
        slots = np.zeros((n, self.length), np.int32)
        weights = np.zeros((n, self.length), np.float32)
        slots[owner, place] = codes[recent]
        weights[owner, place] = (1 / sizes[owner]) if self.mean else 1
        slots[sizes == 0, 0], weights[sizes == 0, 0] = UNKNOWN, 1
        return slots, weights

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return the slots' codes and weights, each shape ``(n, length)``."""
        lists = [self.split(name, value) for value in raw]
        owner = np.repeat(np.arange(len(lists)), [len(v) for v in lists])
        flat = [element for value in lists for element in value]
        return self.pack(owner, self.elements.lookup(flat), len(lists))

    def split(self, name: str, value: Any) -> list[Any]:
        """Return the elements of one raw value.

        Raises:
            DataError: neither a list nor, with a separator, a text.
        """
        if isinstance(value, str) and self.separator:
            value = value.split(self.separator)
        if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
            return [v for v in value if not is_missing(v) and not (isinstance(v, str) and not v)]
        if is_missing(value):
            return []
        raise DataError(
            f"Field {name!r} is a sequence: its values are lists"
            + (f" or texts separated by {self.separator!r}" if self.separator else "")
            + f". Got {type(value).__name__} {value!r} instead."
        )

    def take(self, kept_rows: NDArray[Any]) -> Sequence:
        """Return the sequence of the kept rows (sorted, 0 and 1 first)."""
        return Sequence(self.elements.take(kept_rows), self.length, self.mean, self.separator)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the elements' arrays, and length, mean and separator as numbers."""
        return {**self.elements.tensors(), **self._own()}

    def stored(self) -> dict[str, NDArray[Any]]:
        """Return the same in few bytes."""
        return {**self.elements.stored(), **self._own()}

    def _own(self) -> dict[str, NDArray[Any]]:
        separator = np.frombuffer(self.separator.encode(), np.uint8).astype(np.int64)
        return {"sequence": np.array([self.length, self.mean, *separator], np.int64)}


@dataclass(frozen=True, eq=False)
class Components:
    """A vector of numbers: the sum of its components' rows, each times its standardised value.

    A missing component counts as the mean; a missing or empty vector reads the unknown row.

    Args:
        mean, scale: of each component over the training rows, shape ``(width,)``.

    >>> vector = Components(np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    >>> codes, weights = vector.encode("v", [[3.0, -1.0], None])
    >>> codes.tolist(), weights.tolist()
    ([[2, 3], [1, 0]], [[1.0, -1.0], [1.0, 0.0]])
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    prunable = False

    def __post_init__(self) -> None:
        ok = self.mean.ndim == 1 and self.mean.shape == self.scale.shape and len(self.mean) > 0
        if not (ok and np.isfinite(self.mean).all() and (self.scale > 0).all()):
            raise DataError("A dense field needs a finite mean and a scale above 0 a component.")

    @property
    def rows(self) -> int:
        """Number of rows, padding and unknown included."""
        return FIRST + len(self.mean)

    @property
    def width(self) -> int:
        """Number of slots: one a component."""
        return len(self.mean)

    @property
    def n_shares(self) -> int:
        """One weight a slot."""
        return len(self.mean)

    def weigh(self, values: NDArray[np.floating[Any]]) -> tuple[IntArray, FloatArray]:
        """Return the slots of vectors, shape ``(n, width)``; one of NaN alone is missing."""
        missing = np.isnan(values).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (np.asarray(values, np.float64) - self.mean) / self.scale
        weights = np.clip(np.where(np.isnan(values), 0, standard), -FARTHEST, FARTHEST)
        codes = np.tile(np.arange(FIRST, self.rows, dtype=np.int32), (len(values), 1))
        codes[missing], weights[missing] = PADDING, 0
        codes[missing, 0], weights[missing, 0] = UNKNOWN, 1
        return codes, weights.astype(np.float32)

    def encode(self, name: str, raw: Raw) -> tuple[IntArray, FloatArray]:
        """Return the slots' codes and weights, each shape ``(n, width)``."""
        values = np.full((len(raw), self.width), np.nan)
        for i, vector in enumerate(raw):
            if is_missing(vector):
                continue
            numbers = numbers_of(name, vector if _is_list(vector) else [vector])
            if not len(numbers):  # as users' folders store a missing list
                continue
            if len(numbers) != self.width:
                raise DataError(
                    f"Field {name!r} is a vector of {self.width} numbers. Got {len(numbers)} instead."
                )
            values[i] = numbers
        return self.weigh(values)

    def take(self, kept_rows: NDArray[Any]) -> Components:
        """Return the components as they are: they go with their field."""
        return self

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the components' means and scales."""
        return {"mean": self.mean, "scale": self.scale}

    stored = tensors


def _is_list(value: Any) -> bool:
    """Tell a list of any kind from one value."""
    try:
        return np.ndim(value) == 1
    except ValueError:  # lists of several lengths within a list
        return True
