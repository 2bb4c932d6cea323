"""Tables from JSON lines, whose types are those that all values of a key share."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.bad_rows import BadRows
from recprune.data.source_bytes import read_utf8, stream_lines
from recprune.data.source_typed import common_type, narrow
from recprune.data.stream import DAMAGED, Stream, batches_of
from recprune.errors import DataError

__all__ = ["read_json_lines", "stream_json_lines"]

Types = dict[str, pl.DataType]
NUMBER, TEXT, TRUTH = "a number", "text", "true or false"
FAMILIES = {bool: TRUTH, int: NUMBER, float: NUMBER, str: TEXT, list: "a list", dict: "an object"}


def read_json_lines(path: Path) -> pl.DataFrame:
    """Return the table of a file with one JSON object a line; absent keys are null.

    Numbers beside text are text, and so are integers that 64 bits do not hold.

    Raises:
        DataError: see :func:`recprune.data.source_bytes.read_utf8`; also a line that is no JSON
            object, and a key whose values have no type in common.
    """
    data = read_utf8(path)
    try:
        frame = pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise _fault(path, enumerate(data.split(b"\n"), 1), {}, error) from error
    if not frame.width:
        raise _no_keys(path)
    return narrow(frame)


def stream_json_lines(path: Path) -> Stream:
    """Return the rows of :func:`read_json_lines`, batch by batch.

    The first reading learns the keys and their types: until it ends, a batch has the types of its
    own values, and the keys met so far. Later readings have the types of the whole file.
    """
    types: Types = {}
    known = False

    def read(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        nonlocal known
        number, held = 1, ""  # the lines that are still to be read, and the first one's number
        for text in _texts(path):
            held += text
            frame = _parse(path, held, number, types, known)
            if not frame.width:  # objects without keys: how many rows, the next ones tell
                continue
            if not known:
                types.update(_joined(path, held, number, types, frame.schema))
            yield narrow(frame)
            number, held = number + held.count("\n"), ""
        if not types:
            raise _no_keys(path)
        if held.strip():
            yield narrow(_parse(path, held, number, types, True))
        known = True

    return Stream(path, None, read)


def _texts(path: Path) -> Iterator[str]:
    """Yield the file's text in pieces of whole lines."""
    try:
        for i, batch in enumerate(batches_of(pl.scan_lines(path, glob=False))):
            text: str = batch.to_series().str.join("\n").item() + "\n"
            yield text.removeprefix("\ufeff") if i == 0 else text
    except DAMAGED as error:
        for _ in stream_lines(path):  # which raises where the fault is
            pass
        reason = str(error).splitlines()[0]
        raise DataError(f"File {str(path)!r} cannot be read: {reason}. Fetch it again.") from error


def _parse(path: Path, text: str, number: int, types: Types, known: bool) -> pl.DataFrame:
    if not text.strip():
        return pl.DataFrame()
    data = io.BytesIO(text.encode())
    try:
        if known:
            return pl.read_ndjson(data, schema=types)
        return pl.read_ndjson(data, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise _fault(path, _numbered(text, number), _families(types), error) from error


def _joined(path: Path, text: str, number: int, types: Types, new: pl.Schema) -> Types:
    """Return the types of all keys so far.

    Raises:
        DataError: a key's values have no type in common; names its first line.
    """
    out = {}
    for name, kind in new.items():
        before = types.get(name, kind)
        together = common_type(before, kind)
        if together is None or {_family(before), _family(kind)} == {NUMBER, TRUTH}:
            error = TypeError(f"key {name!r} holds {kind} after {before}")
            raise _fault(path, _numbered(text, number), _families(types), error)
        out[name] = together
    return out


def _fault(
    path: Path, lines: Iterable[tuple[int, Any]], families: dict[str, str], error: Exception
) -> DataError:
    """Return the first line's fault: Polars tells that there is one, but not where."""
    for number, line in lines:
        if not line.strip():
            continue
        owner = f"File {str(path)!r}, line {number}"
        try:
            value = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as fault:
            return DataError(
                f"{owner}: no sound JSON ({fault}). Each line must be one whole object; correct the "
                "line, or fetch the file again if it is the last."
            )
        if not isinstance(value, dict):
            return DataError(
                f"{owner}: a JSON {type(value).__name__}, but each line must be an object such as "
                '{"user": 1, "clicked": 0}.'
            )
        for key, cell in value.items():
            if cell is None:
                continue
            here = FAMILIES[type(cell)]
            before = families.setdefault(key, here)
            if {here, before} <= {NUMBER, TEXT, TRUTH} and TEXT in (here, before):
                families[key] = TEXT
            elif here != before:
                return DataError(
                    f"{owner}: key {key!r} holds {here}, but {before} before. Give each key values of "
                    "one type: numbers, text, or true and false."
                )
    return DataError(
        f"File {str(path)!r} cannot be read as JSON lines: {str(error).splitlines()[0]}. Give "
        "each key values of one type: numbers, text, or true and false."
    )


def _families(types: Types) -> dict[str, str]:
    return {name: _family(kind) for name, kind in types.items() if kind != pl.Null}


def _family(kind: pl.DataType) -> str:
    if kind == pl.Boolean:
        return TRUTH
    if kind.is_numeric():
        return NUMBER
    return TEXT if kind == pl.String else FAMILIES[dict if kind == pl.Struct else list]


def _numbered(text: str, number: int) -> Iterator[tuple[int, str]]:
    return enumerate(text.split("\n"), number)


def _no_keys(path: Path) -> DataError:
    return DataError(f"File {str(path)!r} has no key in any line. Each needs its columns.")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON; a missing number is null")
