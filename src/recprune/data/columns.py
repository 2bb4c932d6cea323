"""A table on disk, column by column: memory-mapped arrays, the texts of each column, a manifest.

A sealed folder is read alike, its columns decrypted a block at a time.

``docs/format.md`` is the specification of the folder ``data.rp``. A column of text is codes into its
texts, most frequent first; numbers are stored as narrow as they stay exact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError

from recprune.data.column_files import ColumnFiles
from recprune.data.disk_frame import Digest, DiskFrame, Reader
from recprune.data.nested import lists_of
from recprune.data.quality import Finding
from recprune.envelope import holds
from recprune.errors import ArtifactError, DataError, nearest
from recprune.schema import Kind
from recprune.texts import unpack_texts

__all__ = ["ABOUT", "FORMAT", "PROTOCOL", "TEXTS", "ColumnStore", "StoredColumn", "holds_columns"]

FORMAT, PROTOCOL = "recprune data", 1
ABOUT, TEXTS = "data.json", "vocab.safetensors"
#: Rows decoded or hashed at once.
BLOCK = 1 << 18

Content = Literal["text", "integer", "number", "boolean", "date", "time", "list", "vector"]
DTYPES = {
    "text": ("<i4",),
    "integer": ("<i4", "<i8"),
    "number": ("<f4", "<f8"),
    "boolean": ("|i1",),
    "date": ("<i4",),
    "time": ("<i8",),
    "list": ("<i8",),
    "vector": ("<f4", "<f8"),
}


@dataclass(frozen=True)
class StoredColumn:
    """One column's entry in the manifest.

    Args:
        name: of the column.
        content: what it holds: text (codes), integers, numbers, booleans, dates in days or times in
            microseconds since 1970, lists of texts, or vectors of numbers.
        dtype: of the file, little-endian; of a list's ends. A missing value is −1 (text, boolean), the least value
            of the type (integer, date, time) or NaN (number).
        missing: number of missing values.
        sha256: of the file.
        width: numbers of a vector; 1 of all else.
    """

    name: str
    content: Content
    dtype: str
    missing: int
    sha256: str
    width: int = 1


class ColumnStore:
    """A folder of columns, open for reading. Nothing is read until it is asked for.

    Args:
        path: the folder, plain or sealed.

    Raises:
        ArtifactError: not such a folder, of a newer protocol, or a file is absent or has another
            length than the manifest says; or it is sealed, and was changed or has another key.
        InputError: it is sealed, and there is no master key.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source = ColumnFiles(self.path, ABOUT)
        about = _manifest(self.path, self._source)
        self.n_rows: int = about["rows"]
        self.roles: dict[str, str] = about["roles"]
        #: Whether the source was text, whose types are read from its values.
        self.from_text: bool = about["from_text"]
        #: Column → what it holds, where the source's form or a schema said so.
        self.kinds: dict[str, Kind] = about.get("kinds", {})
        #: Of a column of pseudonyms, its name and the key's fingerprint; {} without one.
        self.pseudonyms: dict[str, str] = about.get("pseudonyms", {})
        self.findings = tuple(Finding(**f) for f in about["findings"])
        self.columns = {c["name"]: StoredColumn(**c) for c in about["columns"]}
        self._files = {name: f"{i}.bin" for i, name in enumerate(self.columns)}
        for name, column in self.columns.items():
            if (
                column.content not in get_args(Content)
                or column.dtype not in DTYPES[column.content]
            ):
                raise _unsound(self.path, f"column {name!r} is said to hold {column.content!r}")
            file = self._files[name]
            expected = self.n_rows * np.dtype(column.dtype).itemsize * column.width
            size = self._source.size(file)
            if column.content == "list" and size is not None and size >= expected:
                expected += 4 * int(_end(self._part(name, max(self.n_rows - 1, 0), None)).sum())
            if size != expected:
                raise _unsound(self.path, f"file {file!r} should have {expected} bytes")

    @property
    def names(self) -> list[str]:
        """Column names, in the source's order."""
        return list(self.columns)

    def raw(self, name: str) -> NDArray[Any]:
        """Return a column as stored, shape ``(n_rows,)``, a vector's with its width: memory-mapped,
        or in memory if the folder is sealed.

        Of lists, it is where each ends among the elements; −1 less than minus that = missing.

        Raises:
            DataError: there is no such column; the nearest is named.
        """
        if name not in self.columns:
            raise DataError(f"The data has no column {name!r}.{nearest(name, self.names)}")
        return self._part(name, 0, None)

    def _part(self, name: str, start: int, stop: int | None) -> NDArray[Any]:
        """Return rows ``start`` to ``stop`` (exclusive; None = the end) of a column as stored."""
        column, file = self.columns[name], self._files[name]
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        width = column.width if column.content == "vector" else 1
        part = self._source.array(file, column.dtype, start * width, stop * width)
        return part if column.content != "vector" else part.reshape(-1, width)

    def texts(self, name: str) -> pl.Series:
        """Return the texts of a column, most frequent first, ties by text."""
        return self._texts(self.names.index(name))

    def counts(self, name: str) -> NDArray[np.int64]:
        """Return how often each text comes, in the order of :meth:`texts`."""
        return self._vocabulary[f"{self.names.index(name)}.counts"]

    def series(self, name: str, start: int = 0, stop: int | None = None) -> pl.Series:
        """Return rows ``start`` to ``stop`` (exclusive; None = the end) of a column, decoded."""
        raw, column = np.asarray(self._part(name, start, stop)), self.columns[name]
        if column.content == "list":
            return self._lists(name, raw, start)
        if column.content == "vector":
            vectors = pl.Series(name, raw.astype(np.float64))
            missing = pl.Series(np.isnan(raw).all(axis=1))
            return pl.select(pl.when(~missing).then(vectors).alias(name)).to_series()
        values = pl.Series(name, raw)
        if column.content == "number":
            return values.cast(pl.Float64).fill_nan(None)
        least = -1 if column.content in ("text", "boolean") else np.iinfo(raw.dtype).min
        values = pl.select(pl.when(values != least).then(values).alias(name)).to_series()
        if column.content == "text":
            return self.texts(name).gather(values.cast(pl.UInt32)).alias(name)
        if column.content == "boolean":
            return values.cast(pl.Boolean)
        kinds = {"date": pl.Date(), "time": pl.Datetime("us")}
        return values.cast(kinds.get(column.content, pl.Int64()))

    def _lists(self, name: str, raw: NDArray[Any], start: int) -> pl.Series:
        ends = _end(raw)
        first = int(_end(self._part(name, start - 1, start)).sum()) if start else 0
        size = int(ends[-1]) - first if len(ends) else 0
        codes = self.elements(name, first, first + size)
        texts = self.texts(name).gather(pl.Series(codes, dtype=pl.UInt32))
        return lists_of(texts, np.diff(ends, prepend=first), pl.Series(raw < 0)).alias(name)

    def elements(self, name: str, start: int, stop: int) -> NDArray[np.int32]:
        """Return elements ``start`` to ``stop`` (exclusive) of a column of lists, by their codes."""
        file, place = self._files[name], 8 * self.n_rows
        return np.asarray(self._source.array(file, "<i4", start, stop, offset=place))

    def frame(self, start: int = 0, stop: int | None = None) -> pl.DataFrame:
        """Return rows ``start`` to ``stop`` (exclusive; None = the end) of all columns."""
        return pl.DataFrame([self.series(name, start, stop) for name in self.columns])

    def lazy(self) -> DiskFrame:
        """Return all columns, each to be read when it is asked for."""
        return DiskFrame({name: self._reader(name) for name in self.columns}, self.n_rows)

    def _reader(self, name: str) -> Reader:
        told = self.columns[name].content in ("text", "integer", "number", "boolean")
        digest = partial(self._digest, name) if told else None
        return Reader(partial(self.series, name), partial(self.series, name), digest)

    def _digest(self, name: str) -> Digest:
        column = self.columns[name]
        nothing = pl.Series(name, [None] if column.missing else [], dtype=pl.Null)
        if column.content == "text":
            return Digest(
                pl.concat([self.texts(name).alias(name), nothing.cast(pl.String)]), column.missing
            )
        values: list[pl.Series] = []
        infinite = 0
        for start in range(0, self.n_rows, BLOCK):
            block = self.series(name, start, start + BLOCK).drop_nulls()
            if block.dtype.is_float():
                infinite += int(block.is_infinite().sum())
                finite = block.filter(block.is_finite())
                ends = [finite.min(), finite.max(), block.min(), block.max()]
            else:
                ends = [block.min(), block.max()]
            values.append(pl.Series(name, ends, dtype=block.dtype).drop_nulls())
        known = pl.concat(values).unique(maintain_order=True)
        return Digest(pl.concat([known, nothing.cast(known.dtype)]), column.missing, infinite)

    def blocks(self, rows: int = BLOCK) -> Iterator[pl.DataFrame]:
        """Yield all rows in order, so many at once."""
        for start in range(0, self.n_rows, rows):
            yield self.frame(start, start + rows)

    def verify(self) -> None:
        """Compare every file with its hash: reads the whole folder.

        Raises:
            ArtifactError: a file is not what was written.
        """
        for name, column in self.columns.items():
            if self._source.sha256(self._files[name]) != column.sha256:
                raise _unsound(self.path, f"the bytes of column {name!r} are not those written")

    @cached_property
    def _vocabulary(self) -> dict[str, NDArray[Any]]:
        try:
            tensors = self._source.tensors(TEXTS)
        except (OSError, SafetensorError) as error:
            raise _unsound(self.path, f"{TEXTS} cannot be read ({error})") from error
        return tensors

    def _texts(self, i: int) -> pl.Series:
        cache: dict[int, pl.Series] = self.__dict__.setdefault("_cache", {})
        if i not in cache:
            packed = {
                key: array
                for key in ("bytes", "lengths")
                if (array := self._vocabulary.get(f"{i}.{key}")) is not None
            }
            cache[i] = pl.Series(unpack_texts(packed), dtype=pl.String)
        return cache[i]


