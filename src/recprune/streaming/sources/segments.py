"""One segment of a folder of events, read by blocks and checked against what was read before."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from recprune.errors import GapError
from recprune.streaming.lines import Lines
from recprune.streaming.sources.base import MOST_BYTES

__all__ = ["Mark", "Piece", "Segment"]

#: Bytes that are read at once.
BLOCK = 1 << 20
BLANK = (b"", b"\r")
REPAIR = "Put the segment back as it was, or start from a new state."
MARK = re.compile(r"(?P<name>[^#]+)#(?P<events>\d{12})-(?P<crc>[0-9a-f]{8})(?P<ended>!?)")


class Mark(NamedTuple):
    """A position in a segment.

    Args:
        name: of the segment.
        events: how many of it were read.
        crc: of their bytes: CRC-32, which tells changes that nobody meant to hide.
        ended: whether it has no more.
    """

    name: str
    events: int
    crc: int
    ended: bool

    def __str__(self) -> str:
        return f"{self.name}#{self.events:012}-{self.crc:08x}{'!' * self.ended}"

    @classmethod
    def read(cls, text: str) -> Mark | None:
        """Return the mark that a text is of; None = of none.

        >>> mark = Mark("part-1", 7, 0x1234ABCD, True)
        >>> str(mark), Mark.read(str(mark)) == mark
        ('part-1#000000000007-1234abcd!', True)
        """
        found = MARK.fullmatch(text)
        return found and cls(found[1], int(found[2]), int(found[3], 16), bool(found[4]))


@dataclass(frozen=True)
class Piece:
    """Events that stand one after the other in a segment.

    Args:
        lines: theirs.
        before: where the segment stood before them.
        after: where it stands after them.
    """

    lines: Lines
    before: Mark
    after: Mark

    def position(self, index: int) -> str:
        """Return the position after one of the events."""
        if index == len(self.lines) - 1:
            return str(self.after)
        crc = zlib.crc32(self.lines.until(index + 1).data, self.before.crc)
        return str(Mark(self.before.name, self.before.events + index + 1, crc, False))


class Segment:
    """A segment that is being read.

    Args:
        partition: it is of.
        name: in positions.
        file: that holds it.

    Raises:
        GapError: it cannot be opened.
    """

    def __init__(self, partition: str, name: str, file: Path) -> None:
        self.partition, self.name, self.file = partition, name, file
        self.events = 0
        #: Whether there are no more events.
        self.ended = False
        self._crc, self._held, self._taken = 0, b"", 0
        try:
            self._raw: IO[bytes] = file.open("rb", buffering=0)
        except OSError as error:
            raise self._gap(f"it cannot be opened: {error.strerror}") from error
        self._stream: IO[bytes] = self._raw
        if file.suffix == ".gz":
            self._stream = gzip.GzipFile(fileobj=self._raw)  # type: ignore[assignment]
        self._stamp = _stamp(os.fstat(self._raw.fileno()))

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()
        self._raw.close()

    @property
    def mark(self) -> Mark:
        """Where it was read to."""
        return Mark(self.name, self.events, self._crc, self.ended)

    @property
    def bytes_left(self) -> float:
        """How many bytes of the file were not read, nearly where it is compressed."""
        return self._stamp[1] - self._bytes_read

    @property
    def mean(self) -> float:
        """Bytes of the file that an event takes; 0 = no event was read."""
        return self._bytes_read / self.events if self.events else 0.0

    @property
    def _bytes_read(self) -> float:
        held = len(self._held)
        return self._raw.tell() * self._taken / max(1, self._taken + held)

    def is_as_it_was(self) -> bool:
        """Tell whether the file is still the one that was opened; read to its end, it may be gone."""
        try:
            return _stamp(os.stat(self.file)) == self._stamp
        except FileNotFoundError:
            return self.ended

    def go_to(self, mark: Mark) -> None:
        """Read past the events that were read before.

        Raises:
            GapError: they are not there any more, or others are.
        """
        while self.events < mark.events and not self.ended:
            self.take(min(mark.events - self.events, 1 << 16))
        if self.mark[:3] != mark[:3]:
            raise self._gap(f"its first {mark.events:,} events are not those that were read")
        if self.ended != mark.ended:
            raise self._gap("events were added or cut off since it was read")

    def take(self, most: int, most_bytes: int = MOST_BYTES) -> Piece:
        """Return the events that come next: at most so many, and ending with the one that reaches
        so many bytes; none = there are no more.

        Raises:
            GapError: the segment is cut off, damaged, or has no lines.
        """
        before = self.mark
        parts, n, size = list[Lines](), 0, 0
        while n < most and size < most_bytes and self._fill():
            found = Lines.first(self._held, most - n)
            if size + len(found.data) > most_bytes:
                found = found.until(int(np.searchsorted(found.ends, most_bytes - size - 1)) + 1)
            used = len(found.data)
            self._held = self._held[used:]
            if int(found.lengths.min()) < 2 and any(line in BLANK for line in found):
                found = Lines.of(line for line in found if line not in BLANK)
            self._crc = zlib.crc32(found.data, self._crc)
            parts.append(found)
            n += len(found)
            size += used
            self._taken += used
        self.events += n
        self.ended = not self._more()
        return Piece(Lines.joined(parts or [Lines.of([])]), before, self.mark)

    def _fill(self) -> bool:
        """Hold at least a line; False = there is none."""
        while b"\n" not in self._held:
            block = self._block()
            if not block:
                if self._held.strip():
                    raise self._gap("it ends in the middle of a line: it is cut off")
                return False
            self._held += block
            if len(self._held) > MOST_BYTES:
                raise self._gap(f"it has a line of more than {MOST_BYTES:,} bytes")
        return True

    def _more(self) -> bool:
        """Tell whether events are left, and hold the beginning of the next one."""
        while not self._held.strip():
            block = self._block()
            if not block:
                return False
            self._held += block
        return True

    def _block(self) -> bytes:
        try:
            return self._stream.read(BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            raise self._gap(f"it is damaged or cut off: {error}") from error

    def _gap(self, why: str) -> GapError:
        where = f"event {self.events + 1:,} of segment {self.name!r}"
        return GapError(self.partition, where, f"File {str(self.file)!r}: {why}. {REPAIR}")


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
