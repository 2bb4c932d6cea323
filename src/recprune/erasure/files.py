"""A user out of what was written for people: reports, lists and tables in a run's folder."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from recprune.erasure.names import Names
from recprune.erasure.records import Removed
from recprune.folders import file_written_whole

__all__ = ["TEXTS", "clean_bad_rows", "clean_file", "in_frame", "in_json", "read_frame"]

#: Files that are read as text; the others that are known are tables.
TEXTS = (".json", ".jsonl", ".ndjson", ".html", ".htm", ".md", ".txt", ".toml", ".svg", ".log")
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".ipc")
#: Stands for a JSON value that goes.
GONE = object()


def clean_file(file: Path, names: Names) -> list[Removed]:
    """Write a file again without a user, whole or not at all; return what went.

    Of a table, the rows go in which a column of users holds them; of JSON, the objects whose user
    they are (a file that is such an object goes as a whole). Telling names elsewhere become
    "(erased)", and in tables missing.
    """
    suffix, where = file.suffix.lower(), str(file)
    if suffix in TABLES:
        return _clean_table(file, names)
    if suffix not in TEXTS:
        return []
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        return []
    if suffix in (".json", ".jsonl", ".ndjson"):
        cleaned, objects = _clean_json(text, names, lines=suffix != ".json")
    else:
        cleaned, objects = text, 0
    if cleaned is None:
        file.unlink()
        return [Removed(where, "file, which was about the user", 1)]
    mentions = names.mentioned_in(cleaned)
    if not objects and not mentions:
        return []
    with file_written_whole(file) as partial:
        partial.write_text(names.scrubbed(cleaned), "utf-8")
    counts = {"entries of the user": objects, "mentions": mentions}
    return [Removed(where, what, count) for what, count in counts.items() if count]


def clean_bad_rows(file: Path, names: Names) -> list[Removed]:
    """Empty the text of bad rows in which a user's name is a word, be it telling or not."""
    frame = read_frame(file)
    if frame is None or "text" not in frame.columns:
        return []
    held = frame["text"].map_elements(names.may_be_in, return_dtype=pl.Boolean).fill_null(False)
    if not held.any():
        return []
    with file_written_whole(file) as partial:
        text = pl.when(held).then(pl.lit("")).otherwise(pl.col("text"))
        frame.with_columns(text.alias("text")).write_csv(partial)
    return [Removed(str(file), "texts of bad rows", int(held.sum()))]


def in_json(text: str, names: Names, lines: bool) -> int:
    """Return how many objects of a JSON text have the user, by any name, as theirs."""
    return _clean_json(text, names, lines)[1]


def _clean_json(text: str, names: Names, lines: bool) -> tuple[str | None, int]:
    """Return the text without the user's objects, None if nothing is left, and how many there were."""
    if lines:
        kept, count = [], 0
        # Not by splitlines: to it, U+2028 and its like end a line, and JSON holds them as they are.
        for line in re.findall(r"[^\n]*\n|[^\n]+", text):
            cleaned, some = _clean_json(line, names, lines=False) if line.strip() else (line, 0)
            kept.append(cleaned or "")
            count += some
        return ("".join(kept) if count else text) or None, count
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, 0
    counted = [0]
    left = _pruned(value, names, counted)
    if left is GONE:
        return None, 1
    if not counted[0]:
        return text, 0
    ending = "\n" if text.endswith("\n") else ""
    indent = 1 if "\n" in text.strip() else None
    return json.dumps(left, indent=indent, ensure_ascii=False) + ending, counted[0]


def _pruned(value: Any, names: Names, counted: list[int]) -> Any:
    if isinstance(value, list):
        return [left for v in value if (left := _pruned(v, names, counted)) is not GONE]
    if not isinstance(value, dict):
        return value
    if any(key in names.columns and _is(value[key], names) for key in value):
        counted[0] += 1
        return GONE
    out = {}
    for key, inner in value.items():
        if key in names.telling:
            counted[0] += 1
        elif (left := _pruned(inner, names, counted)) is not GONE:
            out[key] = left
    return out


def _is(value: Any, names: Names) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return value in names.numbers
    return isinstance(value, str) and value.strip() in names.all


def read_frame(file: Path) -> pl.DataFrame | None:
    """Return a table, of CSV and TSV all columns as text; None if the file is none."""
    suffix = file.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            separator = "\t" if suffix == ".tsv" else ","
            return pl.read_csv(file.read_bytes(), separator=separator, infer_schema=False)
        if suffix in (".parquet", ".pq"):
            return pl.read_parquet(io.BytesIO(file.read_bytes()))
        if suffix in (".arrow", ".feather", ".ipc"):
            return pl.read_ipc(io.BytesIO(file.read_bytes()))
    except (pl.exceptions.PolarsError, OSError, ValueError):
        return None
    return None


def in_frame(frame: pl.DataFrame, names: Names) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Return which rows are the user's, and column → which of its texts hold a telling name."""
    theirs = pl.Series([False] * len(frame), dtype=pl.Boolean)
    told: dict[str, pl.Series] = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if name in names.columns and column.dtype.is_numeric():
            # As the column's type has it: as floats, long ids would be their neighbours'.
            own = pl.Series(sorted(names.numbers), dtype=pl.Int64).cast(column.dtype, strict=False)
            theirs |= column.is_in(own.drop_nulls().to_list()).fill_null(False)
        if name in names.columns and column.dtype == pl.String:
            theirs |= names.are(column)  # and who is called otherwise is somebody else
        elif column.dtype == pl.String:
            told[name] = names.mentions(column)
        elif column.dtype == pl.List(pl.String):
            joined = column.list.join("\n", ignore_nulls=True)
            told[name] = names.mentions(joined)
    return theirs, {name: mask for name, mask in told.items() if mask.any()}


def _clean_table(file: Path, names: Names) -> list[Removed]:
    frame = read_frame(file)
    if frame is None:
        return []
    theirs, told = in_frame(frame, names)
    removed = [Removed(str(file), "rows", int(theirs.sum()))] if theirs.any() else []
    for name, mask in told.items():
        elsewhere = int((mask & ~theirs).sum())
        if elsewhere:
            removed.append(Removed(str(file), f"values of column {name!r}, now missing", elsewhere))
        frame = frame.with_columns(pl.when(~mask).then(pl.col(name)).alias(name))
    if not removed:
        return []
    left = frame.filter(~theirs)
    with file_written_whole(file) as partial:
        suffix = file.suffix.lower()
        if suffix in (".csv", ".tsv"):
            left.write_csv(partial, separator="\t" if suffix == ".tsv" else ",")
        elif suffix in (".parquet", ".pq"):
            left.write_parquet(partial)
        else:
            # Of texts that were filtered, Arrow would write those of the other rows along.
            anew = pl.DataFrame(left.to_dict(as_series=False), schema=left.schema)
            anew.write_ipc(partial)
    return removed
