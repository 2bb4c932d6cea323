"""Plain JSON objects, rewritten as lines of fields: most events are such, and are read far quicker.

What is plain: an object of texts without escapes, of numbers without exponents, of true, false and
null. Lists, objects and escapes are left to the readers of all JSON, and so is all that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["Flat"]

#: Ends a field: no JSON text holds it but by an escape.
FIELD, LINE = 0x1F, 0x0A
#: Digits of a number that has as many when it is read and written again.
DIGITS = 15
#: The longest number that is taken as it is spelt.
LONGEST = 40
TEXT, NUMBER, ANY = 0, 1, -1

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Flat:
    """Reads the plain ones among payloads.

    Args:
        columns: name → String or Float64.

    Attributes:
        able: whether any payload can be plain. A line of one field could be an empty one, which would
            not count; and a key may need escapes.
    """

    def __init__(self, columns: Mapping[str, pl.DataType]) -> None:
        self._columns, self._out = dict(columns), np.empty(0, np.uint8)
        self.able = len(columns) > 1 and not any(
            kind.is_nested() or json.dumps(name, ensure_ascii=False) != f'"{name}"'
            for name, kind in columns.items()
        )
        keys = [name.encode() for name in columns]
        self._keys = np.frombuffer(b"".join(keys) or b"\0", np.uint8)
        self._ends = np.cumsum([0, *map(len, keys)])
        kinds = [TEXT if kind == pl.String else NUMBER for kind in columns.values()]
        self._kinds = np.array(kinds, np.int64)

    def read(self, data: bytes, lengths: Ints) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
        """Return the columns of the plain ones, and which these are, shape (n,).

        Args:
            data: payloads, a byte between two.
            lengths: of each, without it, shape (n,).
        """
        plain = np.zeros(len(lengths), np.bool_)
        nothing = pl.DataFrame(schema=self._columns)
        if not _is_utf8(data) or not len(lengths):
            return nothing, plain
        most = len(data) + len(lengths) * len(self._columns)
        if len(self._out) < most:
            self._out = np.empty(most, np.uint8)
        out, blob = self._out, np.frombuffer(data, np.uint8)
        size = _rewrite(blob, lengths, self._keys, self._ends, self._kinds, out, plain)
        try:
            frame = pl.read_csv(
                out[:size].tobytes(),
                has_header=False,
                separator=chr(FIELD),
                quote_char=None,
                schema=self._columns,
            )
        except pl.exceptions.PolarsError:
            frame = nothing
        if len(frame) != np.count_nonzero(plain):
            return nothing, np.zeros_like(plain)
        return frame, plain


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@compiled
def _rewrite(
    blob: Bytes,
    lengths: Ints,
    keys: Bytes,
    ends: Ints,
    kinds: Ints,
    out: Bytes,
    plain: NDArray[np.bool_],
) -> int:
    """Write the plain payloads' fields in the columns' order, and return how many bytes that took.

    One function, since calls that hand arrays on take longer than all else here.
    """
    columns, size, start = len(kinds), 0, 0
    first, last = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    # Events have their keys in one order, mostly: the column that a key was of in the last one.
    guesses = np.zeros(64, np.int64)
    for i in range(len(lengths)):
        end = start + lengths[i]
        at, number, good = start, 0, False
        for column in range(columns):
            first[column] = -1
        while at < end and blob[at] == 0x20:
            at += 1
        if at < end and blob[at] == 0x7B:  # {
            at += 1
            while True:
                while at < end and blob[at] == 0x20:
                    at += 1
                if at >= end or blob[at] != 0x22:  # "
                    break
                at += 1
                key = at
                column = guesses[min(number, 63)]
                place, stop = ends[column], ends[column + 1]
                while at < end and place < stop and blob[at] == keys[place]:
                    at, place = at + 1, place + 1
                if place < stop or at >= end or blob[at] != 0x22:
                    while at < end and blob[at] != 0x22 and blob[at] != 0x5C and blob[at] >= 0x20:
                        at += 1
                    if at >= end or blob[at] != 0x22:
                        break
                    column = _column(blob, key, at, keys, ends)
                    if column >= 0:
                        guesses[min(number, 63)] = column
                number += 1
                at += 1
                while at < end and blob[at] == 0x20:
                    at += 1
                if at >= end or blob[at] != 0x3A:  # :
                    break
                at += 1
                while at < end and blob[at] == 0x20:
                    at += 1
                kind = ANY if column < 0 or first[column] >= 0 else kinds[column]
                if at < end and blob[at] == 0x22:
                    at += 1
                    begins = at
                    while at < end and blob[at] != 0x22 and blob[at] != 0x5C and blob[at] >= 0x20:
                        at += 1
                    stops = at
                    if at >= end or blob[at] != 0x22 or kind == NUMBER:
                        break
                    at += 1
                else:
                    begins, stops, at = _unquoted(blob, at, end, kind)
                    if at < 0:
                        break
                if kind != ANY:
                    first[column], last[column] = begins, stops
                while at < end and blob[at] == 0x20:
                    at += 1
                if at < end and blob[at] == 0x2C:  # ,
                    at += 1
                    continue
                good = at < end and blob[at] == 0x7D  # }
                break
            at += 1
            while good and at < end:
                good = blob[at] == 0x20 or blob[at] == 0x09 or blob[at] == 0x0D
                at += 1
        plain[i] = good
        if good:
            for column in range(columns):
                if first[column] >= 0:
                    for byte in range(first[column], last[column]):
                        out[size] = blob[byte]
                        size += 1
                out[size] = FIELD
                size += 1
            out[size - 1] = LINE
        start = end + 1
    return size


@compiled
def _column(blob: Bytes, start: int, stop: int, keys: Bytes, ends: Ints) -> int:
    """Return the column of a key; -1 = of none."""
    for column in range(len(ends) - 1):
        first = ends[column]
        if ends[column + 1] - first == stop - start:
            same = True
            for i in range(stop - start):
                same &= blob[start + i] == keys[first + i]
            if same:
                return column
    return -1


@compiled
def _unquoted(blob: Bytes, at: int, end: int, kind: int) -> tuple[int, int, int]:
    """Return where a value's text begins and ends, and where it itself ends; -1 = it is not plain."""
    if at >= end:
        return -1, -1, -1
    byte = blob[at]
    if byte == 0x2D or 0x30 <= byte <= 0x39:
        return _number(blob, at, end)
    stop = at + 4 + (byte == 0x66)
    if stop > end:
        return -1, -1, -1
    word = (blob[at + 1], blob[at + 2], blob[at + 3])
    if byte == 0x6E and word == (0x75, 0x6C, 0x6C):  # null
        return at, at, stop
    true = byte == 0x74 and word == (0x72, 0x75, 0x65)
    false = byte == 0x66 and word == (0x61, 0x6C, 0x73) and blob[at + 4] == 0x65
    if (true or false) and kind != NUMBER:
        return at, stop, stop
    return -1, -1, -1


@compiled
def _number(blob: Bytes, start: int, end: int) -> tuple[int, int, int]:
    """See :func:`_unquoted`; a number's text has no zeros at its end that tell nothing."""
    at = start + (blob[start] == 0x2D)
    first = at
    while at < end and 0x30 <= blob[at] <= 0x39:
        at += 1
    whole = at - first
    if whole == 0 or (whole > 1 and blob[first] == 0x30):
        return -1, -1, -1
    last = at
    if at < end and blob[at] == 0x2E:
        at += 1
        point = at
        while at < end and 0x30 <= blob[at] <= 0x39:
            at += 1
        if at == point or whole + at - point > DIGITS:
            return -1, -1, -1
        last = at
        while last > point and blob[last - 1] == 0x30:
            last -= 1
        if last == point:
            last -= 1
        elif blob[first] == 0x30 and last - point > 4:
            return -1, -1, -1  # may be below 0.0001, where the house writes an exponent
    if at < end and (blob[at] == 0x65 or blob[at] == 0x45):
        return -1, -1, -1
    if at - start > LONGEST or (blob[start] == 0x2D and last == first + 1 and blob[first] == 0x30):
        return -1, -1, -1  # zero has no sign, as a text
    return start, last, at
