"""The list of users who were erased, which every reading of a table leaves out.

A list is a file of one user a line: an id, a pseudonym, or, as ``recprune forget`` writes it, a hash
of either under the erasure key. Hashes stand behind a line that tells which key made them::

    # erasure key 34fa527b3d233f12
    e0c5b9a1…

so that without the key nobody can tell who is listed, and with another one nobody is taken for
somebody else: where the key is absent, reading fails rather than let anybody come back.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from recprune.crypto import ErasureKey, key_variable
from recprune.data.source_bytes import read_bytes, stream_lines
from recprune.errors import InputError
from recprune.folders import file_written_whole, state_folder

__all__ = ["Erased", "add_to_list", "erased_list"]

MARK = re.compile(r"# erasure key ([0-9a-f]{16})")
HASH = re.compile(r"e[0-9a-f]{32}")


class Erased:
    """Users who are left out.

    Args:
        named: their ids or pseudonyms.
        hashes: of ids or pseudonyms.
        key: that made the hashes.

    >>> key = ErasureKey(bytes(32))
    >>> erased = Erased(["ann"], [key.hash("bob")], key)
    >>> [erased.holds(user) for user in ("ann", "bob", " bob", "eve")], len(erased)
    ([True, True, True, False], 2)
    """

    def __init__(
        self,
        named: Iterable[str] = (),
        hashes: Iterable[str] = (),
        key: ErasureKey | None = None,
    ) -> None:
        self.named, self.hashes, self.key = frozenset(named), frozenset(hashes), key
        if self.hashes and key is None:
            raise InputError("Hashes of erased users tell nothing without the erasure key.")

    def __len__(self) -> int:
        return len(self.named) + len(self.hashes)

    def holds(self, name: str) -> bool:
        """Tell whether an id or a pseudonym is listed."""
        name = name.strip()
        if name in self.named:
            return True
        return bool(self.hashes) and self.key is not None and self.key.hash(name) in self.hashes

    @classmethod
    def read(cls, file: Path, key_file: Path | None = None) -> Erased:
        """Return a list's users; blank lines and spaces around names are left out.

        Args:
            file: the list.
            key_file: holds the erasure key; None = the environment has it. A list without hashes
                needs none.

        Raises:
            DataError: the file is missing, cannot be read, or is not UTF-8.
            InputError: there is no erasure key, or another than the one that made the hashes.
        """
        key, named, hashes = _parsed(file)
        if not hashes:
            return cls(named)
        return cls(named, hashes, _key_of(file, key, key_file))

    @classmethod
    def of(cls, erased: Erased | str | Path | Collection[str] | None) -> Erased:
        """Return erased users given in any form: a list's file, or ids and pseudonyms."""
        if isinstance(erased, Erased):
            return erased
        return cls.read(Path(erased)) if isinstance(erased, str | Path) else cls(erased or ())

    @classmethod
    def by_default(cls, key_file: Path | None = None) -> Erased:
        """Return the users of this machine's list (:func:`erased_list`); none if it has no list.

        Raises:
            InputError: as :meth:`read`.
        """
        file = erased_list()
        return cls.read(file, key_file) if file.exists() else cls()

    def __or__(self, other: Erased) -> Erased:
        """Return the users of both lists.

        Raises:
            InputError: both have hashes, of different keys.
        """
        if self.hashes and other.hashes and self._made_by != other._made_by:
            raise InputError(
                f"Two lists of erased users have hashes of two erasure keys, {self._made_by} and "
                f"{other._made_by}. Apply them one after the other."
            )
        key = self.key if self.hashes else other.key
        return Erased(self.named | other.named, self.hashes | other.hashes, key)

    @property
    def _made_by(self) -> str:
        return self.key.fingerprint if self.key is not None else ""


def erased_list() -> Path:
    """Return this machine's list of erased users, which need not exist."""
    return state_folder("erased") / "users.txt"


def add_to_list(file: Path, key: ErasureKey, names: Iterable[str]) -> int:
    """Add users to a list, which is made if there is none, and return how many entries are new.

    Processes that add at once lose none; killed at any moment, the list is the old or the new one.

    Args:
        file: the list.
        key: hashes the names.
        names: ids and pseudonyms.

    Raises:
        InputError: the list has hashes of another key, or cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock").open("w")
    except OSError as error:
        raise InputError(f"List {str(file)!r} cannot be written: {error.strerror}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_by, named, before = _parsed(file) if file.exists() else ("", [], [])
        if before and made_by != key.fingerprint:
            raise _another_key(file, made_by, key.fingerprint)
        hashes = dict.fromkeys([*before, *map(key.hash, names)])
        if len(hashes) > len(before):
            lines = [*named, f"# erasure key {key.fingerprint}", *hashes]
            with file_written_whole(file) as partial:
                partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(hashes) - len(before)


def _parsed(file: Path) -> tuple[str, list[str], list[str]]:
    """Return the key's fingerprint ("" without hashes), the names, and the hashes."""
    lines = [line.strip() for line in stream_lines(file)] if read_bytes(file) else []
    marks = [match[1] for line in lines if (match := MARK.fullmatch(line))]
    if len(set(marks)) > 1:
        raise InputError(f"List {str(file)!r} has hashes of several erasure keys. Split it by key.")
    named = [line for line in lines if line and not MARK.fullmatch(line)]
    if not marks:
        return "", named, []
    hashes = [line for line in named if HASH.fullmatch(line)]
    return marks[0], [line for line in named if not HASH.fullmatch(line)], hashes


def _key_of(file: Path, made_by: str, key_file: Path | None) -> ErasureKey:
    try:
        key = ErasureKey.read(key_file)
    except InputError as error:
        raise InputError(
            f"{str(file)!r} lists erased users by hashes, and they could come back without the key "
            f"that made them, {made_by}. {error}"
        ) from error
    if key.fingerprint != made_by:
        raise _another_key(file, made_by, key.fingerprint)
    return key


def _another_key(file: Path, made_by: str, given: str) -> InputError:
    return InputError(
        f"{str(file)!r} lists erased users by hashes of the erasure key {made_by}; the key given is "
        f"{given}. Give the first one ({key_variable('erasure')} or a file), or name another list."
    )
