"""Where a user is still named: a scan of what files say once they are decoded.

Folders of ours are read as their readers read them: the texts of packed vocabularies, columns, lists
and numbers. Everything else is read as a table or a text where it is one, and as raw bytes, unpacked
where it is packed, where it is not: SQLite's pages, pictures, whatever was left behind.

A telling name (:mod:`recprune.erasure.names`) is found anywhere. A short one is found as the whole
value of a column of user ids; the same value in other columns, or as a word in a text, may be an item
or an age, and is reported as not sure.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recprune.artifact import CONFIG, Artifact, read_artifact
from recprune.catalogue import Catalogue
from recprune.data.columns import ABOUT, BLOCK, ColumnStore
from recprune.data.source_bytes import read_bytes, split_suffix
from recprune.erasure.artefacts import values_of
from recprune.erasure.columns import rows_of, user_columns
from recprune.erasure.files import TEXTS, in_frame, in_json, read_frame
from recprune.erasure.kinds import kind_of, opened, own_files, sealed
from recprune.erasure.names import Names
from recprune.erasure.people import id_columns, texts_of
from recprune.erasure.records import Trace
from recprune.erasure.streams import of_stream
from recprune.errors import RecpruneError
from recprune.users import Users

__all__ = ["traces"]

#: Said of what may be something else.
Found = Counter[tuple[str, bool]]


def traces(
    paths: Iterable[str | Path], names: Names | Iterable[str], master: bytes | None = None
) -> list[Trace]:
    """Return everything in files and folders that names a user.

    Args:
        paths: files and folders of any kind; links to folders are not followed.
        names: of the user; texts are taken as they are, each as an id or a pseudonym.
        master: the key of sealed folders; None = :func:`recprune.crypto.read_key` has it.

    Returns:
        One record a place, the same for the same files. Those with ``sure=False`` may be something
        else.

    Raises:
        ArtifactError, InputError: a sealed folder cannot be opened; or a stream's state is damaged,
            or a stream has it open.
    """
    if not isinstance(names, Names):
        names = Names(frozenset(names))
    return [t for path in paths for t in _below(Path(path), str(path), names, master)]


def _below(path: Path, shown: str, names: Names, master: bytes | None) -> Iterator[Trace]:
    """Yield the traces in a path, which is shown by another name where it was sealed."""
    if path.is_dir() and sealed(path):
        with opened(path, master) as plain:
            yield from _below(plain, shown, names, master)
        return
    own = own_files(path)
    if path.is_file() or own:
        for (what, sure), count in _of_place(path, names).items():
            if count:
                yield Trace(shown, what, count, sure)
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.name not in own and not (entry.is_symlink() and entry.is_dir()):
                yield from _below(entry, f"{shown}/{entry.name}", names, master)


def _of_place(path: Path, names: Names) -> Found:
    if path.is_file():
        return _of_file(path, names)
    kind = kind_of(path)
    if kind == "stream":  # one that runs is no other program's: its pages would tell half
        return of_stream(path, names)
    try:
        match kind:
            case "columns":
                return _of_columns(path, names)
            case "users":
                return _of_users(path, names)
        return _of_artifact(path, names)
    except (RecpruneError, OSError, ValueError):  # damaged, or of another program: as it lies there
        found: Found = Counter()
        for name in sorted(own_files(path)):
            if (path / name).is_file():
                found.update(_of_file(path / name, names))
        return found


def _of_columns(path: Path, names: Names) -> Found:
    store, found = ColumnStore(path), Found()
    users = user_columns(store, names)
    for name, column in store.columns.items():
        said = f"column {name!r}"
        if name in users and column.content not in ("list", "vector"):
            found[said, True] += int(rows_of(store, name, names).sum())
        elif column.content in ("integer", "number") and names.numbers:
            numbers = np.array(sorted(names.numbers), np.float64)
            for start in range(0, store.n_rows, BLOCK):
                here = np.asarray(store.raw(name)[start : start + BLOCK], np.float64)
                found[said, False] += int(np.isin(here, numbers).sum())
        if column.content in ("text", "list"):
            texts, counts = store.texts(name), store.counts(name)
            told, same = (
                names.stand_in(texts, name in users).to_numpy(),
                names.are(texts).to_numpy(),
            )
            # A text that no row has is in the vocabulary all the same.
            counts = np.maximum(counts, 1)
            found[f"texts of {said}", True] += int(counts[told].sum())
            found[f"texts of {said}", False] += int(counts[same & ~told].sum())
    text = (path / ABOUT).read_text("utf-8")
    found[ABOUT, True] += names.mentioned_in(text)
    return found


def _of_users(path: Path, names: Names) -> Found:
    users, found = Users.load(path), Found()
    _add(found, "ids of users", users.ids, names, True)
    known = id_columns(users, names)
    for name, column in users.columns.items():
        if not isinstance(column, np.ndarray):
            _add(found, f"column {name!r}", texts_of(column), names, name in known)
    for by, table in users.cross.items():
        _add(found, f"values of the histories by {by!r}", table.values, names, False)
    if users.seen is not None:
        _add(found, "seen items", users.seen.items, names, False)
    return found


def _of_artifact(path: Path, names: Names) -> Found:
    artifact, found = read_artifact(path), Found()
    schema = artifact.encoder.schema
    for field, part in artifact.encoder.parts.items():
        here = field in {schema.user, *names.columns}
        _add(found, f"vocabulary of {field!r}", [v for v in values_of(part) if v], names, here)
    for said, texts in _texts_of_catalogue(artifact):
        _add(found, said, texts, names, False)
    found[CONFIG, True] += names.mentioned_in((path / CONFIG).read_text("utf-8"))
    return found


def _texts_of_catalogue(artifact: Artifact) -> Iterator[tuple[str, list[str]]]:
    if not artifact.catalogue:
        return
    items = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    yield "items of the catalogue", list(items.ids)
    for by, values in items.key_values.items():
        yield f"values of {by!r} in the catalogue", list(values)
    for name, (_, values) in items.texts.items():
        yield f"values of {name!r} in the catalogue", list(values)


def _add(found: Found, said: str, texts: Iterable[str], names: Names, of_users: bool) -> None:
    """Count the texts that name the user, and those that may."""
    series = pl.Series(list(texts), dtype=pl.String)
    told, same = names.stand_in(series, of_users), names.are(series)
    found[said, True] += int(told.sum())
    found[said, False] += int((same & ~told).sum())


def _of_file(path: Path, names: Names) -> Found:
    found = Found()
    frame = read_frame(path)
    if frame is not None:
        theirs, told = in_frame(frame, names)
        found["rows", True] += int(theirs.sum())
        for name, mask in told.items():
            found[f"column {name!r}", True] += int(mask.sum())
    try:
        data = path.read_bytes() if split_suffix(path)[1] == "" else read_bytes(path)
    except (RecpruneError, OSError):
        data = path.read_bytes()
    suffix = split_suffix(path)[0] or path.suffix.lower()
    text = _text(data) if suffix in (*TEXTS, ".csv", ".tsv") else None
    if text is None:
        for layer in (data, _inflated(data)):
            for form in names.telling:
                found["bytes", True] += _in_bytes(layer, form)
        return found
    if frame is None:
        found["text", True] += names.mentioned_in(text)
    if suffix in (".json", ".jsonl", ".ndjson"):
        found["objects of the user", True] += in_json(text, names, suffix != ".json")
    for name in names.all - names.telling:
        found[f"a word of {len(name)} characters", False] += len(
            re.findall(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text)
        )
    return found


def _in_bytes(data: bytes, name: str) -> int:
    """Return how often a name's bytes come, in UTF-8 or, as some programs write, UTF-16."""
    return data.count(name.encode()) + data.count(name.encode("utf-16-le"))


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _inflated(data: bytes) -> bytes:
    """Return what zlib makes of bytes, b"" if they are none of its."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""
