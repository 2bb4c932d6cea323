"""What a column holds, learned from its batches one after the other."""

from __future__ import annotations

import numpy as np
import polars as pl

from recprune.data.columns import Content
from recprune.data.frames import as_text
from recprune.data.infer import SLIPS, coded, numbers_of
from recprune.data.quality import Finding

__all__ = ["ColumnSurvey"]


class ColumnSurvey:
    """The facts that decide how a column is stored, added up over its batches.

    A column of text is numbers if all its values are, or all but one in a hundred: then the rest
    counts as slips, as in :func:`recprune.data.infer.read_column`.

    Args:
        name: of the column.
        from_text: its values are text from a file, whose types are still to be read.
        spelt: keep text as it is spelt: ids.
    """

    def __init__(self, name: str, from_text: bool, spelt: bool = False) -> None:
        self.name, self.from_text, self.spelt = name, from_text, spelt
        self.rows = self.empty = 0
        #: Text values that are numbers; all of them whole, as short, or exact in 32 bits.
        self.numbers = 0
        self.whole = self.short = self.single = True
        self.coded = False
        self.booleans = 0
        self.slip: str | None = None
        self.dtype: pl.DataType | None = None

    def add(self, series: pl.Series) -> None:
        """Take the next batch in."""
        self.dtype = series.dtype
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
            self.slip = values.filter(numbers.is_null())[0]
        if len(known):
            self.numbers += len(known)
            self.coded = coded(values)
            whole = values.str.strip_chars().cast(pl.Int64, strict=False)
            if whole.null_count() > numbers.null_count():
                self.whole = False
                self._measure(known)
            else:
                self._measure(whole.drop_nulls())

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
        if kind == pl.Time:
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
        if self.numbers < max(1, SLIPS * values):
            return "text"
        return "integer" if self.whole and self.numbers == values else "number"

    def read(self, series: pl.Series) -> pl.Series:
        """Return a batch of the column as its content's values."""
        content = self.content()
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
        numbers = self.dtype == pl.String and self._text_content() in ("integer", "number")
        slips = self.rows - self.empty - self.numbers if numbers else 0
        if not slips:
            return []
        action = f"read as missing: text among numbers, such as {self.slip!r}"
        return [Finding("mixed", self.name, "warning", slips, action)]
