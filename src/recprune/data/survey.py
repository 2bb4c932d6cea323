"""What a column holds, learned from its batches one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from recprune.data.columns import Content
from recprune.data.frames import as_text
from recprune.data.identifiers import SAMPLE
from recprune.data.infer import SLIPS, coded, numbers_of
from recprune.data.quality import Finding
from recprune.data.source_typed import common_type
from recprune.errors import DataError

__all__ = ["ColumnSurvey"]

LARGEST = np.iinfo(np.int64).max


class ColumnSurvey:
    """The facts that decide how a column is stored, added up over its batches.

    A column of text is numbers if all its values are, or all but one in a hundred: then the rest
    counts as slips, as in :func:`recprune.data.infer.read_column`.

    Args:
        name: of the column.
        from_text: its values are text from a file, whose types are still to be read.
        spelt: keep text as it is spelt: ids, and what is known to be categories.
        rows: that came before, without the column.
    """

    def __init__(self, name: str, from_text: bool, spelt: bool = False, rows: int = 0) -> None:
        self.name, self.from_text, self.spelt = name, from_text, spelt
        self.rows = self.empty = rows
        #: Text values that are numbers; all of them whole, as short, or exact in 32 bits.
        self.numbers = 0
        self.whole = self.short = self.single = True
        #: Whether 64 bits do not hold all of them.
        self.large = False
        self.coded = False
        self.booleans = 0
        #: The first value that is no number, and where it stands.
        self.slip: tuple[str, str] | None = None
        self.dtype: pl.DataType | None = None
        #: Where the type became another one, and which.
        self.turn: tuple[str, pl.DataType, pl.DataType] | None = None
        #: The first values, to see whether they name persons.
        self._sample: list[pl.Series] = []

    def skip(self, rows: int) -> None:
        """Take in rows that lack the column."""
        self.rows += rows
        self.empty += rows

    def nothing(self, rows: int) -> pl.Series:
        """Return a batch of so many rows that lack the column."""
        return pl.Series(self.name, [None] * rows, dtype=self.dtype)

    def add(self, series: pl.Series, place: Callable[[int], str]) -> None:
        """Take the next batch in.

        Args:
            series: plain values.
            place: says where one of the rows comes from.

        Raises:
            DataError: there is no type that holds these values and the earlier ones.
        """
        if series.dtype != self.dtype:
            self._turn(series, place)
        if (room := SAMPLE - sum(map(len, self._sample))) > 0:
            self._sample.append(series.drop_nulls().head(room))
        self.rows += len(series)
        self.empty += series.null_count()
        if series.dtype != pl.String:
            if series.dtype.is_numeric():
                self._measure(series.drop_nulls())
            return
        if not self.from_text or self.spelt or self.coded:
            return
        values = series.drop_nulls()
        numbers = numbers_of(values)
        known = numbers.drop_nulls()
        if not len(known):
            words = values.str.to_lowercase().is_in(["true", "false"])
            self.booleans += int(words.sum())
        if len(known) < len(values) and self.slip is None:
            at = int((numbers_of(series).is_null() & series.is_not_null()).arg_true()[0])
            self.slip = series[at], place(at)
        if len(known):
            self.numbers += len(known)
            self.coded = coded(values)
            whole = values.str.strip_chars().cast(pl.Int64, strict=False)
            if whole.null_count() > numbers.null_count():
                self.whole = False
                self._measure(known)
            else:
                self._measure(whole.drop_nulls())

    def sample(self) -> pl.Series:
        """Return the first values."""
        parts = [self.nothing(0), *(part.cast(self.dtype or part.dtype) for part in self._sample)]
        return pl.concat(parts)

    def _turn(self, series: pl.Series, place: Callable[[int], str]) -> None:
        """Widen the column's type to one that holds the batch's too."""
        old, new = self.dtype, series.dtype
        together = new if old is None else common_type(old, new)
        if together is None:
            raise DataError(
                f"Column {self.name!r} holds {new} from {place(0)} on, but {old} before. Write it with "
                "one type."
            )
        if old is not None and together == pl.String and self.turn is None and pl.Null != old:
            filled = series.is_not_null()
            words = filled & numbers_of(series).is_null() if new == pl.String else filled
            first = (words if words.any() else filled).arg_max() or 0
            self.turn = place(first), old, new
        self.dtype = together

    def _measure(self, values: pl.Series) -> None:
        if values.dtype.is_float():
            self.whole = False
            if self.single:
                back = values.cast(pl.Float32, strict=False).cast(pl.Float64)
                self.single = bool((back.eq_missing(values) | values.is_nan()).all())
            return
        low, high = values.min(), values.max()
        limit = np.iinfo(np.int32)
        if low is not None and high is not None:
            self.large = self.large or int(high) > LARGEST or int(low) < -LARGEST  # type: ignore[arg-type]
            self.short = self.short and limit.min < int(low) and int(high) <= limit.max  # type: ignore[arg-type]
            self.single = self.single and int(low) >= -(2**24) and int(high) <= 2**24  # type: ignore[arg-type]

    def content(self) -> Content:
        """Return what the column is stored as."""
        kind = self.dtype
        assert kind is not None
        if kind == pl.String:
            return self._text_content()
        if kind == pl.Boolean:
            return "boolean"
        if kind == pl.Date:
            return "date"
        if kind == pl.Time or (kind.is_integer() and self.large):
            return "text"
        if kind.is_temporal():
            return "time"
        return "number" if kind.is_float() else "integer"

    def _text_content(self) -> Content:
        values = self.rows - self.empty
        if not self.from_text or self.spelt or not values or self.coded:
            return "text"
        if self.booleans == values:
            return "boolean"
        if self.large or self.numbers < max(1, SLIPS * values):
            return "text"
        return "integer" if self.whole and self.numbers == values else "number"

    def read(self, series: pl.Series) -> pl.Series:
        """Return a batch of the column as its content's values."""
        content = self.content()
        if self.dtype is not None and series.dtype != self.dtype:
            series = series.cast(self.dtype)
        if content == "text" and series.dtype != pl.String:
            return as_text(series)
        if series.dtype != pl.String or content == "text":
            return series
        if content == "boolean":
            words = series.str.to_lowercase()
            return words == "true"
        if content == "integer":
            return series.str.strip_chars().cast(pl.Int64)
        return numbers_of(series)

    def findings(self) -> list[Finding]:
        """Return what was repaired."""
        found = []
        if self.turn is not None:
            where, old, new = self.turn
            action = f"read as text: {old} at first, {new} from {where} on"
            found.append(Finding("mixed", self.name, "warning", self.rows - self.empty, action))
        numbers = (
            self.from_text
            and self.dtype == pl.String
            and self._text_content() in ("integer", "number")
        )
        slips = self.rows - self.empty - self.numbers if numbers else 0
        if slips and self.slip is not None:
            value, where = self.slip
            action = f"read as missing: text among numbers, such as {value!r} in {where}"
            found.append(Finding("mixed", self.name, "warning", slips, action))
        return found
