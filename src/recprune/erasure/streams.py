"""A user out of a stream's state, in place: one transaction, and nothing left in pages that are free."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.crypto import is_pseudonym
from recprune.erasure.artefacts import clean_artifact
from recprune.erasure.names import Names
from recprune.erasure.records import Removed
from recprune.streaming.forgetting import Contents, contents_of, without_rows
from recprune.streaming.state import FILE, StreamState

__all__ = ["STATE_FILES", "clean_stream", "hidden_users", "is_stream", "of_stream", "streams_in"]

#: Files of a state.
STATE_FILES = frozenset({FILE, f"{FILE}-wal", f"{FILE}-shm", "lock", "metrics.prom"})


def is_stream(folder: Path) -> bool:
    """Tell whether a folder is a stream's state."""
    return (folder / FILE).is_file()


def streams_in(path: Path) -> Iterator[Path]:
    """Yield the streams' states in a folder, itself included."""
    if path.is_dir() and not path.is_symlink():
        if is_stream(path):
            yield path
        for entry in sorted(path.iterdir()):
            yield from streams_in(entry)


def hidden_users(folder: Path) -> bool:
    """Tell whether the users of a state go by pseudonyms.

    Raises:
        InputError: a stream has the state open, or it is damaged.
    """
    with StreamState(folder, None) as state:
        saved = state.saved()
    if saved is None:
        return False
    contents = contents_of(saved.arrays)
    _, texts = contents.values.get(contents.reference.encoder.schema.user or "", (None, []))
    return bool(texts) and is_pseudonym(texts[-1])


def of_stream(folder: Path, names: Names) -> Counter[tuple[str, bool]]:
    """Return where in a state a user is named, and how often.

    Raises:
        InputError: a stream has the state open, or it is damaged.
    """
    found: Counter[tuple[str, bool]] = Counter()
    with StreamState(folder, None) as state:
        saved, dead = state.saved(), state.rows("dead_letters")
    if saved is None:
        return found  # and no dead letters: they come with a commit
    contents = contents_of(saved.arrays)
    users = _of_users(contents, names)
    for letter in dead:
        found["dead letters", True] += _letter(letter, users, names)
    for name, (_, texts) in contents.values.items():
        series = pl.Series(texts, dtype=pl.String)
        told = names.stand_in(series, name in users)
        found[f"values of {name!r} in the stream's rows", True] += int(told.sum())
        may = int((names.are(series) & ~told).sum())
        found[f"values of {name!r} in the stream's rows", False] += may
    for name, files in contents.models.items():
        found[f"the stream's {name} model", True] += sum(r.count for r in _cleaned(files, names)[1])
    found["items that the stream brought", True] += sum(map(names.mentioned_in, contents.items))
    return found


def clean_stream(folder: Path, names: Names) -> list[Removed]:
    """Remove a user from a state; return what went.

    Rows of the user's values go, and are read as unknown from then on; so do a candidate that is being
    judged, dead letters that name the user, and vocabulary entries of the models in the state.

    Raises:
        InputError: a stream has the state open, or it is damaged.
    """
    removed: list[Removed] = []
    with StreamState(folder, None) as state:
        saved = state.saved()
        if saved is None:
            return []
        contents = contents_of(saved.arrays)
        users = _of_users(contents, names)
        letters = [d for d in state.rows("dead_letters") if _letter(d, users, names)]
        if letters:
            state.remove_dead_letters([(d["partition"], d["position"]) for d in letters])
            removed.append(Removed(str(folder), "dead letters", len(letters)))
        arrays, gone = _without(dict(saved.arrays), contents, names)
        removed += [Removed(str(folder), what, count) for what, count in gone.items() if count]
        if any(gone.values()):
            state.replace(arrays)
        if removed:
            state.scrub()
    return removed


def _without(
    arrays: dict[str, NDArray[Any]], contents: Contents, names: Names
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    gone, rows, users = dict[str, int](), [], _of_users(contents, names)
    for name, (held, texts) in contents.values.items():
        series = pl.Series(texts, dtype=pl.String)
        theirs = names.stand_in(series, name in users)
        rows.append(held[theirs.to_numpy()])
        gone[f"rows of values of {name!r}"] = int(theirs.sum())
    at = np.sort(np.concatenate(rows))
    if len(at):
        arrays = without_rows(arrays, at)
    for name, files in contents.models.items():
        if name == "candidate":
            continue
        cleaned, what = _cleaned(files, names)
        gone[f"values in the {name} model"] = sum(r.count for r in what)
        arrays |= {f"publisher/{name}/{f}": np.frombuffer(d, np.uint8) for f, d in cleaned.items()}
    told = [bool(names.mentioned_in(line)) for line in contents.items]
    if any(told):
        gone["items that the stream brought"] = sum(told)
        left = [line for line, theirs in zip(contents.items, told, strict=True) if not theirs]
        data = "".join(f"{line}\n" for line in left).encode("utf-8", "surrogatepass")
        arrays["newcomers/items"] = np.frombuffer(data, np.uint8)
    if any(gone.values()):  # it may have been judged by the user's events, and holds them all
        drop = ("publisher/candidate/", "publisher/rows/")
        arrays = {name: array for name, array in arrays.items() if not name.startswith(drop)}
    return arrays, gone


def _cleaned(files: Mapping[str, bytes], names: Names) -> tuple[dict[str, bytes], list[Removed]]:
    """Return an artefact's files without the user, and what went."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        removed = clean_artifact(folder, names)
        return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}, removed


def _of_users(contents: Contents, names: Names) -> set[str]:
    """Return the fields, and keys of events, that hold ids of users."""
    user = contents.reference.encoder.schema.user
    return set(names.columns) | ({user} if user is not None else set())


def _letter(letter: Mapping[str, Any], users: set[str], names: Names) -> int:
    """Return how often a dead letter names the user; a short id, as a text of its own, or as a number
    that is the value of a key of users.
    """
    text = letter["payload"].decode("utf-8", "replace")
    told = names.mentioned_in(text) + names.mentioned_in(letter["reason"])
    told = told or sum(f'"{name}"' in text for name in names.all)
    if told or not names.numbers:
        return told
    keys, numbers = ("|".join(each) for each in (map(re.escape, users), map(str, names.numbers)))
    return len(re.findall(rf'"(?:{keys})"\s*:\s*(?:{numbers})(?:\.0*)?\s*(?:[,}}]|$)', text))
