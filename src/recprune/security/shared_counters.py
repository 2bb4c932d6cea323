"""Counters that all workers of a machine share: a file in memory, as a storage of ``limits``.

The file is a table of 65,536 slots of 48 bytes, in buckets of eight. A key's hash (BLAKE2b under a
random seed of the file's own, so that nobody can aim at a bucket) says where it lives. Its slot
holds the counts of this window and of the one before. Room is bounded: a full bucket gives up a
slot that is over, or else the one with the fewest counts, so that who is near a limit stays known.

A ``flock`` keeps processes apart; the kernel lifts it when a process dies, however it dies. A
process that was stopped while it held the lock holds up others for 20 ms; then they count without
it, and may lose counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport

from recprune.errors import InputError

__all__ = ["SharedCounters", "Spot"]

#: Magic, slots, seed.
HEADER = struct.Struct("<8sQ16s")
MAGIC = b"rpcount1"
START = 64
#: Hash of the key, end (Unix seconds), number of the window, counts of the last one and this one.
SLOT = struct.Struct("<16sdqQQ")
REST = struct.Struct("<dqQQ")
WAYS = 8
BUCKET = WAYS * SLOT.size
#: Seconds to wait for a lock, and for which it is not asked for after that was in vain.
PATIENCE, SULK = 0.02, 1.0
REMEMBERED = 8192


class Spot(NamedTuple):
    """Where a key is counted: its hash, its bucket's place; and its limit within some seconds."""

    digest: bytes
    bucket: int
    limit: int
    expiry: int


