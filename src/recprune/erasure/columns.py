"""A user's rows out of a folder of columns (``data.rp``), block by block, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save

from recprune.data.columns import (
    ABOUT,
    BLOCK,
    TEXTS,
    ColumnStore,
    StoredColumn,
    manifest,
    sha256_of,
)
from recprune.data.quality import Finding
from recprune.erasure.names import Names
from recprune.erasure.records import Removed
from recprune.folders import file_written_whole
from recprune.texts import pack_joined

__all__ = ["clean_columns", "user_columns"]

Array = NDArray[Any]
Mask = NDArray[np.bool_]


def user_columns(store: ColumnStore, names: Names) -> list[str]:
    """Return the columns that hold ids of users."""
    known = {store.roles.get("user"), store.pseudonyms.get("column"), *names.columns}
    return [name for name in store.names if name in known]


def rows_of(store: ColumnStore, column: str, names: Names) -> Mask:
    """Return which rows hold the user in a column of ids, shape ``(n_rows,)``."""
    raw, content = store.raw(column), store.columns[column].content
    there = np.zeros(store.n_rows, np.bool_)
    if content == "text":
        wanted = np.flatnonzero(names.are(store.texts(column)).to_numpy())
    elif content in ("integer", "number"):
        wanted = np.array(sorted(names.numbers), np.float64 if content == "number" else np.int64)
    else:
        return there
    if len(wanted):
        for start in range(0, store.n_rows, BLOCK):
            there[start : start + BLOCK] = np.isin(raw[start : start + BLOCK], wanted)
    return there


def clean_columns(folder: Path, names: Names) -> list[Removed] | None:
    """Remove a user's rows, and telling names from the other rows' texts; return what went.

    Args:
        folder: that nobody reads yet; its files are replaced, never written into.
        names: whom.

    Returns:
        What was removed; None = they had all rows, and the folder is left as it is.

    Raises:
        ArtifactError: the folder is not sound.
    """
    store = ColumnStore(folder)
    gone, users = np.zeros(store.n_rows, np.bool_), user_columns(store, names)
    for name in users:
        gone |= rows_of(store, name, names)
    where = str(folder)
    removed = [Removed(where, "rows", int(gone.sum()))] if gone.any() else []
    # Texts of the columns that go from rows that stay.
    told: dict[str, Mask] = {}
    for name, column in store.columns.items():
        if column.content in ("text", "list"):
            told[name] = names.stand_in(store.texts(name), name in users).to_numpy()
    about = json.loads((folder / ABOUT).read_bytes())
    findings = [_scrubbed(finding, names) for finding in store.findings]
    changed = bool(removed) or any(mask.any() for mask in told.values())
    if not changed and findings == list(store.findings):
        return []
    if gone.all() and store.n_rows:
        return None
    columns: list[StoredColumn] = []
    tensors: dict[str, Array] = {}
    for i, (name, column) in enumerate(store.columns.items()):
        rewritten, vocabulary, cells = _column(store, i, column, ~gone, told.get(name))
        columns.append(rewritten)
        tensors |= {f"{i}.{key}": array for key, array in vocabulary.items()}
        if cells:
            removed.append(Removed(where, f"values of column {name!r}, now missing", cells))
    with file_written_whole(folder / TEXTS) as partial:
        partial.write_bytes(save(tensors))
    about |= {"rows": int((~gone).sum()), "columns": columns, "findings": findings}
    with file_written_whole(folder / ABOUT) as partial:
        partial.write_text(manifest(about), encoding="utf-8")
    if findings != list(store.findings):
        removed.append(Removed(where, "mentions in findings", 1))
    return removed


def _scrubbed(finding: Finding, names: Names) -> Finding:
    action, message = names.scrubbed(finding.action), names.scrubbed(finding.message)
    return replace(finding, action=action, message=message)


def _column(
    store: ColumnStore, i: int, column: StoredColumn, stay: Mask, told: Mask | None
) -> tuple[StoredColumn, dict[str, Array], int]:
    """Write a column's rows that stay; return its entry, its texts, and how many were told of."""
    vocabulary: dict[str, Array] = {}
    cells = 0
    with file_written_whole(store.path / f"{i}.bin") as partial:
        if told is None:
            blocks = _plain(store.raw(column.name), stay)
        else:
            raw = _elements if column.content == "list" else _codes
            count = np.zeros(len(told), np.int64)
            for _, codes in raw(store, column.name, stay):
                count += np.bincount(codes[codes >= 0], minlength=len(told))
            cells, count[told] = int(count[told].sum()), 0
            new, vocabulary = _renumbered(store.texts(column.name), count)
            if column.content == "list":
                blocks = _lists(store, column.name, stay, new)
            else:
                blocks = (new[codes] for _, codes in _codes(store, column.name, stay))
        missing = 0
        with partial.open("wb") as file:
            for block in blocks:
                file.write(np.ascontiguousarray(block, block.dtype).data)
                missing += _missing(block, column) if block.dtype == column.dtype else 0
        entry = replace(column, missing=missing, sha256=sha256_of(partial))
    return entry, vocabulary, cells


