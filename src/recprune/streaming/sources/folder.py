"""Events from a folder of segments: files that appear whole, in the order of their names.

``NAME.jsonl`` (or ``.jsonl.gz``) holds an event a line and is never changed once it is there: write
it under a name that starts with a dot, and rename it. Sub-folders are partitions; a folder without
any is one. Names that start with a dot or an underscore, or end in .tmp or .part, are left alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from recprune.errors import GapError, InputError
from recprune.streaming.lines import Lines
from recprune.streaming.sources.base import MOST_BYTES, Positions, Read
from recprune.streaming.sources.segments import REPAIR, Mark, Piece, Segment

__all__ = ["Folder"]

SUFFIXES = (".jsonl", ".jsonl.gz")
#: A position that there is not.
NOWHERE = ""
#: How a folder without sub-folders calls its one partition.
WHOLE = "all"
NUMBERED = re.compile(r"(.*?)(\d+)")


class Folder:
    """A folder of segments.

    Args:
        path: the folder.
        numbered: whether names end in numbers that count on, so that a missing one is noticed.

    Raises:
        InputError: there is no such folder, or it holds something else beside segments.
    """

    def __init__(self, path: Path, numbered: bool = False) -> None:
        inside = _entries(path)
        folders = sorted(entry.name for entry in inside if entry.is_dir())
        if folders and len(folders) < len(inside):
            raise InputError(
                f"Folder {str(path)!r} has segments beside sub-folders. Partitions are sub-folders: "
                "move the segments into one."
            )
        places = {name: path / name for name in folders} or {WHOLE: path}
        self._logs = {name: _Log(name, place, numbered) for name, place in places.items()}

    @property
    def partitions(self) -> tuple[str, ...]:
        """The sub-folders, as they were at the start."""
        return tuple(self._logs)

    def read(self, partition: str, after: str | None, most: int) -> Read:
        """See :class:`recprune.streaming.sources.base.Source`."""
        return self._logs[partition].read(after, most)

    def waiting(self, partition: str, after: str | None) -> int | None:
        """Return how many events are left, by the bytes that are left and the mean event so far."""
        return self._logs[partition].waiting(after)

    def close(self) -> None:
        """Let go of the files."""
        for log in self._logs.values():
            log.close()


class _Log:
    """The segments of one partition, and the one that is being read."""

    def __init__(self, partition: str, path: Path, numbered: bool) -> None:
        self._partition, self._path, self._numbered = partition, path, numbered
        #: The position that it stands at, the name of its segment, and the segment as it was read.
        self._after: str | None = None
        self._here = ""
        self._segment: Segment | None = None
        self._mean = 0.0
        self._files = self._listed()

    def read(self, after: str | None, most: int) -> Read:
        self._go_to(after)
        pieces, n, size = list[Piece](), 0, 0
        while n < most and size < MOST_BYTES and (self._is_open() or self._next()):
            assert self._segment is not None
            piece = self._segment.take(most - n, MOST_BYTES - size)
            if piece.lines:
                pieces.append(piece)
                n, size = n + len(piece.lines), size + len(piece.lines.data)
            self._mean = self._segment.mean or self._mean
        if pieces:
            self._after = str(pieces[-1].after)
        payloads = Lines.joined([piece.lines for piece in pieces] or [Lines.of([])])
        return Read(payloads, _positions(pieces, n), n < most and size >= MOST_BYTES)

    def waiting(self, after: str | None) -> int | None:
        self._go_to(after)
        files = self._listed()
        left: float = sum(_size(file) for name, file in files.items() if name > self._here)
        if self._segment is not None and self._is_open():
            left += self._segment.bytes_left
        if not left:
            return 0
        return max(1, round(left / self._mean)) if self._mean else None

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
        self._segment, self._here = None, ""

    def _is_open(self) -> bool:
        return self._segment is not None and not self._segment.ended

    def _go_to(self, after: str | None) -> None:
        """Stand where a position is, and make sure that what is before it is what was read."""
        if after == self._after and (self._segment is None or self._segment.is_as_it_was()):
            return
        self.close()
        self._after, self._files = NOWHERE, self._listed()
        if after is not None:
            self._open_at(after)
        self._after = after

    def _open_at(self, after: str) -> None:
        mark = Mark.read(after)
        if mark is None:
            raise InputError(f"{after!r} is no position in a folder of segments.")
        file = self._files.get(mark.name)
        if file is not None:
            self._segment = Segment(self._partition, mark.name, file)
            self._segment.go_to(mark)
            self._mean = self._segment.mean
        elif not mark.ended:
            raise GapError(
                self._partition,
                f"segment {mark.name!r} from event {mark.events + 1:,} on",
                f"The segment is gone from {str(self._path)!r}. {REPAIR}",
            )
        self._here = mark.name

    def _next(self) -> bool:
        """Open the next segment; False = there is none."""
        following = self._following()
        if following is None:
            self._files = self._listed()
            following = self._following()
        if following is None:
            return False
        if self._numbered and self._here:
            self._check_number(following)
        if self._segment is not None:
            self._segment.close()
        file = self._files[following]
        if not file.exists():  # it was compressed since it was listed, or is gone
            file = self._listed().get(following, file)
        self._segment = Segment(self._partition, following, file)
        self._here = following
        return True

    def _following(self) -> str | None:
        return next((name for name in self._files if name > self._here), None)

    def _listed(self) -> dict[str, Path]:
        """Return the segments by name, in order."""
        found: dict[str, Path] = {}
        for entry in sorted(_entries(self._path), key=lambda e: e.name, reverse=True):
            suffix = next((s for s in reversed(SUFFIXES) if entry.name.endswith(s)), None)
            name = entry.name.removesuffix(suffix or "")
            if suffix is None or entry.is_dir() or not name or min(name) <= "#":
                raise InputError(
                    f"{entry.path!r} is no segment: a file whose name ends in {' or '.join(SUFFIXES)} "
                    'and has no blank, !, " or #. Move it away, or let its name start with a dot.'
                )
            found[name] = Path(entry.path)
        for name in found.keys() - self._files.keys() if self._here else ():
            if name <= self._here:
                raise GapError(
                    self._partition,
                    f"segment {name!r}",
                    f"It came after {self._here!r} was read, and sorts before it. Give segments names "
                    "that ascend, such as times, or numbers with leading zeros.",
                )
        return dict(sorted(found.items()))

    def _check_number(self, following: str) -> None:
        here, after = NUMBERED.fullmatch(self._here), NUMBERED.fullmatch(following)
        if here is None or after is None:
            raise InputError(f"Segments {self._here!r} and {following!r} do not end in numbers.")
        if here[1] != after[1] or int(after[2]) != int(here[2]) + 1:
            raise GapError(
                self._partition,
                f"between segments {self._here!r} and {following!r}",
                f"Some are gone from {str(self._path)!r}. {REPAIR}",
            )


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        inside = list(os.scandir(path))
    except OSError as error:
        raise InputError(f"Folder {str(path)!r} cannot be read: {error.strerror}.") from error
    return [
        e
        for e in inside
        if not e.name.startswith((".", "_")) and not e.name.endswith((".tmp", ".part"))
    ]


def _size(file: Path) -> int:
    """Return a file's bytes; 0 of one that went since it was listed."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _positions(pieces: list[Piece], n: int) -> Positions:
    def at(index: int) -> str:
        for piece in pieces:
            if index < len(piece.lines):
                return piece.position(index)
            index -= len(piece.lines)
        raise IndexError(index)

    return Positions(n, at)
