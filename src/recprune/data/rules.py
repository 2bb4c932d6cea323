"""How a field's raw values become rows: what ``schema.toml`` may state, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from recprune.errors import SchemaError
from recprune.schema import Field

__all__ = ["RULES", "SENSITIVE_COUNT", "FieldRule", "Pooling", "Scale"]

#: A personal attribute's value that fewer rows have could give its bearer away.
SENSITIVE_COUNT = 10
LENGTH = 20
KNOTS = 32

Scale = Literal["quantile", "log", "linear"]
Pooling = Literal["mean", "sum"]


@dataclass(frozen=True)
class FieldRule:
    """How values become rows; None = not stated, the default holds.

    Args:
        min_count: categories, elements of sequences: least number of training rows for a row of
            its own (1; 10 for a sensitive field). All other values read, and train, the unknown row.
        max_size: most values, the most frequent ones; no limit.
        buckets: instead of a vocabulary, rows shared by hash, so many.
        scale: numbers: knots at equal steps of rank (``"quantile"``, the default), of
            sign(x)·log(1 + |x|) (``"log"``), or two at the ends, a straight line (``"linear"``: what
            a standardised number can express).
        knots: most knots; 32.
        length: sequences: most elements, the last ones; 20.
        pooling: sequences: ``"mean"`` (default) or ``"sum"`` of the elements' rows.
        separator: of lists that are written as one text.
    """

    min_count: int | None = None
    max_size: int | None = None
    buckets: int | None = None
    scale: Scale | None = None
    knots: int | None = None
    length: int | None = None
    pooling: Pooling | None = None
    separator: str | None = None

    def least(self, field: Field) -> int:
        """Return the least number of training rows of a value of ``field``."""
        if self.min_count is not None:
            return self.min_count
        return SENSITIVE_COUNT if field.sensitive else 1

    @property
    def most_elements(self) -> int:
        """Most elements of a sequence."""
        return self.length or LENGTH

    @property
    def most_knots(self) -> int:
        """Most knots of a number."""
        return self.knots or KNOTS

    def over(self, other: FieldRule) -> FieldRule:
        """Return this rule, with what it leaves open taken from ``other``."""
        names = [f.name for f in fields(self)]
        mine = {n: getattr(self, n) for n in names}
        return FieldRule(**{n: getattr(other, n) if v is None else v for n, v in mine.items()})

    @classmethod
    def read(cls, given: Mapping[str, Any], owner: str) -> FieldRule:
        """Return the rule that a table of ``schema.toml`` states; other keys are ignored.

        Raises:
            SchemaError: a value of another type or range.
        """
        least = {"min_count": 1, "max_size": 1, "buckets": 1, "length": 1, "knots": 2}
        for key, low in least.items():
            value = given.get(key, low)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise SchemaError(f"{owner}: {key!r} must be an integer ≥ {low}. Got {value!r}.")
        for key, words in (("scale", get_args(Scale)), ("pooling", get_args(Pooling))):
            if given.get(key, words[0]) not in words:
                raise SchemaError(
                    f"{owner}: {key!r} must be one of {', '.join(words)}. Got {given[key]!r}."
                )
        separator = given.get("separator", "|")
        if not isinstance(separator, str) or not separator:
            raise SchemaError(f"{owner}: 'separator' must be a text. Got {separator!r}.")
        if "buckets" in given and ("max_size" in given or "min_count" in given):
            raise SchemaError(
                f"{owner}: 'buckets' takes the place of a vocabulary; leave out 'min_count' and "
                "'max_size'."
            )
        return cls(**{key: given[key] for key in RULES if key in given})


RULES = tuple(f.name for f in fields(FieldRule))
