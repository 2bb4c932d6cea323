"""The users: raw columns, their histories and seen items, and the folder that holds them.

Users are never part of the artefact. They come with a request, or from a ``users.rp`` folder:
``users.safetensors`` (everything) and ``users.json`` (names, and two hashes: of the tensors' file
and of itself, canonical and without the hashes, so that no changed byte goes unseen).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from recprune.artifact import folder_written_whole
from recprune.envelope import folder_reader
from recprune.envelope.reading import Reader
from recprune.errors import ArtifactError, DataError
from recprune.histories import Array, Column, CrossTable, SeenItems
from recprune.texts import pack_texts, text, unpack_texts

if TYPE_CHECKING:
    from recprune.crypto import Pseudonyms

__all__ = ["CrossTable", "SeenItems", "Users"]

FORMAT, PROTOCOL = "recprune users", 1
ABOUT, TENSORS = "users.json", "users.safetensors"


@dataclass(frozen=True, eq=False)
class Users:
    """All users of a table, as of one moment.

    Args:
        ids: user ids, as text, without repeats.
        columns: raw user columns (the id's too, if the model uses it), each ``n_users`` long.
        cross: item column → the histories with its values.
        seen: the items each user has seen; None = not known.

    Raises:
        DataError: lengths that contradict each other, or a user twice.

    >>> users = Users(("u1", "u2"), {"age": [34, None]})
    >>> users.record("u2"), users.record("nobody")
    ({'age': None}, None)
    """

    ids: tuple[str, ...]
    columns: Mapping[str, Column]
    cross: Mapping[str, CrossTable] = field(default_factory=dict)
    seen: SeenItems | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(str(text(i)) for i in self.ids))
        if len(self._index) != len(self.ids):
            raise DataError("The users' ids hold one user twice.")
        lengths = {f"column {n!r}": len(c) for n, c in self.columns.items()}
        lengths |= {f"the cross table of {b!r}": len(t.offsets) - 1 for b, t in self.cross.items()}
        if self.seen is not None:
            lengths["the seen items"] = len(self.seen.offsets) - 1
        for what, length in lengths.items():
            if length != len(self.ids):
                raise DataError(f"There are {len(self.ids)} users; {what} has {length}.")
        names = [name for table in self.cross.values() for name in table.fields]
        if len(set(names)) != len(names):
            raise DataError("Two cross tables share the name of a field.")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {user: i for i, user in enumerate(self.ids)}

    def index(self, user_id: Any) -> int | None:
        """Return the user's position, or None for an unknown user (a missing id too)."""
        name = text(user_id)
        return None if name is None else self._index.get(name)

    def find(self, raw_id: Any, pseudonyms: Pseudonyms | None = None) -> int | None:
        """Return the position of the user with this raw id, whichever key the ids are hashed with.

        Args:
            raw_id: as it stands in the source.
            pseudonyms: the keys that ids may be hashed with; None = ids are stored as they are.

        Returns:
            The position, or None for an unknown user or a missing id. With keys, the id itself is
            not compared with what is stored: a pseudonym alone does not find its user.

        >>> from recprune.crypto import Pseudonymiser, Pseudonyms
        >>> key = Pseudonymiser(bytes(32))
        >>> users = Users((key.pseudonym("ann"),), {})
        >>> users.find("ann", Pseudonyms(key)), users.find("ann"), users.find("bob", Pseudonyms(key))
        (0, None, None)
        """
        name = text(raw_id)
        if name is None or pseudonyms is None:
            return self.index(name)
        found = (self._index.get(known) for known in pseudonyms.of(name))
        return next((index for index in found if index is not None), None)

    def record(self, user_id: Any) -> dict[str, Any] | None:
        """Return the user's raw columns, or None for an unknown user."""
        index = self.index(user_id)
        return None if index is None else self.record_at(index)

    def record_at(self, index: int) -> dict[str, Any]:
        """Return the raw columns of the user at this position."""
        return {name: column[index] for name, column in self.columns.items()}

    def save(self, folder: Path | str) -> None:
        """Write the folder, whole or not at all; a former ``users.rp`` there is replaced.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        _write(Path(folder), self)

    @classmethod
    def load(cls, source: Path | str | Reader) -> Users:
        """Read a folder that ``save`` wrote; every hash and length is checked.

        Args:
            source: the folder, plain or sealed; or a ``reader(name) -> bytes`` of one, see
                :func:`recprune.envelope.folder_reader`.

        Raises:
            ArtifactError: not a users folder, a newer protocol, or files changed or cut short; a
                sealed folder under another master key.
            InputError: the folder is sealed, and there is no master key.
        """
        return _read(source if callable(source) else folder_reader(source, "users folder", ABOUT))


def _write(folder: Path, users: Users) -> None:
    tensors = _packed("ids", users.ids)
    columns = []
    for number, (name, column) in enumerate(users.columns.items()):
        kind = _column_kind(column)
        columns.append({"name": name, "kind": kind})
        place = f"column.{number}"
        if kind in ("numbers", "vectors"):
            tensors[place] = np.ascontiguousarray(column)
        elif kind == "lists":
            # A missing list is stored as an empty one: a model reads both as unknown.
            lists = [[] if v is None else list(v) for v in column]
            tensors |= _packed(place, [text(v) for one in lists for v in one])
            tensors[f"{place}.sizes"] = np.array([len(one) for one in lists], np.int64)
        else:
            tensors |= _packed(place, [text(v) for v in column])
    cross = []
    for number, (by, table) in enumerate(users.cross.items()):
        prefix = f"cross.{number}"
        tensors |= _packed(f"{prefix}.values", table.values)
        tensors[f"{prefix}.offsets"] = np.ascontiguousarray(table.offsets, np.int64)
        tensors[f"{prefix}.keys"] = np.ascontiguousarray(table.keys, np.int32)
        for at, numbers in enumerate(table.fields.values()):
            tensors[f"{prefix}.field.{at}"] = np.ascontiguousarray(numbers, np.float32)
        defaults = [table.default(name) for name in table.fields]
        known = [None if math.isnan(d) else d for d in defaults]
        cross.append({"by": by, "fields": list(table.fields), "defaults": known})
    if users.seen is not None:
        tensors |= _packed("seen.items", users.seen.items)
        tensors["seen.offsets"] = np.ascontiguousarray(users.seen.offsets, np.int64)
        tensors["seen.index"] = np.ascontiguousarray(users.seen.index, np.int32)
    about: dict[str, Any] = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "users": len(users),
        "columns": columns,
        "cross": cross,
        "seen": users.seen is not None,
    }
    data = format_tensors(tensors)
    about["sha256"] = {ABOUT: _own_hash(about), TENSORS: hashlib.sha256(data).hexdigest()}
    with folder_written_whole(folder) as partial:
        (partial / TENSORS).write_bytes(data)
        (partial / ABOUT).write_text(
            json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8"
        )


def _read(read: Reader) -> Users:
    about = _read_about(read)
    data = read(TENSORS)
    if hashlib.sha256(data).hexdigest() != about["sha256"][TENSORS]:
        raise ArtifactError(
            f"{TENSORS} does not match the hash in {ABOUT}: the file was changed or cut short. "
            "Restore the folder from where it was made."
        )
    try:
        return _build(about, parse_tensors(data))
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{TENSORS} cannot be read: {error}.") from error


def _build(about: Mapping[str, Any], tensors: Mapping[str, Array]) -> Users:
    columns: dict[str, Any] = {}
    for number, entry in enumerate(about["columns"]):
        place, kind = f"column.{number}", entry["kind"]
        if kind in ("numbers", "vectors"):
            columns[entry["name"]] = tensors[place]
        elif kind == "lists":
            columns[entry["name"]] = _lists(_texts(place, tensors), tensors[f"{place}.sizes"])
        else:
            columns[entry["name"]] = _texts(place, tensors)
    cross = {}
    for number, entry in enumerate(about["cross"]):
        prefix, names = f"cross.{number}", entry["fields"]
        cross[entry["by"]] = CrossTable(
            _known(f"{prefix}.values", tensors),
            tensors[f"{prefix}.offsets"],
            tensors[f"{prefix}.keys"],
            {name: tensors[f"{prefix}.field.{place}"] for place, name in enumerate(names)},
            {n: d for n, d in zip(names, entry["defaults"], strict=True) if d is not None},
        )
    seen = None
    if about["seen"]:
        items = _known("seen.items", tensors)
        seen = SeenItems(items, tensors["seen.offsets"], tensors["seen.index"])
    return Users(_known("ids", tensors), columns, cross, seen)


def _read_about(read: Reader) -> dict[str, Any]:
    try:
        about = json.loads(read(ABOUT))
        if about["format"] != FORMAT:
            raise ArtifactError(f"{ABOUT} is not recprune's: its format is {about['format']!r}.")
        if about["protocol"] > PROTOCOL:
            raise ArtifactError(
                f"The users folder has protocol {about['protocol']}; this recprune reads up to "
                f"{PROTOCOL}. Upgrade recprune."
            )
        hashes = about.pop("sha256")
        if hashes[ABOUT] != _own_hash(about):
            raise ArtifactError(f"{ABOUT} was changed. Restore the folder from where it was made.")
    except ArtifactError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{ABOUT} cannot be read: {error!r}.") from error
    return {**about, "sha256": {TENSORS: hashes.get(TENSORS)}}


def _own_hash(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _packed(prefix: str, values: Any) -> dict[str, Array]:
    return {f"{prefix}.{key}": array for key, array in pack_texts(list(values)).items()}


def _texts(prefix: str, tensors: Mapping[str, Array]) -> list[str | None]:
    keys = ("bytes", "lengths", "missing")
    return unpack_texts({k: tensors[t] for k in keys if (t := f"{prefix}.{k}") in tensors})


def _column_kind(column: Any) -> str:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return "numbers" if column.ndim == 1 else "vectors"
    return "lists" if any(isinstance(v, list | tuple) for v in column) else "texts"


def _lists(flat: list[str | None], sizes: Array) -> list[list[str | None]]:
    ends = np.cumsum(sizes)
    if (sizes < 0).any() or (int(ends[-1]) if len(ends) else 0) != len(flat):
        raise DataError("lists and their sizes disagree")
    return [flat[a:b] for a, b in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]


def _known(prefix: str, tensors: Mapping[str, Array]) -> tuple[str, ...]:
    values = _texts(prefix, tensors)
    known = tuple(v for v in values if v is not None)
    if len(known) != len(values):
        raise DataError(f"{prefix} has a missing value")
    return known