def _end(raw: NDArray[Any]) -> NDArray[np.int64]:
    """Return where lists end, missing ones too."""
    return np.where(raw < 0, -1 - raw, raw)


def holds_columns(path: str | Path) -> bool:
    """Tell whether a path is a folder that :func:`recprune.data.ingest.ingest` wrote, sealed or not.

    Raises:
        ArtifactError: it is sealed, and says nothing that can be read.
    """
    return holds(path, ABOUT)


def manifest(about: Mapping[str, Any]) -> str:
    """Return the text of the manifest: ``about``, with columns and findings as JSON."""
    stated = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        **about,
        "columns": [asdict(c) for c in about["columns"]],
        "findings": [f.to_json() for f in about["findings"]],
    }
    return json.dumps(stated, indent=1, ensure_ascii=False)


def sha256_of(file: Path) -> str:
    """Return the hash of a file's bytes."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _manifest(path: Path, source: ColumnFiles) -> dict[str, Any]:
    try:
        about = json.loads(source.read(ABOUT))
        if about["format"] != FORMAT:
            raise _unsound(path, f"its format is {about['format']!r}")
        if about["protocol"] > PROTOCOL:
            raise ArtifactError(
                f"{str(path)!r} has protocol {about['protocol']}; this version reads up to "
                f"{PROTOCOL}. Update recprune."
            )
        for key in ("rows", "from_text", "roles", "columns", "findings"):
            about[key]
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{str(path)!r} is no ingested data: it has no {ABOUT}. Make it with: recprune ingest."
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unsound(path, f"{ABOUT} cannot be read ({error})") from error
    result: dict[str, Any] = about
    return result


def _unsound(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{str(path)!r} is no sound data folder: {why}. Ingest the source again.")