class SharedCounters(Storage, SlidingWindowCounterSupport):
    """A storage for the fixed and sliding windows of ``limits``.

    Args:
        file: made if it is not there; its folder must be.
        slots: callers and addresses that it has room for, a multiple of 8.

    Raises:
        InputError: it cannot be made, for instance since the disk is full.
    """

    STORAGE_SCHEME = None

    def __init__(self, file: Path, slots: int = 65_536) -> None:
        super().__init__()
        self._file, self._slots = Path(file), slots
        self._thread = threading.Lock()
        #: How often a lock was not to be had in time.
        self.unlocked = 0
        self._sulks_until = 0.0
        self._open()

    def _open(self) -> None:
        """Map the file; once a process, since a lock taken before a fork is the parent's too."""
        self._pid = os.getpid()
        try:
            self._handle = _table(self._file, self._slots)
            self._map = mmap.mmap(self._handle, 0)
        except OSError as error:
            raise InputError(
                f"The counters {str(self._file)!r} cannot be made: {error.strerror}."
            ) from error
        _, slots, self._seed = HEADER.unpack_from(self._map)
        self._buckets = slots // WAYS
        self._place = functools.lru_cache(REMEMBERED)(self._placed)

    def _placed(self, key: str) -> tuple[bytes, int]:
        """Return a key's hash, and where its bucket begins."""
        digest = hashlib.blake2b(
            key.encode(errors="surrogatepass"), digest_size=16, key=self._seed
        ).digest()
        return digest, START + int.from_bytes(digest[:8], "little") % self._buckets * BUCKET

    def _find(self, digest: bytes, bucket: int) -> int:
        at = self._map.find(digest, bucket, bucket + BUCKET)
        return at if at < 0 or (at - bucket) % SLOT.size == 0 else -1

    def _free(self, bucket: int, now: float) -> int:
        """Return the slot to give up: one that is over, or else that with the fewest counts."""
        least, chosen = 1 << 70, bucket
        for at in range(bucket, bucket + BUCKET, SLOT.size):
            _, ends, _, previous, current = SLOT.unpack_from(self._map, at)
            if ends <= now:
                return at
            if previous + current < least:
                least, chosen = previous + current, at
        return chosen

    def _lock(self) -> None:
        self._thread.acquire()
        try:
            if self._pid != os.getpid():
                self._open()
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait()
        except BaseException:
            self._thread.release()  # or whoever counts next waits for ever
            raise

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._sulks_until < time.monotonic() < until:
            time.sleep(0.0001)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return
        self.unlocked += 1
        if time.monotonic() >= until:
            self._sulks_until = time.monotonic() + SULK

    def _unlock(self) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        self._thread.release()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock()
        try:
            yield
        finally:
            self._unlock()

    def spot(self, key: str, limit: int, expiry: int) -> Spot:
        """Return where a key is counted, for :meth:`take`; good as long as the process lives."""
        return Spot(*self._place(key), limit, expiry)

    def full(self, spots: Sequence[Spot], amount: int = 1) -> int:
        """Return the position of the first window that has no room for ``amount``, or -1.

        Counts nothing and takes no lock: what is counted meanwhile may be seen or not.
        """
        return self._full(spots, amount, time.time(), [])

    def take(self, spots: Sequence[Spot], amount: int = 1) -> int:
        """Count ``amount`` in all of these sliding windows, or in none if one has no room.

        One lock for all, and a count that one window refuses does not burden the others.

        Returns:
            position of the first that has no room, or -1.
        """
        now = time.time()
        fresh: list[tuple[int, Spot, int, int, int]] = []
        self._lock()
        try:
            full = self._full(spots, amount, now, fresh)
            if full >= 0:
                return full
            for at, (digest, bucket, _, expiry), window, previous, current in fresh:
                if at < 0:
                    at = self._free(bucket, now)
                ends = (window + 2) * expiry
                SLOT.pack_into(self._map, at, digest, ends, window, previous, current + amount)
            return -1
        finally:
            self._unlock()

    def _full(
        self,
        spots: Sequence[Spot],
        amount: int,
        now: float,
        fresh: list[tuple[int, Spot, int, int, int]],
    ) -> int:
        """See :meth:`full`; what was found on the way goes into ``fresh``, where there was room."""
        for position, spot in enumerate(spots):
            digest, bucket, limit, expiry = spot
            part = now / expiry
            window = int(part)
            at = self._map.find(digest, bucket, bucket + BUCKET)
            if at >= 0 and (at - bucket) % SLOT.size:
                at = -1
            previous, current = self._counts(at, window) if at >= 0 else (0, 0)
            if int(previous * (1 - part + window) + current) + amount > limit:
                return position
            fresh.append((at, spot, window, previous, current))
        return -1

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count ``amount`` unless the weighted count would pass ``limit``; tell whether it did."""
        return self.take([self.spot(key, limit, expiry)], amount) < 0

    def _counts(self, at: int, window: int) -> tuple[int, int]:
        """Return the counts of the window before and of this one."""
        if at < 0:
            return 0, 0
        _, held, previous, current = REST.unpack_from(self._map, at + 16)
        if held == window:
            return previous, current
        # A clock that was set back leaves a window to come: better forgotten than obeyed.
        return (current, 0) if held == window - 1 else (0, 0)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return counts and seconds to live of the window before and of this one; takes no lock."""
        window, part = divmod(time.time() / expiry, 1)
        previous, current = self._counts(self._find(*self._place(key)), int(window))
        return previous, (1 - part) * expiry if previous else 0.0, current, (2 - part) * expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        self.clear(key)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count in a fixed window that begins with the first count; return the count."""
        now = time.time()
        with self._locked():
            digest, bucket = self._place(key)
            at = self._find(digest, bucket)
            ends, count = now + expiry, 0
            if at >= 0:
                kept, _, _, so_far = REST.unpack_from(self._map, at + 16)
                if kept > now:
                    ends, count = kept, so_far
            else:
                at = self._free(bucket, now)
            SLOT.pack_into(self._map, at, digest, ends, 0, 0, count + amount)
            return int(count + amount)

    def get(self, key: str) -> int:
        """Return a fixed window's count."""
        at = self._find(*self._place(key))
        if at < 0:
            return 0
        ends, _, _, count = REST.unpack_from(self._map, at + 16)
        return int(count) if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """Return when a key's counts are over, in seconds of Unix."""
        at = self._find(*self._place(key))
        return float(REST.unpack_from(self._map, at + 16)[0]) if at >= 0 else time.time()

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._locked():
            at = self._find(*self._place(key))
            if at >= 0:
                self._map[at : at + SLOT.size] = bytes(SLOT.size)

    def reset(self) -> int:
        """Forget all keys; return how many there were."""
        with self._locked():
            table = memoryview(self._map)[START:]
            with table:
                known = sum(any(table[i : i + 16]) for i in range(0, len(table), SLOT.size))
                table[:] = bytes(len(table))
        return known

    def check(self) -> bool:
        """Tell whether the file that is counted in is still the one that has its name."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self._file), os.fstat(self._handle))
        return False

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong here, as ``limits`` asks for it."""
        return OSError


def _table(file: Path, slots: int) -> int:
    """Open a table of the right size, or make one; whoever comes at once gets the same."""
    size = START + slots // WAYS * BUCKET
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            if (
                os.fstat(handle).st_size == size
                and os.pread(handle, 16, 0) == HEADER.pack(MAGIC, slots, b"")[:16]
            ):
                return handle
            os.close(handle)
        # Another version's table is not overwritten: its processes may go on counting in it.
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        handle = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # All of it now: a disk that is full later must not end a process that writes to memory.
            os.posix_fallocate(handle, 0, size)
            os.pwrite(handle, HEADER.pack(MAGIC, slots, os.urandom(16)), 0)
            os.rename(fresh, file)
        except OSError:
            os.close(handle)
            fresh.unlink(missing_ok=True)
            raise
        return handle
    finally:
        os.close(folder)
