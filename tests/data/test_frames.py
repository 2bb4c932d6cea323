"""One table in many forms: every form gives the same rows, and the runtime's raw values too."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.data.frames import widened
from recprune.lookups import Vocabulary
from recprune.schema import Field, Schema
from recprune.texts import text

N = 300
WORDS = ["é", "日本", None, "", " x", "None", "nan"]


def mixed() -> pl.DataFrame:
    at = np.arange(N)
    return pl.DataFrame(
        {
            "short": pl.Series((at * 37 % 101 / 10).astype("float32")),
            "byte": pl.Series(at * 7 % 100, dtype=pl.Int8),
            "large": pl.Series((at % 50).astype("uint64")),
            "flag": at % 2 == 0,
            "word": [WORDS[i * 5 % 7] for i in at],
            "holes": [None if i % 4 == 0 else i / 7 % 3 for i in at],
            "whole": [None if i % 4 == 0 else int(i % 9) for i in at],
            "maybe": [None if i % 4 == 0 else bool(i % 3) for i in at],
            "y": at % 3 == 0,
        }
    ).with_columns(
        kind=pl.col("word").cast(pl.Categorical), cents=pl.col("byte").cast(pl.Decimal(9, 2))
    )


def to_parts(frame: Any, **schema: Any) -> tuple[Any, ...]:
    data = Dataset.from_frame(frame, label="y", schema=schema or None).split(seed=1)
    rows = [getattr(data, part).rows for part in ("train", "tune", "gate", "test")]
    return data.schema, data.encoder.hash(), *(r.codes.tobytes() + r.shares.tobytes() for r in rows)


FORMS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "lazy": lambda f: f.lazy(),
    "arrow": lambda f: f.to_arrow(),
    "pandas": lambda f: f.to_pandas(),
    "pandas nullable": lambda f: f.to_pandas().convert_dtypes(),
    "pandas arrow": lambda f: f.to_pandas(use_pyarrow_extension_array=True),
    "pandas objects": lambda f: f.to_pandas().astype(object),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_rows(form: str) -> None:
    table = mixed() if form != "pandas objects" else mixed().drop("kind", "cents", "short")
    assert to_parts(FORMS[form](table)) == to_parts(table)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_file_gives_the_rows_of_its_frame(tmp_path: Path, suffix: str) -> None:
    table = mixed().drop("kind", "cents")
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    data, same = Dataset.read(path, label="y"), Dataset.from_frame(table, label="y")
    assert data.schema == same.schema
    a, b = data.split(seed=1), same.split(seed=1)
    for name in set(a.schema.names) - {"short"}:
        at = a.schema.names.index(name)
        assert np.array_equal(a.test.rows.codes[:, at], b.test.rows.codes[:, at]), name


DAY = datetime.datetime(2024, 1, 31)
RAW: dict[str, tuple[pl.Series, list[Any]]] = {
    "32-bit floats": (
        pl.Series([0.1, 0.3, 2.0] * 100, dtype=pl.Float32),
        [0.1, np.float32(0.3), 2],
    ),
    "moments": (
        pl.Series([DAY, DAY.replace(hour=7), DAY.replace(microsecond=5)] * 100),
        [DAY, DAY.replace(hour=7), DAY.replace(microsecond=5)],
    ),
    "days": (pl.Series([DAY.date(), datetime.date(2020, 1, 1)] * 150), [DAY.date(), "2020-01-01"]),
    "flags": (pl.Series([True, False] * 150), [np.bool_(True), "false"]),
    "numbers": (pl.Series([1.0, 2.5, 3.0] * 100), [1, "2.5", np.int8(3)]),
    "infinities": (pl.Series([1.0, float("inf"), None] * 100), [1, float("inf"), None]),
}


@pytest.mark.parametrize("name", RAW)
def test_categories_are_known_by_the_values_that_a_server_passes(name: str) -> None:
    series, values = RAW[name]
    table = pl.DataFrame({"c": series, "x": np.arange(N), "y": np.arange(N) // 7 % 2})
    schema = {"fields": {"c": {"kind": "categorical"}}}
    data = Dataset.from_frame(table, label="y", schema=schema).split("random")
    part = data.encoder.parts["c"]
    assert isinstance(part, Vocabulary)
    known = part.lookup(values)
    assert sorted(known.tolist()) == [i + 2 for i in range(len(values))]
    assert set(known.tolist()) == set(data.train.rows.codes[:, 0].tolist())
    again = part.lookup(data.test.columns["c"].to_list())
    assert np.array_equal(again, data.test.rows.codes[:, 0])


def test_given_parts_know_32_bit_floats_by_their_digits() -> None:
    table = pl.DataFrame(
        {"c": pl.Series([0.1, 0.3] * 50, dtype=pl.Float32), "y": [0, 0, 1, 1] * 25}
    )
    schema = Schema((Field("c", "categorical"),), label="y")
    data = Dataset.from_splits(table, table, table, schema=schema)
    assert set(data.encoder.parts["c"].values) == {"0.1", "0.3"}  # type: ignore[union-attr]
    again = data.encoder.encode({"c": data.test.columns["c"].to_list()})
    assert np.array_equal(again.codes, data.test.rows.codes)


IDS = {
    "floats": ([i / 2 + 0.25 for i in range(100)], 0.75, "0.75"),
    "32-bit floats": (np.array([i / 10 for i in range(100)], "float32"), 0.3, "0.3"),
    "days": ([datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in range(100)], None, None),
    "moments": ([DAY + datetime.timedelta(hours=i) for i in range(100)], DAY, str(DAY)),
    "words": ([f"u{i:03d}" for i in range(100)], "u007", "u007"),
    "large": ([2**60 + i for i in range(100)], 2**60 + 3, str(2**60 + 3)),
}


@pytest.mark.parametrize("name", IDS)
def test_users_are_found_by_the_ids_that_a_server_passes(name: str) -> None:
    ids, asked, known = IDS[name]
    owners = pl.Series("u", ids)[np.repeat(np.arange(100), 3)]
    table = pl.DataFrame([owners]).with_columns(
        x=pl.Series(np.arange(300) % 40), y=pl.Series(np.arange(300) % 2)
    )
    data = Dataset.from_frame(table, label="y", user="u").split()
    assert data.users is not None
    assert len(data.users) == 100
    asked = ids[3] if asked is None else asked
    assert data.users.index(asked) is not None
    assert known is None or known in data.users.ids
    for part in (data.train, data.test):
        assert [data.users.index(u) for u in part.columns["u"]] == part.users.tolist()  # type: ignore[union-attr]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_32_bit_floats_keep_their_digits(values: list[float]) -> None:
    short = np.array(values, np.float32)
    wide = widened(pl.Series(short)).to_list()
    assert [text(v) for v in wide] == [text(v) for v in short]
