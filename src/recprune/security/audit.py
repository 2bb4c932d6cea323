"""The audit log: who used which key for what, and what was changed, in lines that cannot be forged.

Use of keys is counted and written down every few seconds, a line for all of it; events (a key was
made, a model reloaded, a user forgotten) are written down, and are on the disk, before they happen.
Neither holds ids of users, secrets or whole addresses: an identity of a token stands there as a
keyed hash, an address as its network of 24 (IPv6: 48) bits.

A disk that is full, or a lock that is not to be had, stops no answer: counts are kept, up to 4,096
kinds and the rest as one, and tried again. An event that cannot be written down is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recprune._support import logger
from recprune.errors import InputError, ParameterError
from recprune.security.audit_chain import (
    Mark,
    head_of,
    read_head,
    sealed,
    walk,
    written_head,
)
from recprune.security.callers import Caller, Denied

__all__ = ["Audit", "AuditUnavailable", "Verification", "verify"]

#: Seconds to wait for another process's lock.
PATIENCE = 2.0
#: Kinds of use that are counted apart between two lines, and those of one line.
MOST, A_LINE = 4096, 256
LONGEST_TEXT = 200

Use = tuple[str, str, str]


class AuditUnavailable(Denied):
    """An event could not be written down, and so must not happen (503)."""

    def __init__(self) -> None:
        super().__init__(503, "audit_unavailable", "The audit log cannot be written now.")


class Audit:
    """Writes the audit log of a service; many processes may write one.

    Args:
        file: ``audit.jsonl`` of the state folder; its folder must exist.
        key: the key ``audit``, at least 32 bytes (:func:`recprune.crypto.read_key`).
        interval: seconds between two lines of use.
        waits: is told, on the thread that writes, how many kinds of use wait since a write failed,
            and 0 once they are written down.

    Attributes:
        failures: writes that failed so far.
    """

    def __init__(
        self,
        file: Path,
        key: bytes,
        interval: float = 5.0,
        waits: Callable[[int], None] = lambda kinds: None,
    ) -> None:
        if not interval > 0:
            raise ParameterError.of("interval", "Audit", "a number of seconds > 0", interval)
        self._file, self._key, self.interval = Path(file), key, interval
        self._guard = threading.Lock()
        self._counts: dict[Use, int] = {}
        self._since = time.time()
        self.failures = 0
        self._waits, self._stuck = waits, False

    @property
    def waiting(self) -> int:
        """Kinds of use that are counted and not yet written down."""
        return len(self._counts)

    def event(self, kind: str, **about: str | int | float | bool | None) -> None:
        """Write an event down; when this returns, it is on the disk.

        Args:
            kind: such as ``"key.create"``.
            about: of the event; None = not said. Longer texts are cut to 200 characters.

        Raises:
            AuditUnavailable: it cannot be written down.
        """
        said = {
            name: value[:LONGEST_TEXT] if isinstance(value, str) else value
            for name, value in about.items()
            if value is not None
        }
        try:
            self._append([{"at": _time(time.time()), "kind": kind, **said}], lasting=True)
        except OSError as error:
            self._failed(error)
            raise AuditUnavailable from error

    def count(self, who: str, route: str, outcome: str) -> None:
        """Count one use.

        Args:
            who: of :meth:`name`, or a network.
            route: one of the service's own, never what a stranger wrote.
            outcome: the answer's status, or why there was none.
        """
        use = (who, route, outcome)
        with self._guard:
            counts = self._counts
            if use not in counts and len(counts) >= MOST:
                use = ("others", "others", "others")
            counts[use] = counts.get(use, 0) + 1

    def flush(self) -> bool:
        """Write down what was counted; tell whether nothing is left."""
        with self._guard:
            counts, self._counts = self._counts, {}
            since, self._since = self._since, time.time()
        if not counts:
            return True
        uses = [[*use, n] for use, n in counts.items()]
        about = {"at": _time(time.time()), "kind": "use", "since": _time(since)}
        try:
            self._append(
                [{**about, "uses": uses[i : i + A_LINE]} for i in range(0, len(uses), A_LINE)],
                lasting=False,
            )
        except OSError as error:
            self._failed(error)
            with self._guard:
                self._since = since
                for use, n in self._counts.items():
                    kept = use if use in counts or len(counts) < MOST else ("others",) * 3
                    counts[kept] = counts.get(kept, 0) + n
                self._counts = counts
            self._stuck = True
            self._waits(len(counts))
            return False
        if self._stuck:
            self._stuck = False
            self._waits(0)
        return True

    def name(self, caller: Caller) -> str:
        """Return how the log calls a caller: a key by its id, an identity by a keyed hash."""
        if caller.kind == "jwt":
            told = b"who\0" + caller.id.encode(errors="surrogatepass")
            return "jwt:" + hmac.digest(self._key, told, "sha256").hex()[:16]
        return caller.id

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1 or self.failures % 100 == 0:
            logger.error("The audit log cannot be written: %s.", error.strerror or error)

    def _append(self, records: Sequence[dict[str, Any]], lasting: bool) -> None:
        """Add lines: all of them, or none."""
        with _opened(self._file, os.O_RDWR | os.O_CREAT) as log, self._head() as head:
            size = os.fstat(log).st_size
            point, opening = self._resumed(log, head, size)
            lines = bytearray(opening)
            for record in records:
                line, point = sealed(self._key, point, record)
                lines += line
            try:
                _write(log, lines, size)
                if lasting:
                    os.fsync(log)
                _write(head, written_head(self._key, point), 0)
            except OSError:
                # What is half there is taken back, which needs no room. So are lines without a
                # head, whose first writing may find none: they would look like a head removed.
                with contextlib.suppress(OSError):
                    os.ftruncate(log, size)
                raise
            if lasting:
                os.fsync(head)

    @contextlib.contextmanager
    def _head(self) -> Iterator[int]:
        handle = os.open(head_of(self._file), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)

    def _resumed(self, log: int, head: int, size: int) -> tuple[Mark, bytes]:
        """Return where the log goes on, and the bytes to begin with.

        Usually that is where its head says and none. After a crash, lines may have been written
        that the head does not know, and a half line closed off: a line of the kind ``break`` tells
        its length and hash, so that it stays visible and nobody can claim another to have been it.
        """
        said = os.pread(head, 4096, 0)
        last = read_head(self._key, said)
        if last is not None and last.offset == size:
            return last, b""
        if not said and not size:
            return Mark(), b""
        cut = last is None or last.offset > size
        with os.fdopen(os.dup(log), "rb") as reader:
            found = walk(reader, self._key, Mark() if cut or last is None else last, size)
        closing = b"" if found.whole else b"\n"
        if not found.junk and (not cut or found.point == last):
            return found.point, closing
        about: dict[str, Any] = {"at": _time(time.time()), "kind": "break"}
        if found.junk:
            about["bytes"], about["sha256"] = found.junk, found.junk_hash.hexdigest()
        if last is not None and last.seq > found.point.seq:
            about["expected"] = last.seq
        elif cut:
            about["head"] = "missing" if last is None else "differs"
        start = Mark(size + len(closing), found.point.seq, found.point.mac)
        line, point = sealed(self._key, start, about)
        return point, closing + line


@dataclass(frozen=True)
class Verification:
    """What a check of the log found.

    Args:
        lines: sound lines.
        seal: of the last of them; noted elsewhere, it shows later that nothing was put back.
        torn: lines that a crash had left half; they are told of and no reason for alarm.
        bad: number of the first line that is wrong, None = no line is.
        why: what is wrong, empty = nothing.
    """

    lines: int
    seal: str
    torn: int
    bad: int | None
    why: str

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.why


def verify(file: Path, key: bytes, seal: str | None = None) -> Verification:
    """Check all lines of a log, and that none are missing at its end.

    Found is every line that was changed, inserted, moved or removed, unless log and head were put
    back together to an earlier state; that is found by a seal noted elsewhere in between.

    Args:
        file: the log; writers may go on meanwhile.
        key: under which it was written.
        seal: of a line that has to be there, as an earlier check returned it.

    Raises:
        InputError: there is no such log, or it cannot be read.
    """
    try:
        with _opened(file, os.O_RDONLY) as handle:
            size = os.fstat(handle).st_size
            said = head_of(file).read_bytes() if head_of(file).exists() else b""
        head = read_head(key, said)
        with open(file, "rb") as log:
            wanted = [s for s in (seal, head and head.mac) if s]
            found = walk(log, key, Mark(), size, wanted)
    except OSError as error:
        raise InputError(f"Audit log {str(file)!r} cannot be read: {error.strerror}.") from error
    torn, whole = found.torn, head is not None and head.mac in found.seen
    if found.junk and whole and not found.forged:  # half a line that nobody has closed off yet
        torn += 1
    elif found.junk:
        found.find(found.junk_line, "it is not what was written")
    why = found.why
    if not why and head is None:
        why = "its head file is missing or was changed: lines may be missing at the end"
    if not why and head is not None and not whole:
        why = f"it ends after line {found.point.seq}; there were {head.seq}"
    if not why and seal is not None and seal not in found.seen:
        why = "the line with the seal given is not there: an earlier state was put back"
    return Verification(found.point.seq, found.point.mac, torn, found.bad, why)


@contextlib.contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    """Open a file and have it alone; whoever dies lets go of it."""
    handle = os.open(file, flags | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.002)
        yield handle
    finally:
        os.close(handle)


def _write(handle: int, content: bytes | bytearray, offset: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
