"""From a source of any size to a folder of columns, in bounded memory.

The rows are read a batch at a time, and columns written as what their first values are; those that
turn out to be something else are written again in a second reading. Memory grows with the different
texts, not with the rows. What each column is read as is what :func:`recprune.data.infer.typed` says
of the whole column: a table read from the folder equals the table read from the source.

Killed at any moment and started again, it starts anew and ends in the same bytes: what a killed run
left is removed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from safetensors.numpy import save

from recprune._support import progress
from recprune.crypto import Pseudonymiser
from recprune.data.bad_rows import BadRows, bad_rows_file
from recprune.data.batches import Source, open_query, open_source
from recprune.data.column_writer import ColumnWriter
from recprune.data.columns import ABOUT, TEXTS, manifest
from recprune.data.erased import Erased
from recprune.data.people import People, key_of, user_column
from recprune.data.reading import AT_ONCE, Reading
from recprune.data.spec import Spec, Stated, read_spec
from recprune.errors import DataError, ParameterError
from recprune.folders import folder_written_whole

__all__ = ["ingest", "ingest_sql"]


def ingest(
    source: str | Path,
    output: str | Path,
    *,
    label: str | None = None,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    drop: Iterable[str] = (),
    schema: Stated = None,
    on_bad_rows: str = "error",
    pseudonyms: Pseudonymiser | None = None,
    erased: Erased | str | Path | Collection[str] | None = None,
) -> Path:
    """Write a source's columns to a folder that :meth:`Dataset.read` takes; return the folder.

    Args:
        source: a file, folder or pattern as :meth:`Dataset.read` takes; also a folder that was
            ingested before, with the roles named there, to leave out users erased since.
        output: the folder, ``data.rp`` by custom: written whole or not at all; the same source
            gives the same bytes.
        label, user, item, time: columns in these roles, kept in the folder, so that they need not
            be named again. Ids are kept as they are spelt.
        drop: columns to leave out.
        schema: as of :meth:`Dataset.read`: roles, columns to leave out, and kinds, which are kept.
        on_bad_rows: ``"skip"`` leaves out rows of CSV and TSV files that cannot be read, and writes
            them to :func:`recprune.data.bad_rows.bad_rows_file` (without their text if ``pseudonyms`` or ``erased`` are
            given: it may hold an id).
        pseudonyms: replaces user ids by pseudonyms; the ids are then nowhere in the folder.
        erased: users whose rows are left out: ids or pseudonyms, or the file of a list
            (:mod:`recprune.data.erased`). One that is read already may be empty; where no user
            column is named, it is applied to a column called ``user_id`` or ``user``, if any.

    Raises:
        DataError: the source cannot be read, or has no rows; a column that is named is not there;
            a column holds e-mail addresses, phone or card numbers and is not named by the schema.
        ParameterError: pseudonyms or erased users without a user column; another ``on_bad_rows``.
        InputError: ``output`` cannot be written.
    """
    stated, opened = read_spec(schema), open_source(source)
    spec = stated.with_roles(drop, label=label, user=user, item=item, time=time)
    known = {r: c for r, c in opened.roles.items() if getattr(spec, r) is None}
    spec = replace(spec, **known)  # type: ignore[arg-type]
    bad = BadRows.of(on_bad_rows)
    people = _people(spec, pseudonyms, erased, opened)
    return _ingest(opened, Path(output), spec, bad, people)


def ingest_sql(
    query: str,
    connection: str,
    output: str | Path,
    *,
    label: str | None = None,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    drop: Iterable[str] = (),
    schema: Stated = None,
    pseudonyms: Pseudonymiser | None = None,
    erased: Erased | str | Path | Collection[str] | None = None,
) -> Path:
    """Write the rows of a PostgreSQL query to a folder of columns.

    The query runs once; its rows are kept in ``output``'s place until they are all there. See
    :func:`recprune.data.sql.read_query` for ``query``, ``connection`` and their errors, and
    :func:`ingest` for the rest.
    """
    spec = read_spec(schema).with_roles(drop, label=label, user=user, item=item, time=time)
    opened = open_query(query, connection)
    people = _people(spec, pseudonyms, erased, opened)
    return _ingest(opened, Path(output), spec, BadRows(), people)


def _ingest(source: Source, output: Path, spec: Spec, bad: BadRows, people: People | None) -> Path:
    from recprune import __version__

    reading = Reading(source, spec, people)
    with folder_written_whole(output) as folder, _nothing_kept(output):
        rows, writers = reading.write(bad, folder)
        shutil.rmtree(folder / "rows", ignore_errors=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            columns = list(
                progress(pool.map(ColumnWriter.finish, writers), "finishing", len(writers))
            )
        vocabularies = [writer.vocabulary() for writer in writers]
        tensors = {f"{i}.{k}": array for i, v in enumerate(vocabularies) for k, array in v.items()}
        (folder / TEXTS).write_bytes(save(tensors))
        surveys = {writer.survey.name: writer.survey for writer in writers}
        found = [*source.findings, *bad.findings(spec.label or "")]
        found += people.findings() if people else []
        found += [f for survey in surveys.values() for f in survey.findings()]
        about = {
            "recprune": __version__,
            "rows": rows,
            "from_text": source.from_text,
            "roles": reading.roles,
            "kinds": {n: k for n, k in reading.kinds.items() if n in surveys},
            "pseudonyms": people.about() if people else dict(source.pseudonyms),
            "columns": columns,
            "findings": found,
        }
        (folder / ABOUT).write_text(manifest(about), encoding="utf-8")
        if bad.skip:
            bad.write(bad_rows_file(output), with_text=people is None)
    return output


@contextlib.contextmanager
def _nothing_kept(output: Path) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} Nothing was written to {str(output)!r}.") from error


def _people(
    spec: Spec,
    pseudonyms: Pseudonymiser | None,
    erased: Erased | str | Path | Collection[str] | None,
    source: Source,
) -> People | None:
    if pseudonyms is None and (erased is None or (isinstance(erased, Erased) and not erased)):
        return None
    user = spec.user
    if user is None and pseudonyms is None and isinstance(erased, Erased):
        user = user_column(None, source.names or ())
        if user is None:
            return None
    if user is None:
        what = "pseudonyms" if pseudonyms is not None else "erased"
        raise ParameterError.of(what, "ingest", "given together with a user column", "no user")
    return People(user, pseudonyms, Erased.of(erased), key_of(source.pseudonyms, user))
