"""Pseudonyms: keyed hashes in the place of ids. The key comes from a file or the environment.

HMAC-SHA-256 (FIPS 198-1), because every database and language has it, so that a pseudonym can be
computed upstream too; cut to 128 bits, at which a billion ids collide with a chance of 1.5e-21.
Without the key, nobody can hash a list of guessed ids and compare. Who has it can: a pseudonym is
still personal data.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path

from recprune.errors import InputError

__all__ = ["KEY_VARIABLE", "LEAST_BYTES", "Pseudonymiser", "is_pseudonym"]

KEY_VARIABLE = "RECPRUNE_PSEUDONYM_KEY"
LEAST_BYTES = 32
BYTES = 16
#: The letter keeps a pseudonym from ever looking like a number.
FORM = re.compile(rf"u[0-9a-f]{{{2 * BYTES}}}")
MAKE_ONE = "Make one with: openssl rand -hex 32"


class Pseudonymiser:
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

    def __init__(self, key: bytes) -> None:
        self._hash = _started(key, "The key")
        #: Tells keys apart without telling a key, 16 hexadecimal digits.
        self.fingerprint = self._digest(b"fingerprint\0")[:16]

    @classmethod
    def read(cls, file: Path | None = None) -> Pseudonymiser:
        """Take the key from a file, or else from the variable ``RECPRUNE_PSEUDONYM_KEY``.

        The key is the file's bytes (the variable's, in UTF-8) without a line feed at the end.

        Raises:
            InputError: neither is given, the file cannot be read, or the key is too short.
        """
        if file is not None:
            owner = f"The pseudonym key in file {str(file)!r}"
            try:
                key = file.read_bytes()
            except OSError as error:
                raise InputError(f"{owner} cannot be read: {error.strerror}.") from error
        else:
            owner = f"The pseudonym key in the environment variable {KEY_VARIABLE}"
            key = os.environ.get(KEY_VARIABLE, "").encode(errors="surrogateescape")
            if not key:
                raise InputError(
                    f"Pseudonyms need a key. Set the environment variable {KEY_VARIABLE}, or name a "
                    f"file that holds it. {MAKE_ONE}"
                )
        key = key.removesuffix(b"\n").removesuffix(b"\r")
        _started(key, owner)
        return cls(key)

    def pseudonym(self, text: str) -> str:
        """Return the pseudonym of an id's text: u and 32 hexadecimal digits."""
        return "u" + self._digest(b"user\0" + text.encode())[: 2 * BYTES]

    def _digest(self, message: bytes) -> str:
        started = self._hash.copy()
        started.update(message)
        return started.hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(fingerprint={self.fingerprint!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A Pseudonymiser holds a key and is not copied or stored.")


def is_pseudonym(text: str) -> bool:
    """Tell whether a text has the form of a pseudonym."""
    return FORM.fullmatch(text) is not None


def _started(key: bytes, owner: str) -> hmac.HMAC:
    if len(key) < LEAST_BYTES:
        raise InputError(
            f"{owner} must have at least {LEAST_BYTES} bytes. Got {len(key)}. {MAKE_ONE}"
        )
    return hmac.new(key, digestmod=hashlib.sha256)
