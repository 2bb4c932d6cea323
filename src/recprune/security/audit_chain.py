"""The audit log's form: lines of JSON, each sealed together with the seal of the line before.

A line's last member, ``mac``, is HMAC-SHA-256 under the key ``audit`` of the line before's seal and
the rest of the line. So no line can be changed, removed, inserted or moved without the key. The
file ``….head`` beside the log says, sealed too, where the log ended last: lines that are missing at
the end show by it.

What it cannot show: both files put back together as they once were, and both removed. Who has to
see that, too, notes down elsewhere now and then how far the log was (``verify`` says it). The key
itself must not lie where the log does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Mark", "Walk", "head_of", "read_head", "sealed", "walk", "written_head"]

NOTHING = "0" * 64
SEAL = ',"mac":"'
TAIL = len(SEAL) + 64 + len('"}\n')
#: Bytes of the head file, always, so that writing it anew needs no room.
HEAD = 256
#: Longest line that is one; a longer one is no line of ours.
LONGEST = 1 << 20


@dataclass(frozen=True)
class Mark:
    """How far a log goes: bytes, lines that are sealed, and the last line's seal."""

    offset: int = 0
    seq: int = 0
    mac: str = NOTHING


def sealed(key: bytes, after: Mark, record: dict[str, Any]) -> tuple[bytes, Mark]:
    """Return a record as the line that follows ``after``, and where that ends."""
    body = json.dumps({"seq": after.seq + 1, **record}, separators=(",", ":"))
    mac = _mac(key, f"line\0{after.mac}\0{body}")
    line = f'{body[:-1]}{SEAL}{mac}"}}\n'.encode()
    return line, Mark(after.offset + len(line), after.seq + 1, mac)


class Walk:
    """What was found in a log from one point on.

    Attributes:
        point: the end of the last sound line.
        junk: bytes after it, with ``junk_hash``, a line feed that was missing at the very end
            among them; the first lies in line ``junk_line``.
        forged: whether something among them is more than a crash leaves of a line.
        whole: whether the last line ended with a line feed.
        torn: lines that a crash had left half, and that were closed off since.
        bad: number of the first line that is wrong, or None; ``why`` says what is.
        lines: lines read.
        seen: those of the seals asked for that the log holds.
    """

    def __init__(self, start: Mark) -> None:
        self.point = start
        self.lines = self.junk = self.junk_line = self.torn = 0
        self.junk_hash = hashlib.sha256()
        self.bad: int | None = None
        self.why = ""
        self.whole, self.forged = True, False
        self.seen: set[str] = set()

    def find(self, line: int, why: str) -> None:
        """Note what is wrong, if it is the first."""
        if self.bad is None:
            self.bad, self.why = line, why


def walk(log: BinaryIO, key: bytes, start: Mark, end: int, wanted: Collection[str] = ()) -> Walk:
    """Read a log's lines from ``start`` to the byte ``end`` and check each against its seal.

    Args:
        log: open, in binary.
        wanted: seals to look for.
    """
    found = Walk(start)
    found.seen.update({start.mac} & set(wanted))
    log.seek(start.offset)
    while (left := end - log.tell()) > 0:
        line = log.readline(min(left, LONGEST))
        if not line:
            break
        found.whole = whole = line.endswith(b"\n")
        found.lines += whole
        if not whole and log.tell() == end:  # perhaps all that is missing is the line feed
            line += b"\n"
        record = _record(key, found.point, line)
        if record is None:
            if not found.junk:
                found.junk_line = found.lines + (not whole)
            found.forged = found.forged or _is_whole(line)
            found.junk += len(line)
            found.junk_hash.update(line)
            continue
        offset = found.point.offset + found.junk + len(line)
        _explained(found, record)
        mac = line[-len('"}\n') - 64 : -len('"}\n')].decode()
        found.point = Mark(offset, found.point.seq + 1, mac)
        if mac in wanted:
            found.seen.add(mac)
    return found


def _record(key: bytes, after: Mark, line: bytes) -> dict[str, Any] | None:
    """Return what a line says, if it is the one that follows."""
    try:
        text = line.decode("ascii")
        body = text[:-TAIL] + "}"
        mac = _mac(key, f"line\0{after.mac}\0{body}")
        right = hmac.compare_digest(text[-TAIL:], f'{SEAL}{mac}"}}\n')
        record = json.loads(body) if right else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("seq") == after.seq + 1 else None


def _explained(found: Walk, record: dict[str, Any]) -> None:
    """Hold what lies between two sound lines against what the second says of it."""
    told = record if record.get("kind") == "break" else {}
    pinned = (told.get("bytes"), told.get("sha256")) == (found.junk, found.junk_hash.hexdigest())
    if found.junk and pinned and not found.forged:
        found.torn += 1
    elif found.junk:
        found.find(found.junk_line, "it is not what was written")
    at = found.junk_line if found.junk else found.lines
    if told.get("expected") is not None:
        why = f"lines {record['seq']} to {told['expected']} had gone when it was written"
        found.find(at, why)
    elif told.get("head"):
        found.find(at, "the head file had gone when it was written")
    found.junk, found.junk_hash, found.forged = 0, hashlib.sha256(), False


def _is_whole(line: bytes) -> bool:
    """Tell whether these bytes are all of an object; what a crash leaves of one is not."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def head_of(file: Path) -> Path:
    """Return where the head of a log lies.

    >>> head_of(Path("state/audit.jsonl")).name
    'audit.jsonl.head'
    """
    return file.with_name(f"{file.name}.head")


def written_head(key: bytes, point: Mark) -> bytes:
    """Return the content of a head file."""
    said = json.dumps(asdict(point))
    own = _mac(key, f"head\0{said}")
    return json.dumps({**asdict(point), "own": own}).encode().ljust(HEAD - 1) + b"\n"


def read_head(key: bytes, content: bytes) -> Mark | None:
    """Return the point that a head file names; None where it is not sound."""
    try:
        about = json.loads(content)
        own = about.pop("own")
        point = Mark(**about)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    expected = _mac(key, f"head\0{json.dumps(asdict(point))}")
    return point if hmac.compare_digest(str(own).encode(), expected.encode()) else None


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()
