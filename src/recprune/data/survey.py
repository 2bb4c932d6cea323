"""What a column holds, learned from its batches one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.columns import Content
from recprune.data.frames import as_text
from recprune.data.identifiers import SAMPLE
from recprune.data.infer import SLIPS, coded, numbers_of
from recprune.data.nested import is_vector, lengths_of, read_dense, read_sequence
from recprune.data.quality import Finding
from recprune.data.source_typed import common_type
from recprune.errors import DataError
from recprune.schema import Kind

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
        #: Text values that are numbers, and whether all of them are whole.
        self.numbers = 0
        self.whole = True
        #: Whether 64 bits do not hold all of them.
        self.large = False
        self.coded = False
        self.booleans = 0
        #: Lengths of lists, and what the schema says that they are.
        self.lengths: set[int] = set()
        self.kind: Kind | None = None
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

    def begin(self, series: pl.Series, place: Callable[[int], str]) -> None:
        """Take the next batch in, but for what its texts say.

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
        if series.dtype.is_numeric():
            self._measure(series.drop_nulls())
        elif series.dtype.is_nested():
            self.lengths |= lengths_of(series)

    @property
    def typed(self) -> bool:
        """Whether what the texts are is still to be read from them."""
        return self.from_text and not self.spelt and self.dtype == pl.String

    def guess(self) -> Content | None:
        """Return what the values so far are likely to be stored as; None = there are none."""
        if self.rows == self.empty:
            return None
        if not self.typed:
            return self.content()
        texts = self.sample()
        numbers = numbers_of(texts)
        if coded(texts) or len(numbers.drop_nulls()) < SLIPS * len(texts):
            return "text"
        return "integer" if _whole(texts).null_count() == 0 else "number"

    def parse(self, series: pl.Series, read: pl.Series, place: Callable[[int], str]) -> pl.Series:
        """Return the numbers of a batch of texts, whole ones as integers, and learn what they are.

        Args:
            series: the texts.
            read: the same cast to integers or numbers, null where that failed.
            place: says where one of the rows comes from.
        """
        numbers = read
        if read.null_count() > series.null_count():
            whole = _whole(series)
            numbers = whole if whole.null_count() == series.null_count() else numbers_of(series)
        self.whole = self.whole and numbers.dtype.is_integer()
        self._measure(numbers.drop_nulls())
        known = len(series) - numbers.null_count()
        self.numbers += known
        if self.slip is None and known < len(series) - series.null_count():
            at = int((numbers.is_null() & series.is_not_null()).arg_true()[0])
            self.slip = series[at], place(at)
        # What was read as it stands begins with a digit or a sign: few texts need a closer look.
        odd = series.filter(series < "1") if numbers is read else series
        self.coded = self.coded or coded(odd.filter(odd != "0"))
        return numbers

    def weigh(
        self, texts: pl.Series, counts: NDArray[np.int64], place: Callable[[int], str]
    ) -> None:
        """Learn what texts are from each different one.

        Args:
            texts: different texts in the order in which they came.
            counts: how often each came.
            place: says where one of them came first.
        """
        numbers = numbers_of(texts)
        known = numbers.is_not_null().to_numpy()
        self.numbers = int(counts[known].sum())
        words = texts.str.to_lowercase().is_in(["true", "false"]).to_numpy()
        self.booleans = int(counts[words].sum())
        if not known.any():
            return
        self.coded = coded(texts)
        if not known.all():
            at = int(np.argmin(known))
            self.slip = texts[at], place(at)
        whole = _whole(texts)
        self.whole = whole.null_count() == numbers.null_count()
        self._measure((whole if self.whole else numbers).drop_nulls())

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
            return
        low, high = values.min(), values.max()
        if low is not None and high is not None:
            self.large = self.large or int(high) > LARGEST or int(low) < -LARGEST  # type: ignore[arg-type]

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
        if kind.is_nested():
            return "vector" if is_vector(kind, self.lengths, self.kind) else "list"
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

    def read(self, series: pl.Series, content: Content) -> pl.Series:
        """Return a batch of the column as a content's values."""
        if self.dtype is not None and series.dtype != self.dtype:
            series = series.cast(self.dtype)
        if content == "list":
            return read_sequence(series)
        if content == "vector":
            return read_dense(series)
        if content == "text" and series.dtype != pl.String:
            return as_text(series)
        if series.dtype != pl.String or content == "text":
            return series
        if content == "boolean":
            words = series.str.to_lowercase()
            return words == "true"
        if content == "integer":
            return _whole(series)
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


def _whole(texts: pl.Series) -> pl.Series:
    """Return texts as whole numbers, with null for what is none."""
    plain = texts.cast(pl.Int64, strict=False)
    if plain.null_count() == texts.null_count():
        return plain
    return texts.str.strip_chars().cast(pl.Int64, strict=False)
