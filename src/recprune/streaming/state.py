"""What a stream has come to, in one SQLite file: all of a commit is there, or none of it.

Weights, counts, the remembered ids of events, positions in the source, dead letters, alarms and
publications of a commit are one transaction, so that a stream that is killed anywhere goes on from
a moment at which they all agree, and every event counts once. Arrays are kept in pages, of which
a commit writes those that changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import InputError, RunError
from recprune.folders import private_folder

__all__ = ["Commit", "DeadLetter", "Saved", "StreamState", "prefixed", "state_hash", "under"]

Arrays = Mapping[str, NDArray[Any]]

FILE, FORMAT = "stream.sqlite", 1
#: Bytes of an array that are written together.
PAGE = 1 << 18

TABLES = """
create table about (key text primary key, value text not null) without rowid;
create table positions (partition text primary key, position text not null) without rowid;
create table arrays (name text primary key, dtype text not null, shape text not null) without rowid;
create table pages (name text, number integer, data blob not null, primary key (name, number));
create table dead_letters (
    partition text, position text, reason text not null, payload blob not null,
    primary key (partition, position)
);
create table alarms (number integer primary key, event integer not null, kind text not null,
    field text not null, detail text not null);
create table publications (number integer primary key, event integer not null,
    outcome text not null, detail text not null);
