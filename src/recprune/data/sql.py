"""Tables from a PostgreSQL query. The password is in no message, and the query changes nothing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import polars as pl

from recprune._support import require
from recprune.data.bad_rows import BadRows
from recprune.data.stream import QUERY, Stream, batches_of
from recprune.errors import DataError, ParameterError

__all__ = ["read_query", "stream_query"]

#: Characters that end the password, or begin another part of the URL, must be percent-encoded:
#: otherwise libpq takes a piece of the password for the host, and names it.
URL = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?:[^\s\x00:@/?#%]|%[0-9a-fA-F]{2})*(?::(?P<password>(?:[^\s\x00@/?#%]|%[0-9a-fA-F]{2})*))?@)?"
    r"(?:[^\s\x00@?#%]|%[0-9a-fA-F]{2})*"
    r"(?:\?(?P<options>(?:[^\s\x00@?#%]|%[0-9a-fA-F]{2})*))?"
)
LOST = re.compile(r"FATAL: |closed the connection|could not (receive|send)|SYSCALL|no connection")
SECRET = re.compile(r"(?:^|&)(?:ssl)?password=([^&]*)")


def read_query(query: str, connection: str) -> pl.DataFrame:
    """Return the rows of one SELECT from a PostgreSQL database, all or none.

    The query runs in a read-only transaction. Columns of type ``numeric`` come as Int64 where all
    values are whole, else as Float64.

    Args:
        query: one SELECT (or WITH … SELECT, or VALUES).
        connection: ``postgresql://user:password@host:port/database``, special characters
            percent-encoded.

    Raises:
        ParameterError: ``query`` is blank, or ``connection`` is no such URL.
        MissingExtra: the extra ``sql`` is not installed.
        DataError: the database cannot be reached, refuses the query, or is lost on the way; there
            are no rows; a column's type is neither a number, text, a boolean nor a date.
    """
    rows = [frame for frame in _run(query, connection, whole=True) if len(frame)]
    if not rows:
        raise DataError("The query gave no rows. Check its conditions.")
    return rows[0]


def stream_query(query: str, connection: str) -> Stream:
    """Return the rows of :func:`read_query`, batch by batch; they can be read once.

    A ``numeric`` column may come as Int64 in one batch and as Float64 in another.
    """

    def read(bad: BadRows | None) -> Iterator[pl.DataFrame]:
        seen = 0
        for frame in _run(query, connection, whole=False):
            seen += len(frame)
            yield frame
        if not seen:
            raise DataError("The query gave no rows. Check its conditions.")

    return Stream(QUERY, None, read)


def _run(query: str, connection: str, whole: bool) -> Iterator[pl.DataFrame]:
    if not query.strip():
        raise ParameterError.of("query", "read_sql", "one SELECT", query)
    url = URL.fullmatch(connection)
    if url is None:
        raise ParameterError(
            "The 'connection' parameter of read_sql must be a URL as postgresql://user:password@host/"
            "database. What was given is not shown, for it may hold a password. Percent-encode the "
            "special characters: @ as %40, / as %2F, % as %25."
        )
    hidden = [connection, url["password"] or "", *SECRET.findall(url["options"] or "")]
    secrets = sorted({*hidden, *map(unquote, hidden)} - {""}, key=len, reverse=True)
    driver = require("adbc_driver_postgresql.dbapi", "sql")
    try:
        database = driver.connect(connection)
    except driver.Error as error:
        raise DataError(
            f"The database cannot be reached: {_reason(error, secrets)}. Check the connection's "
            "URL, and that the server runs."
        ) from None
    with database, database.cursor() as cursor:
        frames = _rows(cursor, query, whole)
        while True:
            with _faults(secrets, driver.Error):
                frame = next(frames, None)
            if frame is None:
                return
            yield _plain(frame)


def _rows(cursor: Any, query: str, whole: bool) -> Iterator[pl.DataFrame]:
    cursor.execute("SET TRANSACTION READ ONLY")
    cursor.execute(query)
    rows = cursor.fetch_arrow()
    if whole:
        yield pl.DataFrame(rows)
    else:
        yield from batches_of(pl.scan_arrow_c_stream(rows))


@contextlib.contextmanager
def _faults(secrets: list[str], refused: type[Exception]) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.DuplicateError as error:
        raise DataError(
            f"The query gives two columns of one name ({_reason(error, secrets)}). Rename one "
            "with AS."
        ) from None
    except (refused, pl.exceptions.PolarsError) as error:
        reason = _reason(error, secrets)
        if LOST.search(reason):
            raise DataError(
                f"The database was lost while the query ran: {reason}. None of its rows were kept. "
                "Run it again."
            ) from None
        raise DataError(
            f"The query failed: {reason}. None of its rows were kept. Check it; it must be one SELECT."
        ) from None
    except pl.exceptions.PanicException:  # what Polars does at an interval
        raise DataError(
            "The query gives a column that cannot be read, such as an interval. Cast it in the "
            "query, as extract(epoch FROM column)."
        ) from None


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Read PostgreSQL's own types: ``numeric`` as numbers, ``json`` as its text."""
    out = []
    for series in frame:
        kind: Any = series.dtype
        if kind.is_extension():
            series, about = series.ext.storage(), kind.ext_metadata() or ""
            if '"numeric"' in about and series.dtype == pl.String:
                whole = series.cast(pl.Int64, strict=False)
                exact = whole.null_count() == series.null_count()
                series = whole if exact else series.cast(pl.Float64)
        if series.dtype == pl.Binary:
            raise DataError(
                f"Column {series.name!r} of the query holds bytes (as uuid, inet and bytea do). Cast "
                f"it in the query, as {series.name}::text, or leave it out."
            )
        out.append(series)
    return pl.DataFrame(out)


def _reason(error: BaseException, secrets: list[str]) -> str:
    """Return what the database said, in one line and without the secrets."""
    said = str(error).strip()
    for secret in secrets:
        said = said.replace(secret, "***")
    line = next(iter(said.splitlines()), "")
    return re.sub(r"^.*?(Failed to connect: |(?=ERROR: |FATAL: ))", "", line).rstrip(". ")
