"""Secret keys, and pseudonyms: keyed hashes in the place of ids.

There are five keys, each for one purpose, so that whoever holds one can do one thing: ``pseudonym``
replaces user ids on ingest, ``erasure`` hashes the list of users who were erased, ``master`` wraps
the data keys of sealed folders, ``pepper`` hashes the secrets of API keys, ``audit`` chains the
audit log. Each is read from a file, from a variable of the environment, or from a command's output.

HMAC-SHA-256 (FIPS 198-1), because every database and language has it, so that a pseudonym can be
computed upstream too; cut to 128 bits, at which a billion ids collide with a chance of 1.5e-21.
Without the key, nobody can hash a list of guessed ids and compare. Who has it can: a pseudonym is
still personal data.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from recprune.errors import InputError

__all__ = [
    "LEAST_BYTES",
    "ErasureKey",
    "KeyName",
    "Pseudonymiser",
    "Pseudonyms",
    "is_pseudonym",
    "key_variable",
    "read_key",
]

KeyName = Literal["pseudonym", "erasure", "master", "pepper", "audit"]

LEAST_BYTES = 32
BYTES = 16
#: Seconds that a command has to print a key.
PATIENCE = 60
#: The letter keeps a pseudonym from ever looking like a number.
FORM = re.compile(rf"u[0-9a-f]{{{2 * BYTES}}}")
MAKE_ONE = "Make one with: openssl rand -hex 32"


def key_variable(name: KeyName) -> str:
    """Return the variable of the environment that holds a key.

    >>> key_variable("pepper")
    'RECPRUNE_PEPPER_KEY'
    """
    return f"RECPRUNE_{name.upper()}_KEY"


def read_key(name: KeyName, file: Path | None = None) -> bytes:
    """Return a key: of a file, or else of the variables of the environment.

    The variable ``RECPRUNE_<NAME>_KEY`` holds the key; ``RECPRUNE_<NAME>_KEY_COMMAND`` holds a
    command, run without a shell, that prints it, such as the client of a key management service.
    The key is the file's or the output's bytes (the variable's, in UTF-8) without a line feed at
    the end.

    Args:
        name: which of the five keys.
        file: of the key; None = the environment has it.

    Raises:
        InputError: there is none, the file cannot be read, the command failed, or the key has
            fewer than 32 bytes. A key is never shown.
    """
    variable = key_variable(name)
    command = os.environ.get(f"{variable}_COMMAND", "").strip()
    if file is not None:
        owner = f"The {name} key in file {str(file)!r}"
        try:
            key = file.read_bytes()
        except OSError as error:
            raise InputError(f"{owner} cannot be read: {error.strerror}.") from error
    elif os.environ.get(variable):
        owner = f"The {name} key in the environment variable {variable}"
        key = os.environ[variable].encode(errors="surrogateescape")
    elif command:
        owner = f"The {name} key of the command in {variable}_COMMAND"
        key = _printed(command, owner)
    else:
        raise InputError(
            f"There is no {name} key. Set the environment variable {variable} (or "
            f"{variable}_COMMAND, a command that prints it), or name a file that holds it. {MAKE_ONE}"
        )
    return _long_enough(key.removesuffix(b"\n").removesuffix(b"\r"), owner)


class _Keyed:
    """A key that texts are hashed with; it is shown nowhere."""

    def __init__(self, key: bytes) -> None:
        key = _long_enough(key, "The key")
        block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
        # HMAC in its two steps, begun once: a third of what the standard library takes for each.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        #: Tells keys apart without telling a key, 16 hexadecimal digits.
        self.fingerprint = self._digest(b"fingerprint\0")[:16]

    def _digest(self, message: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(fingerprint={self.fingerprint!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(f"{type(self).__name__} holds a key and is not copied or stored.")


class Pseudonymiser(_Keyed):
    """Turns ids into pseudonyms; one key gives one id the same pseudonym always.

    Args:
        key: at least 32 bytes.

    Raises:
        InputError: a shorter key; it is not shown.

    >>> people = Pseudonymiser(bytes(range(32)))
    >>> people.pseudonym("ann") == people.pseudonym("ann") != people.pseudonym("bob")
    True
    >>> is_pseudonym(people.pseudonym("ann")), people
    (True, Pseudonymiser(fingerprint='34fa527b3d233f12'))
    """

    @classmethod
    def read(cls, file: Path | None = None) -> Pseudonymiser:
        """Take the key ``pseudonym``; see :func:`read_key`.

        Raises:
            InputError: as :func:`read_key`.
        """
        return cls(read_key("pseudonym", file))

    def pseudonym(self, text: str) -> str:
        """Return the pseudonym of an id's text: u and 32 hexadecimal digits."""
        return "u" + self._digest(b"user\0" + _utf8(text))[: 2 * BYTES]


class ErasureKey(_Keyed):
    """Hashes the ids and pseudonyms of users who were erased, so that a list of them names nobody.

    Args:
        key: at least 32 bytes, another than that of pseudonyms.

    Raises:
        InputError: a shorter key; it is not shown.

    >>> key = ErasureKey(bytes(range(32)))
    >>> key.hash("ann") == key.hash("ann") != key.hash("bob"), len(key.hash("ann"))
    (True, 33)
    """

    @classmethod
    def read(cls, file: Path | None = None) -> ErasureKey:
        """Take the key ``erasure``; see :func:`read_key`.

        Raises:
            InputError: as :func:`read_key`.
        """
        return cls(read_key("erasure", file))

    def hash(self, text: str) -> str:
        """Return the hash of an id's or a pseudonym's text: e and 32 hexadecimal digits."""
        return "e" + self._digest(b"erased\0" + _utf8(text))[: 2 * BYTES]


class Pseudonyms:
    """The names a user may be stored under: pseudonyms of the current key, and of former ones.

    After a key was changed, data are under the new key only once they are ingested again; until
    then their users are found under both.

    Args:
        current: of the key in use.
        former: of keys used before, the latest first.

    >>> old, new = Pseudonymiser(bytes(32)), Pseudonymiser(bytes(range(32)))
    >>> names = Pseudonyms(new, old).of("ann")
    >>> names == (new.pseudonym("ann"), old.pseudonym("ann"))
    True
    """

    def __init__(self, current: Pseudonymiser, *former: Pseudonymiser) -> None:
        self.keys = (current, *former)

    @classmethod
    def read(cls, files: Sequence[Path] = ()) -> Pseudonyms:
        """Take the keys of files, the current one first; no files = that of the environment.

        Raises:
            InputError: as :func:`read_key`.
        """
        return cls(*(Pseudonymiser.read(file) for file in files or (None,)))

    def of(self, text: str) -> tuple[str, ...]:
        """Return an id's pseudonyms, of the current key first."""
        return tuple(key.pseudonym(text) for key in self.keys)


def is_pseudonym(text: str) -> bool:
    """Tell whether a text has the form of a pseudonym."""
    return FORM.fullmatch(text) is not None


def _utf8(text: str) -> bytes:
    """Return a text's bytes; half a character, as JSON may hold it, is one more id that nobody has."""
    return text.encode("utf-8", "surrogatepass")


def _long_enough(key: bytes, owner: str) -> bytes:
    if len(key) < LEAST_BYTES:
        raise InputError(
            f"{owner} must have at least {LEAST_BYTES} bytes. Got {len(key)}. {MAKE_ONE}"
        )
    return key


def _printed(command: str, owner: str) -> bytes:
    """Return what a command prints; what it says on stderr goes there."""
    try:
        # Whoever sets the variable runs this process; there is no shell that could read more into it.
        done = subprocess.run(  # nosec B603
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = type(error).__name__ if isinstance(error, subprocess.SubprocessError) else error
        raise InputError(f"{owner} cannot be read: {why}.") from error
    return done.stdout