"""

RECORDS = {
    "dead_letters": "select * from dead_letters order by partition, position",
    "alarms": "select * from alarms order by number",
    "publications": "select * from publications order by number",
}


@dataclass(frozen=True)
class DeadLetter:
    """An event that cannot be learned from.

    Args:
        partition: of the source.
        position: in it.
        reason: what is wrong.
        payload: its first bytes.
    """

    partition: str
    position: str
    reason: str
    payload: bytes


@dataclass(frozen=True, eq=False)
class Commit:
    """What becomes lasting together.

    Args:
        positions: partition → position of the last event that was read.
        arrays: everything that learning goes on from, by name.
        counts: plain facts, such as how many events counted.
        dead_letters: since the last commit.
        alarms: since then: event, kind, field, detail.
        publications: since then: event, outcome, detail.
    """

    positions: Mapping[str, str]
    arrays: Arrays
    counts: Mapping[str, int]
    dead_letters: Sequence[DeadLetter] = ()
    alarms: Sequence[tuple[int, str, str, Mapping[str, Any]]] = ()
    publications: Sequence[tuple[int, str, Mapping[str, Any]]] = ()


@dataclass(frozen=True, eq=False)
class Saved:
    """What the last commit left: see :class:`Commit`."""

    positions: dict[str, str]
    arrays: dict[str, NDArray[Any]]
    counts: dict[str, int] = field(default_factory=dict)


class StreamState:
    """The state of one stream. One process has it open at a time.

    Args:
        folder: made if it is not there; its owner alone may read it.
        settings: what the state depends on, as plain data: a stream goes on with the same alone, but
            that there may be more names of partitions, ``source``; None = as it was begun.

    Raises:
        InputError: another process has it open, it is of other settings or another format, or no
            state at all.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None) -> None:
        private_folder(folder)
        self.folder, self._pages = folder, dict[str, list[bytes]]()
        try:
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise _unopened(folder / "lock", error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(
                f"Another stream has the state {str(folder)!r} open. Stop it, or name another --state."
            ) from None
        try:
            self._file = _opened(folder / FILE)
            given = None if settings is None else json.loads(json.dumps(dict(settings)))
            about = self._check(given)
            #: Of all arrays of the last commit; empty = there was none.
            self.hash: str = about.get("hash", "")
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> StreamState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others open it."""
        self._file.close()
        self._lock.close()

    def saved(self) -> Saved | None:
        """Return what the last commit left; None = there was none.

        Raises:
            InputError: pages are missing or damaged.
        """
        try:
            return self._saved()
        except (sqlite3.DatabaseError, ValueError) as error:
            raise self._damaged() from error

    def _saved(self) -> Saved | None:
        about = dict(self._file.execute("select key, value from about"))
        if "hash" not in about:
            return None
        arrays = {}
        for name, dtype, shape in self._file.execute("select name, dtype, shape from arrays"):
            rows = self._file.execute(
                "select data from pages where name = ? order by number", (name,)
            )
            pages = [bytes(data) for (data,) in rows]
            self._pages[name] = [_hash(page) for page in pages]
            whole = np.frombuffer(bytearray(b"".join(pages)), np.dtype(dtype))
            arrays[name] = whole.reshape(json.loads(shape))
        self.hash = state_hash(arrays)
        if self.hash != about["hash"]:
            raise self._damaged()
        positions = dict(self._file.execute("select partition, position from positions"))
        return Saved(positions, arrays, json.loads(about["counts"]))

    def commit(self, made: Commit) -> None:
        """Make it lasting, whole or not at all.

        Raises:
            RunError: it could not be written, as on a full disk; the last commit is as it was.
        """
        if self.hash and not self._pages:
            self.saved()  # which pages are there already
        known = {name: list(hashes) for name, hashes in self._pages.items()}
        try:
            with self._transaction() as file:
                for name, array in made.arrays.items():
                    known[name] = _write(file, name, array, known.get(name, []))
                for name in known.keys() - made.arrays.keys():
                    file.execute("delete from arrays where name = ?", (name,))
                    file.execute("delete from pages where name = ?", (name,))
                    del known[name]
                file.executemany(
                    "insert or replace into positions values (?, ?)", made.positions.items()
                )
                file.executemany(
                    "insert or replace into dead_letters values (?, ?, ?, ?)",
                    [(d.partition, d.position, d.reason, d.payload) for d in made.dead_letters],
                )
                file.executemany(
                    "insert into alarms (event, kind, field, detail) values (?, ?, ?, ?)",
                    [(*alarm, json.dumps(detail)) for *alarm, detail in made.alarms],
                )
                file.executemany(
                    "insert into publications (event, outcome, detail) values (?, ?, ?)",
                    [(*each, json.dumps(detail)) for *each, detail in made.publications],
                )
                hashed = _hash_of({n: (made.arrays[n], known[n]) for n in known})
                about = {"counts": json.dumps(dict(made.counts)), "hash": hashed}
                file.executemany("insert or replace into about values (?, ?)", about.items())
        except sqlite3.Error as error:
            raise RunError(
                f"The stream's state in {str(self.folder)!r} could not be written: {error}. What was "
                "committed before is as it was; make room and start the stream again."
            ) from error
        self._pages, self.hash = known, hashed

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all dead letters, alarms or publications, in order, as records."""
        found = self._file.execute(RECORDS[table])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def replace(self, arrays: Arrays) -> None:
        """Put arrays in the place of those of the last commit, whose positions and counts stay."""
        saved = self.saved()
        assert saved is not None
        self.commit(Commit(saved.positions, arrays, saved.counts))

    def remove_dead_letters(self, places: Sequence[tuple[str, str]]) -> None:
        """Forget dead letters, by partition and position."""
        with self._transaction() as file:
            file.executemany(
                "delete from dead_letters where partition = ? and position = ?", places
            )

    def scrub(self) -> None:
        """Leave nothing of what was removed in the file, nor in the log beside it."""
        self._file.execute("pragma wal_checkpoint(truncate)")
        self._file.execute("vacuum")
        self._file.execute("pragma wal_checkpoint(truncate)")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._file.execute("begin immediate")
        try:
            yield self._file
            self._file.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._file.execute("rollback")
            raise

    def _check(self, settings: Any) -> dict[str, str]:
        try:
            about = dict(self._file.execute("select key, value from about"))
            if not about and settings is not None:
                with self._transaction() as file:
                    given = {"format": str(FORMAT), "settings": json.dumps(settings)}
                    file.executemany("insert into about values (?, ?)", given.items())
                return {}
        except sqlite3.Error as error:
            raise self._damaged() from error
        if about.get("format") != str(FORMAT):
            raise InputError(
                f"The stream's state in {str(self.folder)!r} is of format {about.get('format')}; this "
                f"version writes {FORMAT}. Begin anew with another --state."
            )
        before = json.loads(about["settings"])
        if settings is None:
            settings = before
        # More partitions are the same source: those that there were go on where they were.
        grown = set(before.get("source", ())) < set(settings.get("source", ()))
        if grown:
            before["source"] = settings["source"]
        changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
        if changed:
            what = "; ".join(
                f"{k} was {before.get(k)!r} and is {settings.get(k)!r}" for k in changed
            )
            raise InputError(
                f"The stream's state in {str(self.folder)!r} was begun otherwise: {what}. Go on as it "
                "was begun, or begin anew with another --state."
            )
        if grown:
            with self._transaction() as file:
                file.execute(
                    "update about set value = ? where key = 'settings'", (json.dumps(settings),)
                )
        return about

    def _damaged(self) -> InputError:
        return InputError(
            f"The stream's state in {str(self.folder)!r} is damaged. Restore it from a copy, or begin "
            "anew with another --state."
        )


def prefixed(part: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return a part's arrays by names that say whose they are."""
    return {f"{part}/{name}": np.asarray(array) for name, array in arrays.items()}


def under(part: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the arrays that :func:`prefixed` named so, by their own names."""
    prefix = f"{part}/"
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def state_hash(arrays: Arrays) -> str:
    """Return a hash of arrays by name: equal hashes, equal bytes."""
    return _hash_of({n: (a, [_hash(p) for p in _pages(a)]) for n, a in arrays.items()})


def _hash_of(arrays: Mapping[str, tuple[NDArray[Any], list[bytes]]]) -> str:
    digest = hashlib.sha256()
    for name, (array, pages) in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}:{len(pages)};".encode())
        digest.update(b"".join(pages))
    return digest.hexdigest()


def _hash(page: bytes | memoryview) -> bytes:
    return hashlib.sha256(page).digest()


def _pages(array: NDArray[Any]) -> Iterator[memoryview]:
    data = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    for start in range(0, len(data), PAGE):
        yield data[start : start + PAGE]


def _write(
    file: sqlite3.Connection, name: str, array: NDArray[Any], before: list[bytes]
) -> list[bytes]:
    """Write the pages of an array that are new, and return the hashes of all."""
    shape = json.dumps(list(array.shape))
    file.execute("insert or replace into arrays values (?, ?, ?)", (name, array.dtype.str, shape))
    hashes = []
    for number, page in enumerate(_pages(array)):
        hashes.append(_hash(page))
        if number >= len(before) or before[number] != hashes[-1]:
            file.execute("insert or replace into pages values (?, ?, ?)", (name, number, page))
    if len(before) > len(hashes):
        file.execute("delete from pages where name = ? and number >= ?", (name, len(hashes)))
    return hashes


def _opened(path: Path) -> sqlite3.Connection:
    new = not path.exists()
    try:
        if new:
            path.touch(mode=0o600)
        file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        tables = {name for (name,) in file.execute("select name from sqlite_master")}
        if tables and "about" not in tables:
            raise sqlite3.DatabaseError("it is a database of another program")
        file.execute("pragma journal_mode = wal")
        file.execute("pragma synchronous = full")
        # Who was forgotten is not to be found in pages that are free.
        file.execute("pragma secure_delete = on")
        if not tables:
            file.executescript(f"begin; {TABLES} commit;")
        return file
    except (sqlite3.Error, OSError) as error:
        raise _unopened(path, error) from error


def _unopened(path: Path, error: Exception) -> InputError:
    why = getattr(error, "strerror", None) or error
    return InputError(
        f"{str(path)!r} cannot be opened as the state of a stream: {why}. Name another --state."
    )