def _blocks(stay: Mask) -> Iterator[tuple[slice, Mask]]:
    for start in range(0, len(stay), BLOCK):
        rows = slice(start, min(start + BLOCK, len(stay)))
        yield rows, stay[rows]


def _plain(raw: Array, stay: Mask) -> Iterator[Array]:
    for rows, here in _blocks(stay):
        yield np.asarray(raw[rows])[here]


def _codes(store: ColumnStore, name: str, stay: Mask) -> Iterator[tuple[Array, Array]]:
    """Yield nothing of lists, and the codes of the texts that stay."""
    for codes in _plain(store.raw(name), stay):
        yield codes[:0], codes


def _elements(store: ColumnStore, name: str, stay: Mask) -> Iterator[tuple[Array, Array]]:
    """Yield, of the lists that stay, the size (missing: -1), and the codes of all elements."""
    raw = store.raw(name)
    first = 0
    for rows, here in _blocks(stay):
        ends = np.asarray(raw[rows])
        absent, ends = ends < 0, np.where(ends < 0, -1 - ends, ends)
        sizes, last = np.diff(ends, prepend=first), int(ends[-1])
        codes = store.elements(name, first, last)
        yield np.where(absent, -1, sizes)[here], codes[np.repeat(here, sizes)]
        first = last


def _lists(store: ColumnStore, name: str, stay: Mask, new: Array) -> Iterator[Array]:
    """Yield where the lists end, block by block, and then their elements, by their new codes."""
    total = 0
    for sizes, codes in _elements(store, name, stay):
        owner = np.repeat(np.arange(len(sizes)), np.maximum(sizes, 0))
        left = np.bincount(owner[new[codes] >= 0], minlength=len(sizes))
        ends = total + np.cumsum(left)
        total = int(ends[-1]) if len(ends) else total
        yield np.where(sizes < 0, -1 - ends, ends)
    for _, codes in _elements(store, name, stay):
        coded = new[codes]
        yield coded[coded >= 0]


def _renumbered(texts: pl.Series, count: NDArray[np.int64]) -> tuple[Array, dict[str, Array]]:
    """Return old code → new one (-1 = gone, or missing), and the texts that are left, by count."""
    table = pl.DataFrame({"text": texts, "count": count}).with_row_index("old")
    left = table.filter(pl.col("count") > 0).sort(["count", "text"], descending=[True, False])
    new = np.full(len(count) + 1, -1, np.int32)  # a missing value's code, -1, reads the last entry
    new[left["old"].to_numpy()] = np.arange(len(left), dtype=np.int32)
    joined = (left["text"].str.join("").item() or "").encode("utf-8", "surrogatepass")
    packed = pack_joined(joined, left["text"].str.len_bytes().to_numpy())
    return new, {**packed, "counts": left["count"].to_numpy().astype(np.int64)}


def _missing(block: Array, column: StoredColumn) -> int:
    match column.content:
        case "number":
            return int(np.isnan(block).sum())
        case "vector":
            return int(np.isnan(block).all(axis=1).sum())
        case "text" | "boolean":
            return int((block == -1).sum())
        case "list":
            return int((block < 0).sum())
    return int((block == np.iinfo(block.dtype).min).sum())
