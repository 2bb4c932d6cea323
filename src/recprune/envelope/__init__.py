"""Folders at rest, encrypted: ``sealed.json`` and one file of ciphertext for each file.

AES-256-GCM with a random data key for each sealing, in chunks, so that a part can be read alone. The
data key is wrapped by the master key; the list of files is the wrapping's associated data, so that
who has changed it has no data key. Plain text comes to memory only. ``docs/format.md`` is the
specification.

The wrapping is AES-GCM, too, not AES-KW (RFC 3394), which takes no associated data. A chunk's number
and whether it is the last are in its nonce (as in STREAM: Hoang, Reyhanitabar, Rogaway and Vizár,
2015), so that chunks cannot be moved, left out, or cut off at the end.
"""

from recprune.envelope.keys import master_id
from recprune.envelope.memory import in_memory
from recprune.envelope.reading import folder_reader, holds, is_sealed
from recprune.envelope.sealed import Sealed
from recprune.envelope.sealing import changed, reseal, rewrap, seal, unseal

__all__ = [
    "Sealed",
    "changed",
    "folder_reader",
    "holds",
    "in_memory",
    "is_sealed",
    "master_id",
    "reseal",
    "rewrap",
    "seal",
    "unseal",
]
