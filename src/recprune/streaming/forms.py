"""Columns of events as the model's fields: dates taken apart, lists split, vectors of one width.

What is read of an event depends on that event alone, never on those beside it: a date is read as the
service reads one (ISO 8601, or seconds since 1970), and an event whose date or vector cannot be read
is told by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import polars as pl

from recprune.bags import Components
from recprune.bags import Sequence as Bag
from recprune.data.date_fields import part_of
from recprune.dates import DATE_PARTS, DAY, DatePart, date_part
from recprune.encoding import Encoder
from recprune.errors import DataError
from recprune.schema import Field, Kind
from recprune.streaming.columns import values_of
from recprune.streaming.events import ANY

__all__ = ["TYPES", "Forms", "moments"]

#: How the columns of each kind of field are read.
TYPES: Mapping[Kind, pl.DataType] = {
    "categorical": pl.String(),
    "numeric": pl.Float64(),
    "sequence": pl.List(pl.String()),
    "dense": pl.List(pl.Float64()),
}
#: Forms of most dates, read by columns.
ISO = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")
#: Microseconds from 1970 to the year 10,000, and as far back.
FARTHEST = 253_402_300_800_000_000


class Forms:
    """What the fields of a model are read from, and made of it.

    Args:
        encoder: of the model.
        shadows: columns beside, of any kind. One that is called as a part of a date is (``"when.hour"``
            of ``"when"``) is made of that date, where the events do not have it.
    """

    def __init__(self, encoder: Encoder, shadows: Sequence[str] = ()) -> None:
        self._encoder, schema = encoder, encoder.schema
        #: Columns that are read, and how: a list as one text where the model's data had them so.
        self.columns: dict[str, pl.DataType] = {}
        for each in schema.fields:
            part = encoder.parts[each.name]
            split = isinstance(part, Bag) and part.separator
            if each.of is not None:
                self.columns[each.of] = pl.String()
            else:
                self.columns[each.name] = pl.String() if split else TYPES[each.kind]
        self._shadows = {
            n: d for n in shadows if (d := n.rpartition("."))[2] in DATE_PARTS and d[0]
        }
        self.columns |= {name: ANY for name in shadows if name not in self.columns}
        self.columns |= {d[0]: ANY for d in self._shadows.values() if d[0] not in self.columns}
        ages = [f for f in schema.fields if f.part == "age" and f.of != schema.time]
        self._dates = {f.of for f in schema.fields if f.of is not None}
        self._dates |= {schema.time} if ages and schema.time else set()

    def unfit(self, frame: pl.DataFrame) -> Iterator[tuple[str, pl.Series]]:
        """Yield what is wrong, and with which events, shape (n,).

        Args:
            frame: the columns that were read.
        """
        for name in sorted(self._dates & set(frame.columns)):
            wrong = moments(frame[name]).is_null() & frame[name].is_not_null()
            yield f"{name!r} holds no date: ISO 8601, or seconds since 1970", wrong
        for field in self._encoder.schema.fields:
            part = self._encoder.parts[field.name]
            if isinstance(part, Components) and field.name in frame.columns:
                wrong = frame[field.name].list.len() != part.width
                yield f"{field.name!r} is no vector of {part.width} numbers", wrong.fill_null(False)

    def fields(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with a column a field, and the others as they are."""
        known = dict[str, pl.Series]()
        for name in self._dates & set(frame.columns):
            known[name] = moments(frame[name]).cast(pl.Datetime("us"))
        dated = frame.with_columns(known.values())
        fields = self._encoder.schema.fields
        made = [self._values(frame if f.of is None else dated, f) for f in fields]
        return frame.with_columns([*made, *self._derived(frame)])

    def _derived(self, frame: pl.DataFrame) -> Iterator[pl.Series]:
        time = self._encoder.schema.time
        for name, (date, _, part) in self._shadows.items():
            now = moments(frame[time]) if time in frame.columns and time != date else None
            made = part_of(moments(frame[date]), cast(DatePart, part), now).cast(pl.String)
            yield frame[name].fill_null(made)

    def _values(self, frame: pl.DataFrame, field: Field) -> pl.Series:
        part = self._encoder.parts[field.name]
        return values_of(frame, field, part, self._encoder.schema.time)


def moments(texts: pl.Series) -> pl.Series:
    """Return microseconds since 1970, shape (n,); null of what is missing, or no date.

    Args:
        texts: or numbers.

    >>> moments(pl.Series(["1970-01-02", "1970-01-01T01:00:00+01:00", "1.5", "soon", None])).to_list()
    [86400000000, 0, 1500000, None, None]
    """
    texts = texts.cast(pl.String)
    read = [texts.str.to_datetime(form, strict=False, time_unit="us") for form in ISO]
    found = pl.select(pl.coalesce(read).dt.epoch("us")).to_series()
    seconds = (texts.cast(pl.Float64, strict=False) * 1e6).cast(pl.Int64, strict=False)
    found = found.fill_null(seconds)
    rest = texts.filter(found.is_null()).drop_nulls().unique().to_list()
    if rest:
        more = {text: _micros(text) for text in rest}
        found = found.fill_null(texts.replace_strict(more, default=None, return_dtype=pl.Int64))
    return found.set(found.abs() >= FARTHEST, None).alias(texts.name)


def _micros(text: str) -> int | None:
    try:
        days = date_part("age", [text])[0]
    except DataError:
        return None
    return None if days is None else round(days * DAY)
