"""Any bytes under any name, ingested in small batches: as reading at once, rows and refusals."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data import ingest
from recprune.data.columns import ColumnStore
from recprune.data.sources import read_table
from recprune.errors import DataError

from .test_any_bytes import FRAME, SOUND, damaged, zstd

EXAMPLES = 20
NAMES = [name for name in SOUND if Path(name).suffix not in (".ndjson", ".data", ".dat", ".inter")]


def outcome(path: Path) -> tuple[list[str], int] | None:
    """Columns and rows of the folder, or None where ingest refuses; it leaves nothing behind then."""
    output = path.with_name("out.rp")
    message = ""
    try:
        store = ColumnStore(ingest(path, output))
    except DataError as error:
        message = str(error)
    if message:
        assert path.name in message
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        return None
    found = sorted(store.names), store.n_rows
    for file in output.iterdir():
        file.unlink()
    output.rmdir()
    return found


def at_once(path: Path) -> tuple[list[str], int] | None:
    try:
        frame = read_table(path)[0]
    except DataError:
        return None
    if any(kind.is_nested() or kind == pl.Binary for kind in frame.schema.values()):
        return None
    return sorted(frame.columns), len(frame)


def compare(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert outcome(path) == at_once(path)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), batch=st.integers(1, 3))
def test_text(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, batch: int
) -> None:
    content = data.draw(damaged(SOUND[name].encode()))
    packing = data.draw(st.sampled_from(["", ".gz", ".zst", "cut .gz", "cut .zst"]))
    if packing:
        content = gzip.compress(content) if packing.endswith("gz") else zstd(content)
    if packing.startswith("cut"):
        content = data.draw(damaged(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recprune.data.stream.BATCH", batch)
        compare(tmp_path_factory.mktemp("any") / f"{name}{packing.removeprefix('cut ')}", content)


@pytest.mark.parametrize("suffix, write", [(".parquet", "write_parquet"), (".arrow", "write_ipc")])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_binary(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, write: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / f"t{suffix}"
    getattr(FRAME, write)(path)
    compare(path, data.draw(damaged(path.read_bytes())))
