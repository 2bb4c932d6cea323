"""The master key, and what it wraps."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from recprune._support import require
from recprune.crypto import LEAST_BYTES, read_key
from recprune.errors import InputError

__all__ = ["KEY", "WRAPPED", "aes", "invalid_tag", "master_id", "master_of", "unwrap", "wrap"]

LABEL = "recprune sealed 1"
KEY, NONCE, TAG = 32, 12, 16
#: Bytes of a wrapped key: nonce, ciphertext, tag.
WRAPPED = NONCE + KEY + TAG


def master_of(folder: Path, master: bytes | None) -> bytes:
    """Return the master key for a folder; None = :func:`recprune.crypto.read_key` is asked.

    Raises:
        InputError: there is none.
    """
    if master is not None:
        return master
    try:
        return read_key("master")
    except InputError as error:
        raise InputError(f"Folder {str(folder)!r} is sealed. {error}") from error


def master_id(master: bytes) -> str:
    """Return what tells master keys apart without telling a key: 16 hexadecimal digits.

    Raises:
        InputError: a key of fewer than 32 bytes.
        MissingExtra: ``cryptography`` is not installed.
    """
    return _derived(master, "id")[:8].hex()


def wrap(key: bytes, master: bytes, bound: bytes) -> bytes:
    """Return a key, encrypted under the master key and bound to other bytes."""
    nonce = secrets.token_bytes(NONCE)
    wrapped: bytes = aes(_derived(master, "wrap")).encrypt(nonce, key, bound)
    return nonce + wrapped


def unwrap(wrapped: bytes, master: bytes, bound: bytes) -> bytes | None:
    """Return the key of :func:`wrap`; None = another master key, or bound to other bytes."""
    cipher = aes(_derived(master, "wrap"))
    try:
        key: bytes = cipher.decrypt(wrapped[:NONCE], wrapped[NONCE:], bound)
    except invalid_tag():
        return None
    return key


def aes(key: bytes) -> Any:
    """Return AES-GCM under a key; loads ``cryptography``."""
    return require("cryptography.hazmat.primitives.ciphers.aead", "serve").AESGCM(key)


def invalid_tag() -> type[Exception]:
    """Return what is raised for bytes that are not what was encrypted."""
    kind: type[Exception] = require("cryptography.exceptions", "serve").InvalidTag
    return kind


def _derived(master: bytes, use: str) -> bytes:
    """Return a key for one use of the master key: HKDF-SHA-256 (RFC 5869), without a salt."""
    if len(master) < LEAST_BYTES:
        raise InputError(f"A master key must have at least {LEAST_BYTES} bytes. Got {len(master)}.")
    sha256 = require("cryptography.hazmat.primitives.hashes", "serve").SHA256()
    hkdf = require("cryptography.hazmat.primitives.kdf.hkdf", "serve").HKDF
    info = f"{LABEL} {use}".encode()
    derived: bytes = hkdf(algorithm=sha256, length=KEY, salt=None, info=info).derive(master)
    return derived
