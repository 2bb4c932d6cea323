"""API keys: 256 random bits each, shown once; what is stored cannot be turned back into them.

The file holds, of each key, its id, name, scopes and dates, and HMAC-SHA-256 of its secret under
the ``pepper``. A slow hash would protect nothing more: there is no list of likely secrets of 256
bits, and at 160 ms a request it would be an attack on the service itself. What is stored is
authenticated by the pepper too, so that whoever can write the file, but has no pepper, can remove
keys and put an older file back, yet neither add a key nor a scope nor time.

One writer at a time (``flock``) replaces the file by a rename; every process sees it at its next
request.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from recprune.errors import InputError, ParameterError, nearest
from recprune.folders import file_written_whole, private_folder
from recprune.security.callers import Caller, Denied
from recprune.security.watched import Watched

__all__ = ["SCOPES", "ApiKey", "KeyStore", "Recorder"]

#: What a key can be good for: scoring, recommending, and running the service.
SCOPES = ("score", "recommend", "admin")

FORMAT = "recprune-keys"
TOKEN = re.compile(r"rk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: Longest name of a key, and most keys of a file.
LONGEST_NAME, MOST_KEYS = 80, 10_000
#: Stands in for the hash of a key that does not exist, so that asking for one takes as long.
NOBODY = bytes(32)


class Recorder(Protocol):
    """What writes down events, such as :class:`~recprune.security.Audit`."""

    def event(self, kind: str, **about: str | int | float | bool | None) -> None:
        """Write an event down, or raise."""


@dataclass(frozen=True)
class ApiKey:
    """What may be known of a key; times in seconds of Unix.

    Args:
        id: twelve hexadecimal digits, part of the token and of the logs.
        name: what people call it.
        scopes: what it may do.
        created: when.
        expires: when it ends; None = never.
        revoked: when it was revoked; None = it was not.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None = None
    revoked: int | None = None

    def state(self, now: float) -> str:
        """Return ``"valid"``, ``"expired"`` or ``"revoked"``."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"


@dataclass(frozen=True)
class _Stored:
    key: ApiKey
    digest: bytes
    caller: Caller
    #: What the file says of it, as it stands there.
    record: dict[str, Any]
    genuine: bool


class KeyStore:
    """The keys of a service, in one file that all its processes read.

    Args:
        file: ``keys.json`` of the state folder; it need not exist.
        pepper: the key ``pepper``, at least 32 bytes (:func:`recprune.crypto.read_key`).
        audit: writes down what changes, before it does; None = nothing is written down.
    """

    def __init__(self, file: Path, pepper: bytes, audit: Recorder | None = None) -> None:
        self._file, self._pepper, self._audit = Path(file), pepper, audit
        nothing: dict[str, _Stored] = {}
        self._watched = Watched(self._file, self._parsed, nothing)

    def create(
        self, name: str, scopes: Iterable[str], expires: float | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key and return it with its token, which is stored nowhere.

        Args:
            name: 1 to 80 printable characters; two keys may share one.
            scopes: of :data:`SCOPES`, at least one.
            expires: when it ends, in seconds of Unix; None = never.

        Raises:
            ParameterError: a name, a scope or a time that cannot be.
            InputError: the file cannot be read or written.
        """
        now = time.time()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise ParameterError.of("name", "create", "1 to 80 printable characters", name)
        if expires is not None and not now < expires < 1e11:
            raise ParameterError.of("expires", "create", "a time to come, or None", expires)
        ends = None if expires is None else int(expires)
        with self._changing() as stored:
            return self._added(stored, ApiKey("", name, _known(scopes), int(now), ends))

    def list(self) -> list[ApiKey]:
        """Return all keys, the oldest first.

        Raises:
            InputError: the file cannot be read, or not all of it was written under this pepper.
        """
        return [s.key for s in self._all().values()]

    def revoke(self, id: str) -> ApiKey:
        """End a key at once, in every process; ending it again changes nothing.

        Raises:
            InputError: there is no such key, or the file cannot be read or written.
        """
        with self._changing() as stored:
            ended = _found(stored, id)
            if ended.key.revoked is None:
                self._put(stored, replace(ended.key, revoked=int(time.time())), ended.digest)
                self._record("key.revoke", id)
            return stored[id].key

    def rotate(self, id: str, overlap: float = 86400.0) -> tuple[ApiKey, str]:
        """Make a key like another, which goes on for a while; return the new one and its token.

        Args:
            id: of the key to be replaced.
            overlap: seconds for which both are valid, ≥ 0.

        Raises:
            ParameterError: a negative overlap.
            InputError: there is no such key or it is over, or the file cannot be read or written.
        """
        if not 0 <= overlap < 1e10:
            raise ParameterError.of("overlap", "rotate", "a number of seconds ≥ 0", overlap)
        now = time.time()
        with self._changing() as stored:
            old = _found(stored, id)
            state = old.key.state(now)
            if state != "valid":
                raise InputError(f"Key {id!r} is {state} and has no successor. Create a new one.")
            ends = min(int(now + overlap), old.key.expires or 2**60)
            self._put(stored, replace(old.key, expires=ends), old.digest)
            fresh = replace(old.key, created=int(now))
            if fresh.expires is not None:  # as long again as the old one was meant to last
                fresh = replace(fresh, expires=int(now) + fresh.expires - old.key.created)
            return self._added(stored, fresh, instead_of=id)

    def verify(self, token: str, now: float | None = None) -> Caller:
        """Return the caller whose token this is.

        Takes equally long for a key that does not exist, and compares in constant time.

        Raises:
            Denied: 401, ``"invalid_credentials"`` (of no key), ``"expired"`` or ``"revoked"``;
                503 where the file cannot be read.
        """
        found = TOKEN.fullmatch(token)
        if found is None:
            raise _invalid()
        try:
            stored = self._watched.get().get(found[1])
        except (OSError, InputError) as error:
            raise Denied(503, "keys_unavailable", "The keys cannot be read now.") from error
        digest = NOBODY if stored is None else stored.digest
        if not hmac.compare_digest(digest, self._hash(found[1], found[2])):
            raise _invalid()
        if stored is None or not stored.genuine:
            raise _invalid()
        key = stored.key
        if key.revoked is not None:
            raise Denied(401, "revoked", "This key was revoked.")
        if key.expires is not None and (time.time() if now is None else now) >= key.expires:
            raise Denied(401, "expired", "This key has expired.")
        return stored.caller

    def _added(
        self, stored: dict[str, _Stored], key: ApiKey, instead_of: str | None = None
    ) -> tuple[ApiKey, str]:
        if len(stored) >= MOST_KEYS:
            raise InputError(f"There are {MOST_KEYS} keys, the most that one service can have.")
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        while id in stored:
            id = secrets.token_hex(6)
        key = replace(key, id=id)
        self._put(stored, key, self._hash(id, secret))
        self._record("key.create", id, scopes=" ".join(key.scopes), instead_of=instead_of)
        return key, f"rk_{id}_{secret}"

    def _record(self, kind: str, id: str, **about: str | None) -> None:
        if self._audit is not None:
            self._audit.event(kind, key=id, **about)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, _Stored]]:
        """Yield the keys by id, alone; what they are afterwards is what the file says next."""
        private_folder(self._file.parent)
        lock = os.open(
            self._file.with_name(f"{self._file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stored = dict(self._all(fresh=True))
            yield stored
            about = {"format": FORMAT, "version": 1, "keys": [s.record for s in stored.values()]}
            with file_written_whole(self._file) as partial:
                handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(handle, "w", encoding="utf-8") as out:
                    json.dump(about, out, indent=1)
            _synced(self._file.parent)
        finally:
            os.close(lock)

    def _all(self, fresh: bool = False) -> dict[str, _Stored]:
        nothing: dict[str, _Stored] = {}
        watched = Watched(self._file, self._parsed, nothing) if fresh else self._watched
        try:
            stored = watched.get()
        except OSError as error:
            raise InputError(
                f"Keys {str(self._file)!r} cannot be read: {error.strerror}."
            ) from error
        strange = [id for id, s in stored.items() if not s.genuine]
        if strange:
            raise InputError(
                f"Key {strange[0]!r} in {str(self._file)!r} was written under another pepper, or "
                f"was changed since ({len(strange)} of {len(stored)}). Give the pepper it was "
                "written under, or restore the file."
            )
        return stored

    def _parsed(self, content: bytes) -> dict[str, _Stored]:
        try:
            about = json.loads(content)
            if about["format"] != FORMAT or about["version"] != 1:
                raise ValueError
            return {r["id"]: self._of(r) for r in about["keys"]}
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"File {str(self._file)!r} is no sound list of keys.") from error

    def _of(self, record: dict[str, Any]) -> _Stored:
        said = {name: value for name, value in record.items() if name != "mac"}
        genuine = hmac.compare_digest(str(record["mac"]).encode(), self._mac(said).encode())
        digest = bytes.fromhex(said.pop("hash"))
        key = ApiKey(**{**said, "scopes": tuple(said["scopes"])})
        return _Stored(key, digest, Caller(key.id, frozenset(key.scopes), "key"), record, genuine)

    def _put(self, stored: dict[str, _Stored], key: ApiKey, digest: bytes) -> None:
        record: dict[str, Any] = {**asdict(key), "scopes": list(key.scopes), "hash": digest.hex()}
        stored[key.id] = self._of({**record, "mac": self._mac(record)})

    def _hash(self, id: str, secret: str) -> bytes:
        return hmac.digest(self._pepper, f"key\0{id}\0{secret}".encode(), "sha256")

    def _mac(self, record: dict[str, Any]) -> str:
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._pepper, b"record\0" + text.encode(), hashlib.sha256).hexdigest()


def _known(scopes: Iterable[str]) -> tuple[str, ...]:
    given = tuple(dict.fromkeys(scopes))
    for scope in given:
        if scope not in SCOPES:
            raise InputError(f"There is no scope {scope!r}.{nearest(scope, SCOPES)}")
    if not given:
        raise ParameterError.of("scopes", "create", f"at least one of {SCOPES}", given)
    return given


def _found(stored: dict[str, _Stored], id: str) -> _Stored:
    if id not in stored:
        raise InputError(f"There is no key {id!r}.{nearest(id, stored)}")
    return stored[id]


def _invalid() -> Denied:
    return Denied(401, "invalid_credentials", "The credentials are not valid.")


def _synced(folder: Path) -> None:
    """See to it that a rename outlives a power failure: a revoked key stays revoked."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
