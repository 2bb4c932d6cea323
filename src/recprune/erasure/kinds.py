"""What a folder is, which of its files are read together, and sealed ones opened in memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from recprune.artifact import CONFIG, read_artifact
from recprune.crypto import is_pseudonym, read_key
from recprune.data.columns import ABOUT, TEXTS, ColumnStore
from recprune.envelope import in_memory, unseal
from recprune.erasure.names import Names
from recprune.erasure.streams import STATE_FILES, hidden_users, is_stream
from recprune.errors import ArtifactError, InputError
from recprune.folders import SEALED
from recprune.lookups import Vocabulary
from recprune.users import Users

__all__ = ["Kind", "check_below", "check_names", "kind_of", "opened", "own_files", "sealed"]

Kind = Literal["columns", "users", "artifact", "stream"]
#: Kind → its manifest, and the format that it states.
MANIFESTS: dict[Kind, tuple[str, str]] = {
    "columns": (ABOUT, "recprune data"),
    "users": ("users.json", "recprune users"),
    "artifact": (CONFIG, "recprune"),
}


def sealed(folder: Path) -> bool:
    """Tell whether a folder that is there is sealed."""
    return (folder / SEALED).is_file()


@contextlib.contextmanager
def opened(folder: Path, master: bytes | None) -> Iterator[Path]:
    """Yield a folder, or of a sealed one its plain files, in memory, for as long as they are read.

    Args:
        folder: plain or sealed.
        master: the master key; None = :func:`recprune.crypto.read_key` has it.

    Raises:
        ArtifactError, InputError, MissingExtra: see :func:`recprune.envelope.unseal`; or there is no
            file system in memory.
    """
    if not sealed(folder):
        yield folder
        return
    with in_memory() as place:
        plain = place / folder.name
        unseal(folder, plain, master or read_key("master"))
        yield plain


def kind_of(folder: Path) -> Kind | None:
    """Return what a folder's manifest says it is; None = none of ours, or no folder."""
    if is_stream(folder):
        return "stream"
    for kind, (manifest, form) in MANIFESTS.items():
        try:
            about = json.loads((folder / manifest).read_bytes())
            if about["format"] == form:
                return kind
        except (OSError, LookupError, TypeError, ValueError, RecursionError):
            continue
    return None


def own_files(folder: Path) -> set[str]:
    """Return the files of a folder's own format; none of a folder that is not ours."""
    match kind_of(folder):
        case "columns":
            return {ABOUT, TEXTS, *(f.name for f in folder.glob("*.bin"))}
        case "users":
            return {"users.json", "users.safetensors"}
        case "artifact":
            return {CONFIG, *json.loads((folder / CONFIG).read_bytes()).get("sha256", ())}
        case "stream":
            return set(STATE_FILES)
    return set()


def check_below(
    path: Path, names: Names, master: bytes | None, *, damaged_too: bool = False
) -> None:
    """Refuse folders in a folder among whose pseudonyms the user could not be found.

    Args:
        path: the folder.
        names: of the user.
        master: see :func:`opened`.
        damaged_too: whether there may be damaged folders, which a scan reads as they lie there.

    Raises:
        InputError, ArtifactError: see :func:`check_names`.
    """
    if not path.is_dir() or path.is_symlink():
        return
    with opened(path, master) as plain:
        try:
            check_names(plain, names)
        except ArtifactError:
            if not damaged_too:
                raise
        for entry in sorted(plain.iterdir()):
            check_below(entry, names, master, damaged_too=damaged_too)


def check_names(folder: Path, names: Names) -> None:
    """Refuse pseudonyms among which a plain id would not be found, as if it were not there.

    Raises:
        InputError: the folder's ids are pseudonyms, and the key that made them is not given; or it is
            the state of a stream that runs, or a damaged one.
        ArtifactError: the folder is not sound.
    """
    kind = kind_of(folder)
    hidden = kind == "stream" and hidden_users(folder)  # also whether it can be opened
    if not names.ids:
        return
    match kind:
        case "columns":
            key = ColumnStore(folder).pseudonyms.get("key", "")
            if key and key not in names.keys:
                raise _hidden(folder, f" of the key {key}")
        case "users":
            ids = Users.load(folder).ids
            if ids and is_pseudonym(ids[0]) and not names.pseudonyms:
                raise _hidden(folder)
        case "artifact":
            encoder = read_artifact(folder).encoder
            part = encoder.parts.get(encoder.schema.user or "")
            values = part.values if isinstance(part, Vocabulary) else ()
            known = next((v for v in values if v is not None), "")
            if is_pseudonym(known) and not names.pseudonyms:
                raise _hidden(folder)
        case "stream":
            if hidden and not names.pseudonyms:
                raise _hidden(folder)


def _hidden(folder: Path, by: str = "") -> InputError:
    return InputError(
        f"{str(folder)!r} holds pseudonyms{by}, by which the user cannot be found without the key that "
        "made them. Give the key (--pseudonym-key-file), or the pseudonym in the id's place."
    )
