"""Who has logged in at the page: an API key, sealed into a cookie that only the service can open.

The cookie holds the key itself, so that every request goes through the same gate as one of a
program: a key that is revoked, ends or loses a scope does so for the page as well, in all workers,
and no list of sessions has to be kept. AES-256-GCM under a key derived from the pepper, with the
time at which it ends inside.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["LIFETIME", "Sessions"]

#: Seconds until one has to log in again.
LIFETIME = 8 * 3600
NONCE = 12
#: What the key is for: the pepper hashes API keys too, and neither may stand in for the other.
PURPOSE = b"recprune page session 1"


class Sessions:
    """Seals API keys into cookies, and opens them.

    Args:
        pepper: the key ``pepper``; all workers have the same.

    >>> sessions = Sessions(bytes(32))
    >>> sessions.opened(sessions.sealed("rk_1", now=100.0), now=101.0)
    'rk_1'
    >>> sessions.opened(sessions.sealed("rk_1", now=100.0), now=100.0 + LIFETIME) is None
    True
    """

    def __init__(self, pepper: bytes) -> None:
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(pepper))

    def sealed(self, token: str, now: float | None = None) -> str:
        """Return the cookie's value for an API key."""
        ends = int((time.time() if now is None else now) + LIFETIME)
        nonce = os.urandom(NONCE)
        content = self._cipher.encrypt(nonce, struct.pack(">Q", ends) + token.encode(), PURPOSE)
        return base64.urlsafe_b64encode(nonce + content).decode()

    def opened(self, value: str, now: float | None = None) -> str | None:
        """Return the API key; None for a value that has ended, was changed, or is not ours."""
        try:
            raw = base64.b64decode(value, altchars=b"-_", validate=True)
            content = self._cipher.decrypt(raw[:NONCE], raw[NONCE:], PURPOSE)
        except (binascii.Error, InvalidTag, ValueError):
            return None
        (ends,) = struct.unpack(">Q", content[:8])
        return content[8:].decode() if (time.time() if now is None else now) < ends else None
