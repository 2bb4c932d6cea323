"""``sealed.json``: which files there are, and the data key, wrapped and bound to them."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recprune.envelope.keys import WRAPPED, master_id, unwrap, wrap
from recprune.errors import ArtifactError
from recprune.folders import SEALED

__all__ = ["MOST_JSON", "RESTORE", "Manifest", "read_plain", "sound_name"]

FORMAT, PROTOCOL = "recprune sealed", 1
#: Bytes of a chunk.
MOST_CHUNK = 1 << 26
#: Bytes of a file: the nonce counts 2⁵⁶ chunks.
MOST_BYTES = 1 << 50
#: Bytes of a JSON file. A field takes about a thousand, a pair of fields twenty.
MOST_JSON = 1 << 27
RESTORE = "Restore the folder from where it was made."


@dataclass(frozen=True)
class Manifest:
    """What ``sealed.json`` says.

    Args:
        files: name, with ``/`` between folders → its bytes, in the order of the stored files.
        chunk: bytes of a chunk, but for each file's last.
        master: which master key wraps the data key; see :func:`recprune.envelope.master_id`.
        wrapped: the data key, bound to the rest but not to ``master``.
    """

    files: Mapping[str, int]
    chunk: int
    master: str = ""
    wrapped: bytes = b""

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a manifest that is well formed; whether it is true shows with the data key.

        Raises:
            ArtifactError: there is none, it is of a newer protocol, or it cannot be read.
        """
        try:
            about = json.loads(read_plain(folder / SEALED))
            if about["format"] != FORMAT:
                raise ArtifactError(f"{folder / SEALED} is not recprune's.")
            if type(about["protocol"]) is int and about["protocol"] > PROTOCOL:
                raise ArtifactError(
                    f"Folder {str(folder)!r} is sealed by protocol {about['protocol']}; this "
                    f"recprune reads up to {PROTOCOL}. Upgrade recprune."
                )
            files = {f["name"]: f["bytes"] for f in about["files"]}
            found = cls(files, about["chunk"], **_key(about["key"]))
            if not found._sound() or found.to_json() != about:
                raise ArtifactError(f"{folder / SEALED} was changed. {RESTORE}")
        except FileNotFoundError:
            text = f"Folder {str(folder)!r} is not sealed: it has no {SEALED}."
            raise ArtifactError(text) from None
        except OSError as error:
            raise ArtifactError(f"{folder / SEALED} cannot be read: {error.strerror}.") from error
        except ArtifactError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{folder / SEALED} cannot be read: {error!r}.") from error
        return found

    @cached_property
    def core(self) -> bytes:
        """What the data key is bound to: all but the key itself."""
        about = self.to_json()
        del about["key"]
        return json.dumps(about, sort_keys=True).encode()

    @property
    def bound(self) -> bytes:
        """What the chunks are bound to."""
        return hashlib.sha256(self.core).digest()

    def under(self, master: bytes, key: bytes) -> Manifest:
        """Return the manifest with a data key, wrapped by a master key."""
        return replace(self, master=master_id(master), wrapped=wrap(key, master, self.core))

    def key(self, master: bytes, folder: Path) -> bytes:
        """Return the data key.

        Raises:
            ArtifactError: another master key, or anything in the manifest was changed.
        """
        given = master_id(master)
        if self.master != given:
            raise ArtifactError(
                f"Folder {str(folder)!r} is sealed under the master key {self.master}, and the one "
                f"at hand is {given} (fingerprints). Set RECPRUNE_MASTER_KEY to the former."
            )
        key = unwrap(self.wrapped, master, self.core)
        if key is None:
            raise ArtifactError(f"{folder / SEALED} was changed. {RESTORE}")
        return key

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as it is stored."""
        return {
            "format": FORMAT,
            "protocol": PROTOCOL,
            "chunk": self.chunk,
            "files": [{"name": name, "bytes": size} for name, size in self.files.items()],
            "key": {"master": self.master, "wrapped": self.wrapped.hex()},
        }

    def write(self, file: Path) -> None:
        """Write the manifest."""
        text = json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n"
        file.write_text(text, encoding="ascii")

    def _sound(self) -> bool:
        return (
            _whole(self.chunk, 1, MOST_CHUNK)
            and all(_whole(size, 0, MOST_BYTES) for size in self.files.values())
            and all(map(sound_name, self.files))
            and len(self.wrapped) == WRAPPED
        )


def sound_name(name: object) -> bool:
    """Tell whether a file's name stays within its folder, on any system.

    >>> [sound_name(n) for n in ("plots/a.png", "../a", "/a", "a//b", "a\\\\b", "")]
    [True, False, False, False, False, False]
    """
    if not isinstance(name, str) or set(name) & {"\\", "\0"}:
        return False
    return not {"", ".", ".."} & set(name.split("/"))


def read_plain(file: Path) -> bytes:
    """Return the bytes of a file; of JSON, 128 MB at most.

    Raises:
        ArtifactError: it is no file, or JSON that is longer.
        OSError: it cannot be read.
    """
    about = file.stat()
    # A device or a pipe would never end.
    if not stat.S_ISREG(about.st_mode):
        raise ArtifactError(f"{file} cannot be read: it is no file.")
    if file.suffix == ".json" and about.st_size > MOST_JSON:
        raise ArtifactError(f"{file} is too long for what it says.")
    with file.open("rb") as opened:
        return opened.read(about.st_size)


def _key(key: Mapping[str, Any]) -> dict[str, Any]:
    return {"master": key["master"], "wrapped": bytes.fromhex(key["wrapped"])}


def _whole(number: object, least: int, most: int) -> bool:
    return type(number) is int and least <= number <= most
