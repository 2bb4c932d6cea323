"""A reader of sealed folders written from docs/format.md alone: ``cryptography``, nothing of ours."""

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def hkdf(master: bytes, info: str) -> bytes:
    """RFC 5869 by its two formulas, for 32 bytes."""
    extracted = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(extracted, info.encode() + b"\x01", "sha256")


def unsealed(folder: Path, master: bytes) -> dict[str, bytes]:
    about = json.loads((folder / "sealed.json").read_text())
    key = about.pop("key")
    core = json.dumps(about, sort_keys=True).encode()
    assert key["master"] == hkdf(master, "recprune sealed 1 id")[:8].hex()
    wrapped = bytes.fromhex(key["wrapped"])
    wrapping = AESGCM(hkdf(master, "recprune sealed 1 wrap"))
    data = AESGCM(wrapping.decrypt(wrapped[:12], wrapped[12:], core))
    out = {}
    for i, file in enumerate(about["files"]):
        stored = (folder / f"{i}.sealed").read_bytes()
        pieces = [
            stored[at : at + about["chunk"] + 16]
            for at in range(0, len(stored), about["chunk"] + 16)
        ]
        out[file["name"]] = b"".join(
            data.decrypt(
                i.to_bytes(4, "big") + n.to_bytes(7, "big") + bytes([n == len(pieces) - 1]),
                piece,
                hashlib.sha256(core).digest(),
            )
            for n, piece in enumerate(pieces)
        )
        assert len(out[file["name"]]) == file["bytes"]
    return out
