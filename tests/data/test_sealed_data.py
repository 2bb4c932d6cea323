"""A sealed folder of columns: read as the plain one, and never written in plain."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore, holds_columns
from recprune.envelope import seal, sealing
from recprune.errors import ArtifactError, InputError
from recprune.scratch import on_disk

MASTER = b"m" * 32


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A plain folder with every content, and the same one sealed, in chunks that rows straddle."""
    n, rng = 500, np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": [f"u{v}" for v in rng.integers(0, 40, n)],
            "count": rng.integers(0, 1000, n),
            "price": np.round(rng.lognormal(2, 1, n), 2),
            "member": rng.random(n) < 0.5,
            "day": pl.Series(rng.integers(19000, 19030, n)).cast(pl.Int32).cast(pl.Date),
            "tags": [[f"t{v}" for v in rng.integers(0, 9, rng.integers(0, 4))] for _ in range(n)],
            "vector": pl.Series(rng.random((n, 3)), dtype=pl.Array(pl.Float64, 3)),
            "bought": rng.integers(0, 2, n),
        }
    ).with_columns(pl.when(pl.Series(rng.random(n) > 0.1)).then("price").alias("price"))
    frame.write_parquet(tmp_path / "shop.parquet")
    plain = ingest(tmp_path / "shop.parquet", tmp_path / "data.rp", label="bought", user="user")
    monkeypatch.setattr(sealing, "CHUNK", 300)
    monkeypatch.setattr("recprune.scratch._in_memory", False)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", MASTER.decode())
    seal(plain, tmp_path / "sealed.rp", MASTER)
    return plain, tmp_path / "sealed.rp"


def test_every_column_and_any_rows_are_those_of_the_plain_folder(
    folders: tuple[Path, Path],
) -> None:
    assert all(map(holds_columns, folders))
    plain, sealed = map(ColumnStore, folders)
    assert sealed.names == plain.names
    assert {c.content for c in sealed.columns.values()} >= {"text", "list", "vector", "date"}
    for rows in ((0, None), (0, 0), (7, 8), (123, 456), (499, 1000)):
        assert_frame_equal(sealed.frame(*rows), plain.frame(*rows))
    for name in plain.names:
        assert np.array_equal(sealed.raw(name), plain.raw(name), equal_nan=name != "tags")
    sealed.verify()


def test_a_part_of_a_column_is_decrypted_alone(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = ColumnStore(folders[1]), []
    whole = store._source._sealed
    assert whole is not None
    decrypt = whole._cipher.decrypt
    monkeypatch.setattr(whole._cipher, "decrypt", lambda *a: read.append(a) or decrypt(*a))
    store.series("price", 100, 110)
    assert len(read) in (1, 2)


def test_training_rows_are_the_same_and_stay_in_memory(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Dataset.read(folders[0]).split(by="user")

    def no_file(*_: Any, **__: Any) -> None:
        raise AssertionError("a file on disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_file)
    monkeypatch.setattr("recprune.scratch.SMALL", 0)
    with pytest.raises(AssertionError, match="a file on disk"):
        Dataset.read(folders[0]).split(by="user")
    sealed = Dataset.read(folders[1]).split(by="user")
    for a, b in ((plain.train, sealed.train), (plain.test, sealed.test)):
        assert on_disk(b.rows.codes)
        assert np.array_equal(a.rows.codes, b.rows.codes)
        assert np.array_equal(a.rows.shares, b.rows.shares)
        assert np.array_equal(a.label, b.label)


def test_a_changed_column_and_an_absent_key_are_refused(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folders[1] / "3.sealed"
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match="not what was sealed here"):
        ColumnStore(folders[1]).frame()
    monkeypatch.delenv("RECPRUNE_MASTER_KEY")
    with pytest.raises(InputError, match="RECPRUNE_MASTER_KEY"):
        Dataset.read(folders[1])
