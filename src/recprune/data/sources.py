"""Tables from files, folders and patterns; each form has a file of its own beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.data.source_bytes import missing, split_suffix
from recprune.data.source_clicks import click_kinds, is_avazu, read_hours
from recprune.data.source_csv import read_csv, stream_csv
from recprune.data.source_folder import files_of, is_glob, stack
from recprune.data.source_json import read_json_lines, stream_json_lines
from recprune.data.source_movielens import MOVIELENS_KINDS, is_movielens, read_movielens
from recprune.data.source_recbole import is_recbole, read_recbole, recbole_kinds
from recprune.data.source_sparse import read_ffm, read_libsvm
from recprune.data.source_typed import read_arrow, read_parquet, stream_arrow, stream_parquet
from recprune.data.stream import Stream
from recprune.errors import DataError
from recprune.schema import Kind

__all__ = ["Read", "open_streams", "read_source", "read_table", "table_name"]

Reader = Callable[[Path], pl.DataFrame]

#: Columns come as text, whose types are still to be read; these collect their bad rows.
TEXT: Mapping[str, partial[pl.DataFrame]] = {
    ".csv": partial(read_csv, separator=","),
    ".tsv": partial(read_csv, separator="\t"),
    ".txt": partial(read_csv, separator=","),
}
#: Text that states its types.
TYPED: Mapping[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".libsvm": read_libsvm,
    ".svm": read_libsvm,
    ".ffm": read_ffm,
    ".libffm": read_ffm,
}
BINARY: Mapping[str, Reader] = {
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".ipc": read_arrow,
}
KNOWN = (
    f"{', '.join([*TEXT, *TYPED])} (each also .gz and .zst), {', '.join(BINARY)}, RecBole's .inter, "
    "the folders of MovieLens, and a folder or pattern of such files"
)


@dataclass(frozen=True, eq=False)
class Read:
    """A table as read.

    Args:
        frame: its columns.
        from_text: they are text, whose types are still to be read.
        kinds: column → what it holds, where the table's form says so.
    """

    frame: pl.DataFrame
    from_text: bool
    kinds: Mapping[str, Kind] = field(default_factory=dict)


def read_table(path: str | Path, bad: BadRows | None = None) -> tuple[pl.DataFrame, bool]:
    """Return the table, and whether its columns are text whose types are still to be read.

    CSV and TSV columns come as strings, empty cells as null. A ``.csv`` or ``.txt`` whose header
    holds no comma is read with the semicolon or tab that it does hold. The files of a folder or a
    pattern are read in the order of their names, one after the other; those of MovieLens and of
    RecBole are joined by user and item. Criteo's files need no header, nor do rows of numbers
    only, and Avazu's hours are times.

    ``bad`` collects the bad rows of CSV and TSV files; see
    :func:`recprune.data.source_csv.read_csv`.

    Raises:
        DataError: a file is missing, empty, of an unknown type, cut short, not UTF-8, or has a
            row with more cells than the header; files that are read together differ in columns.
    """
    read = read_source(path, bad)
    return read.frame, read.from_text


def read_source(path: str | Path, bad: BadRows | None = None) -> Read:
    """Return :func:`read_table`'s table with what its form says of the columns."""
    path = Path(path)
    joined = _joined(path)
    if joined is not None:
        return joined
    if path.is_dir() or is_glob(path):
        files = files_of(path, _readable, KNOWN)
        frame, from_text = stack(files, partial(_file, bad=bad))
    else:
        files = [path]
        frame, from_text = _file(path, bad)
    return Read(frame, from_text, _kinds(files[0], frame))


def open_streams(path: str | Path) -> list[Stream]:
    """Return the files of :func:`read_source`'s table, to be read batch by batch.

    Tables joined from several files (MovieLens, RecBole), libsvm and libffm are read at once.

    Raises:
        DataError: see :func:`read_table`, as far as it shows without reading all rows.
    """
    path = Path(path)
    joined = _joined(path)
    if joined is not None:
        return [_whole(path, joined)]
    if path.is_dir() or is_glob(path):
        return [_stream(file) for file in files_of(path, _readable, KNOWN)]
    return [_stream(path)]


def _joined(path: Path) -> Read | None:
    if is_movielens(path):
        return Read(read_movielens(path), True, MOVIELENS_KINDS)
    if is_recbole(path):
        frame = read_recbole(path)
        return Read(frame, False, recbole_kinds(frame))
    return None


def _stream(path: Path) -> Stream:
    kind, packing = split_suffix(path)
    if path.is_file():
        if kind in TEXT:
            return stream_csv(path, TEXT[kind].keywords["separator"])
        if TYPED.get(kind) is read_json_lines:
            return stream_json_lines(path)
        if not packing and kind in BINARY:
            stream = stream_parquet if BINARY[kind] is read_parquet else stream_arrow
            return stream(path)
    frame, from_text = _file(path, None)
    return _whole(path, Read(frame, from_text, _kinds(path, frame)))


def _whole(path: Path, read: Read) -> Stream:
    names = tuple(read.frame.columns)
    return Stream(path, names, lambda bad: iter([read.frame]), read.from_text, read.kinds)


def _kinds(path: Path, frame: pl.DataFrame) -> Mapping[str, Kind]:
    if TYPED.get(split_suffix(path)[0]) is read_ffm:  # indices of categories, whatever they count
        return dict.fromkeys([n for n in frame.columns if n != "label"], "categorical")
    return click_kinds(frame.columns)


def table_name(path: str | Path) -> str:
    """Return a name for the table: the file's or folder's; for a pattern that of its folder.

    >>> table_name("data/events.csv.gz"), table_name("data/day*.csv")
    ('events', 'data')
    """
    path = Path(path)
    while is_glob(path):
        path = path.parent
    return path.absolute().name.split(".")[0]


def _file(path: Path, bad: BadRows | None) -> tuple[pl.DataFrame, bool]:
    kind, packing = split_suffix(path)
    if kind in TEXT:
        frame = TEXT[kind](path, bad=bad)
        return (read_hours(path, frame), False) if is_avazu(frame) else (frame, True)
    read = TYPED.get(kind) or (None if packing else BINARY.get(kind))
    if read is None:
        # A folder without its last letter is likelier than a file without a type.
        raise missing(path) if not path.suffix and not path.exists() else _unknown(path)
    return read(path), False


def _readable(path: Path) -> bool:
    kind, packing = split_suffix(path)
    return kind in TEXT or kind in TYPED or (not packing and kind in BINARY)


def _unknown(path: Path) -> DataError:
    return DataError(
        f"File {str(path)!r} has an unknown type. Known: {KNOWN}. Rename it, or read it yourself "
        "and use Dataset.from_frame."
    )
