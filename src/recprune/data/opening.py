"""A table opened for whoever checks, describes or learns from it, with what its form knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recprune.data.bad_rows import BadRows
from recprune.data.columns import ColumnStore, holds_columns
from recprune.data.disk_frame import Frame
from recprune.data.people import key_of
from recprune.data.quality import Finding
from recprune.data.sources import read_source
from recprune.data.spec import Spec
from recprune.schema import Kind

__all__ = ["Opened", "open_table"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A table as it was opened.

    Args:
        frame: its columns, in memory or on disk.
        spec: what was stated, with the roles that an ingested folder knows.
        from_text: all columns are text from a file, whose types are still to be read.
        kinds: column → what it holds, where the table's form says so.
        findings: what ingesting it found.
        already: fingerprint of the key that made its user ids; "" = they are plain.
    """

    frame: Frame
    spec: Spec
    from_text: bool
    kinds: Mapping[str, Kind]
    findings: tuple[Finding, ...] = ()
    already: str = ""


def open_table(path: str | Path, spec: Spec, bad: BadRows) -> Opened:
    """Open a file, folder or pattern, or a folder that :func:`recprune.data.ingest` wrote.

    Args:
        path: see :func:`recprune.data.sources.read_table`.
        spec: roles and stated properties; they win over what an ingested folder knows.
        bad: collects rows that cannot be read.

    Raises:
        DataError: see :func:`recprune.data.sources.read_table`.
    """
    if not holds_columns(path):
        read = read_source(path, bad)
        return Opened(read.frame, spec, read.from_text, dict(read.kinds))
    store = ColumnStore(path)
    roles: Any = {r: c for r, c in store.roles.items() if getattr(spec, r) is None}
    spec = spec.with_roles((), **roles)
    key = key_of(store.pseudonyms, spec.user)
    return Opened(store.lazy(), spec, store.from_text, dict(store.kinds), store.findings, key)
