"""Text files as bytes, lines and rows: gzip and zstd undone, encodings checked, errors with lines."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from recprune.data.stream import batches_of
from recprune.errors import DataError

__all__ = [
    "NotUtf8",
    "missing",
    "raw_lines",
    "read_bytes",
    "read_lines",
    "read_rows",
    "read_utf8",
    "split_suffix",
    "stream_lines",
]

PACKED = (".gz", ".zst")
ZSTD = b"\x28\xb5\x2f\xfd"


class NotUtf8(DataError):
    """A line holds a byte that is not UTF-8."""


def split_suffix(path: Path) -> tuple[str, str]:
    """Return the suffix that tells the form, and that of the packing ("" = not packed).

    >>> split_suffix(Path("a/events.CSV.gz")), split_suffix(Path("events.arrow"))
    (('.csv', '.gz'), ('.arrow', ''))
    """
    last = path.suffix.lower()
    return (Path(path.stem).suffix.lower(), last) if last in PACKED else (last, "")


def read_bytes(path: Path) -> bytes:
    """Return the file's content, unpacked if its name ends in .gz or .zst.

    Raises:
        DataError: the file is missing, cannot be read, or is cut short or damaged.
    """
    packing = split_suffix(path)[1]
    try:
        data = path.read_bytes() if packing != ".zst" else b"".join(_unzstd(path))
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror}.") from error
    if not data or packing != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _no_gzip(path, error) from error


def read_utf8(path: Path) -> bytes:
    """Return a text file's content as UTF-8 without a byte order mark.

    Raises:
        DataError: see :func:`read_bytes`; also an empty file, and the first line with a byte that
            is not UTF-8.
    """
    data = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not data.strip():
        raise DataError(f"File {str(path)!r} is empty. It needs rows.")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _not_utf8(path, line, data[error.start], wide) from error
    return data


def stream_lines(path: Path) -> Iterator[str]:
    """Yield a text file's lines one after the other, in bounded memory.

    Raises:
        DataError: as :func:`read_utf8`, when the line at fault is reached.
    """
    for number, line in enumerate(raw_lines(path), 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            wide = number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            raise _not_utf8(path, number, line[error.start], wide) from error


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yield a file's lines as bytes, unpacked, without a byte order mark, in bounded memory.

    Raises:
        DataError: see :func:`read_bytes`; of a .zst also bytes that are not UTF-8.
    """
    packing = split_suffix(path)[1]
    try:
        if packing == ".zst":
            lines = itertools.chain.from_iterable(map(io.BytesIO, _unzstd(path)))
            for number, line in enumerate(lines, 1):
                yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            return
        with gzip.open(path, "rb") if packing else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except FileNotFoundError:
        raise missing(path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _no_gzip(path, error) from error
    except OSError as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error.strerror}.") from error


def _unzstd(path: Path) -> Iterator[bytes]:
    """Yield a text file unpacked, in pieces of whole lines; what comes before a fault too.

    Polars unpacks zstd; the standard library does not.
    """
    with path.open("rb") as file:
        if file.read(4) not in (ZSTD, b""):
            raise _no_zstd(path, "its first bytes are others")
    try:
        for batch in batches_of(pl.scan_lines(path, glob=False)):
            piece: str = batch.to_series().str.join("\n").item()
            yield f"{piece}\n".encode()
    except OSError as error:
        raise _no_zstd(path, str(error)) from error
    except pl.exceptions.PolarsError as error:
        raise _no_zstd_text(path, error) from error


def read_lines(path: Path, latin: bool = False) -> pl.DataFrame:
    """Return the lines that are not blank as columns ``line`` (its number) and ``text``.

    Args:
        path: the file.
        latin: a file that is not UTF-8 is Latin-1, as old releases are.

    Raises:
        DataError: see :func:`read_utf8`.
    """
    data = read_bytes(path) if latin else read_utf8(path)
    try:
        whole = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        whole = data.decode("latin1")
    lines = pl.DataFrame({"text": whole.split("\n")}, schema={"text": pl.String})
    lines = lines.with_row_index("line", 1).with_columns(pl.col("text").str.strip_suffix("\r"))
    lines = lines.filter(pl.col("text").str.strip_chars() != "")
    if not len(lines):
        raise DataError(f"File {str(path)!r} is empty. It needs rows.")
    return lines


def read_rows(
    path: Path, lines: pl.DataFrame, separator: str, names: Sequence[str]
) -> pl.DataFrame:
    """Split lines at a separator of any length, without quoting; empty fields become null.

    Args:
        path: for the errors.
        lines: what :func:`read_lines` gave.
        separator: between fields.
        names: of the columns.

    Raises:
        DataError: a line with more or fewer fields than names.
    """
    cells = pl.col("text").str.split(separator)
    bad = lines.filter(cells.list.len() != len(names)).head(1)
    if len(bad):
        line, row = bad.row(0)
        raise DataError(
            f"File {str(path)!r}, line {line}: {row.count(separator) + 1} fields separated by "
            f"{separator!r}, but {len(names)} are expected: {', '.join(names[:8])}"
            f"{', …' * (len(names) > 8)}. Correct or remove the line; if it is the last, fetch the "
            "file again."
        )
    frame = lines.select(cells.list.get(i).alias(name) for i, name in enumerate(names))
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def missing(path: Path) -> DataError:
    """Return the error for a file that does not exist: it names the neighbours."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return DataError(f"File {str(path)!r} does not exist, nor does its folder. Check the path.")
    stem = path.name.split(".")[0]
    near = sorted(p.name for p in folder.iterdir() if p.name.startswith(stem))[:3]
    hint = f" The folder holds {', '.join(map(repr, near))}." if near else ""
    return DataError(f"File {str(path)!r} does not exist. Check the path.{hint}")


def _no_gzip(path: Path, error: Exception) -> DataError:
    return DataError(
        f"File {str(path)!r} is no sound gzip file ({error}): it is cut short or damaged. Fetch it "
        "again."
    )


def _not_utf8(path: Path, line: int, byte: int, wide: bool) -> NotUtf8:
    return NotUtf8(
        f"File {str(path)!r}, line {line}: byte 0x{byte:02x} is not UTF-8. Convert the file, for "
        f"example with: iconv -f {'utf-16' if wide else 'latin1'} -t utf-8 {path.name}"
    )


def _no_zstd(path: Path, reason: str) -> DataError:
    return DataError(
        f"File {str(path)!r} is no sound zstd file ({reason}): it is cut short or damaged. "
        "Fetch it again."
    )


def _no_zstd_text(path: Path, error: Exception) -> DataError:
    return DataError(
        f"File {str(path)!r} is no zstd file of UTF-8 text ({str(error).splitlines()[0]}). "
        f"Unpack it with: zstd -d {path.name}, and read the unpacked file, whose errors name "
        "the line."
    )
