"""A first look at the bytes of many events, before they are read as one block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.streaming.lines import Lines
from recprune.streaming.one_event import DEEPEST, LARGEST

__all__ = ["ALONE", "CHECK", "joined", "screened"]

#: To be read by itself: a block cannot hold it, or would read it otherwise.
ALONE = 1
#: Its texts are to be looked at: one may be what the block's reader made of a list or a number.
CHECK = 2


def screened(data: bytes, lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return how each payload may be read, :data:`ALONE`, :data:`CHECK` or 0, shape ``(n,)``.

    Args:
        data: the payloads, a line feed between two.
        lengths: of each, without it, shape ``(n,)``.
    """
    flags = np.zeros(len(lengths), np.uint8)
    _screen(np.frombuffer(data, np.uint8), lengths, flags)
    return flags


def joined(payloads: Sequence[bytes]) -> tuple[bytes, NDArray[np.int64]]:
    """Return payloads with a line feed between two, and the length of each, shape ``(n,)``."""
    if isinstance(payloads, Lines):
        return payloads.data[:-1], payloads.lengths
    return b"\n".join(payloads), np.fromiter(map(len, payloads), np.int64, len(payloads))


@compiled
def _screen(blob: NDArray[np.uint8], lengths: NDArray[np.int64], flags: NDArray[np.uint8]) -> None:
    start = 0
    for i in range(len(lengths)):
        end = start + lengths[i]
        if lengths[i] > LARGEST:
            flags[i] = ALONE
        else:
            flags[i] = _look(blob, start, end)
        start = end + 1


@compiled
def _look(blob: NDArray[np.uint8], start: int, end: int) -> int:
    brackets, check, at = 0, 0, start
    while at < end:
        byte = blob[at]
        at += 1
        if byte == 0x5C:  # \: a surrogate, \ud800 to \udfff, of which Polars takes halves
            if at + 2 < end and blob[at] == 0x75 and (blob[at + 1] | 0x20) == 0x64:
                third = blob[at + 2] | 0x20
                if third == 0x38 or third == 0x39 or third >= 0x61:
                    return ALONE
            at += 1
        elif byte == 0x0A:
            return ALONE
        elif byte == 0x7B or byte == 0x5B:  # { [
            brackets += 1
            check |= brackets > 1
        if byte == 0x3A or byte == 0x2C or byte == 0x5B:  # : , [
            while at < end and (blob[at] == 0x20 or blob[at] == 0x09 or blob[at] == 0x0D):
                at += 1
            if at < end and (blob[at] == 0x2D or 0x30 <= blob[at] <= 0x39):
                check |= _spelt_otherwise(blob, at, end)
    if brackets == 0 or brackets > DEEPEST:
        return ALONE
    return CHECK if check else 0


@compiled
def _spelt_otherwise(blob: NDArray[np.uint8], at: int, end: int) -> bool:
    """Tell whether Polars may spell a number as text otherwise than the house does: with an
    exponent, below 0.0001, from 10¹⁶ up with a point, or zero with a sign.
    """
    minus = blob[at] == 0x2D
    at += minus
    whole, zeros, point, only_zeros = 0, 0, False, True
    while at < end:
        byte = blob[at]
        if byte == 0x2E:
            point = True
        elif byte == 0x65 or byte == 0x45:
            return True
        elif 0x30 <= byte <= 0x39:
            if byte != 0x30:
                only_zeros = False
            if not point:
                whole += 1
            elif only_zeros:
                zeros += 1
        else:
            break
        at += 1
    return (minus and only_zeros) or zeros >= 4 or (point and whole >= 16)
