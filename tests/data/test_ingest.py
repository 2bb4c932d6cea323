"""From a file to a folder of columns and back: every value, the same bytes, bounded repairs."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recprune.data import Dataset, ingest
from recprune.data.columns import ABOUT, ColumnStore
from recprune.errors import ArtifactError, DataError, InputError
from recprune.schema import Field, Schema
from recprune.scratch import on_disk


def shop(n: int = 600, seed: int = 0) -> pl.DataFrame:
    """A table with every content: text, codes, integers, floats, truth values, dates, holes."""
    rng = np.random.default_rng(seed)
    holes = rng.random(n) < 0.1
    frame = pl.DataFrame(
        {
            "user": [f"{v:020d}" for v in rng.integers(0, 40, n)],
            "colour": rng.choice(["red", " blue", "grün", "red,white", 'a "b"'], n),
            "postcode": [f"0{v}" for v in rng.integers(100, 120, n)],
            "count": rng.integers(0, 1000, n),
            "large": rng.integers(2**40, 2**50, n),
            "price": np.round(rng.lognormal(2, 1, n), 2),
            "half": rng.integers(0, 9, n) / 2,
            "member": rng.random(n) < 0.5,
            "day": [f"2024-01-{d:02d}" for d in rng.integers(1, 28, n)],
            "bought": (rng.random(n) < 0.4).astype(int),
        }
    )
    return frame.with_columns(
        pl.when(pl.Series(~holes)).then(pl.col(c)).alias(c) for c in ("colour", "count", "price")
    )


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    shop().write_csv(path)
    return path


@pytest.mark.parametrize("block", [1 << 18, 100])
def test_training_rows_are_those_of_the_file(
    csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("recprune.data.disk_frame.BLOCK", block)
    roles = {"label": "bought", "user": "user", "time": "day"}
    folder = ingest(csv_file, tmp_path / "data.rp", **roles)
    direct, stored = Dataset.read(csv_file, **roles), Dataset.read(folder)
    assert stored.schema == direct.schema
    assert stored.findings == direct.findings
    ours, theirs = stored.split(seed=3), direct.split(seed=3)
    assert ours.encoder.hash() == theirs.encoder.hash()
    for part in ("train", "tune", "gate", "test"):
        a, b = getattr(ours, part), getattr(theirs, part)
        assert np.array_equal(a.rows.codes, b.rows.codes)
        assert np.array_equal(a.rows.shares, b.rows.shares)
        assert np.array_equal(a.label, b.label)
        assert_frame_equal(a.columns.select(*a.columns.columns), b.columns)
        assert on_disk(a.rows.codes)
        assert not on_disk(b.rows.codes)


def test_models_are_the_same(csv_file: Path, tmp_path: Path) -> None:
    from recprune.models import LR, Training

    folder = ingest(csv_file, tmp_path / "data.rp", label="bought")
    states = []
    for data in (Dataset.read(folder), Dataset.read(csv_file, label="bought")):
        split = data.split(seed=0)
        states.append(LR(Training(epochs=2)).fit(split.train, split.tune).state)
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[1])


def test_the_same_source_gives_the_same_bytes(csv_file: Path, tmp_path: Path) -> None:
    a, b = (ingest(csv_file, tmp_path / name, label="bought") for name in ("a.rp", "b.rp"))
    assert sorted(f.name for f in a.iterdir()) == sorted(f.name for f in b.iterdir())
    for file in a.iterdir():
        assert file.read_bytes() == (b / file.name).read_bytes()


def test_batches_do_not_change_the_bytes(
    csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ingest(csv_file, tmp_path / "whole.rp")
    monkeypatch.setattr("recprune.data.stream.BATCH", 64)
    small = ingest(csv_file, tmp_path / "small.rp")
    for file in whole.iterdir():
        assert file.read_bytes() == (small / file.name).read_bytes()


def test_what_is_stored_is_as_narrow_as_it_stays_exact(csv_file: Path, tmp_path: Path) -> None:
    store = ColumnStore(ingest(csv_file, tmp_path / "data.rp", user="user"))
    kinds = {n: (c.content, c.dtype) for n, c in store.columns.items()}
    assert kinds == {
        "user": ("text", "<i4"),
        "colour": ("text", "<i4"),
        "postcode": ("text", "<i4"),
        "count": ("integer", "<i4"),
        "large": ("integer", "<i8"),
        "price": ("number", "<f8"),
        "half": ("number", "<f4"),
        "member": ("boolean", "|i1"),
        "day": ("text", "<i4"),
        "bought": ("integer", "<i4"),
    }
    assert store.columns["price"].missing == shop()["price"].null_count()
    texts, counts = store.texts("colour").to_list(), store.counts("colour").tolist()
    again = (
        shop()["colour"]
        .drop_nulls()
        .value_counts()
        .sort(["count", "colour"], descending=[True, False])
    )
    assert texts == again["colour"].to_list()
    assert counts == again["count"].to_list()


TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
COLUMNS = {
    pl.String(): TEXTS,
    pl.Int64(): st.one_of(st.none(), st.integers(-(2**60), 2**60)),
    pl.Int8(): st.one_of(st.none(), st.integers(-128, 127)),
    pl.Float64(): st.one_of(st.none(), st.floats(allow_nan=False)),
    pl.Float32(): st.one_of(st.none(), st.floats(width=32, allow_nan=False)),
    pl.Boolean(): st.one_of(st.none(), st.booleans()),
    pl.Date(): st.one_of(st.none(), st.dates()),
    pl.Datetime("us"): st.one_of(st.none(), st.datetimes(datetime.datetime(1900, 1, 1))),
    pl.List(pl.String): st.one_of(st.none(), st.lists(TEXTS, max_size=4)),
    pl.List(pl.Int64): st.one_of(st.none(), st.lists(st.integers(-9, 9), max_size=4)),
    pl.Array(pl.Float64, 2): st.one_of(
        st.none(), st.lists(st.floats(-9, 9), min_size=2, max_size=2)
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 20))
    kinds = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=5))
    lists = [draw(st.lists(COLUMNS[k], min_size=rows, max_size=rows)) for k in kinds]
    return pl.DataFrame(
        [pl.Series(f"c{i}", v, dtype=k) for i, (k, v) in enumerate(zip(kinds, lists, strict=True))]
    )


@given(tables())
@settings(max_examples=40, deadline=None)
def test_decoding_gives_every_value_back(tmp_path_factory: pytest.TempPathFactory, frame) -> None:
    folder = tmp_path_factory.mktemp("any")
    frame.write_parquet(folder / "t.parquet")
    back = ColumnStore(ingest(folder / "t.parquet", folder / "t.rp")).frame()
    wide = {pl.Int8(): pl.Int64(), pl.Float32(): pl.Float64()}
    # Elements of lists are texts, and missing ones are left out.
    expected = frame.with_columns(
        pl.when(pl.col(n) != "").then(pl.col(n)).alias(n)
        if k == pl.String
        else pl.col(n)
        .cast(pl.List(pl.String))
        .list.filter(pl.element().is_not_null() & (pl.element() != ""))
        if k == pl.List
        else pl.col(n).cast(wide.get(k, k))
        for n, k in frame.schema.items()
    )
    assert_frame_equal(back, expected)


ENDS: dict[str, tuple[pl.Series, list[object]]] = {
    "least of 64 bits": (pl.Series([-(2**63), 0, None]), [str(-(2**63)), "0", None]),
    "most of 64 bits": (pl.Series([2**63 - 1, None]), [2**63 - 1, None]),
    "unsigned": (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), [str(2**64 - 1), "1"]),
    "128 bits": (pl.Series([2**100, 1], dtype=pl.Int128), [str(2**100), "1"]),
    "small": (pl.Series([255, None], dtype=pl.UInt8), [255, None]),
    "decimal": (pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)), [1.25, None]),
    "category": (pl.Series(["b", None, "a"], dtype=pl.Categorical), ["b", None, "a"]),
    "enum": (pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"])), ["b", "a"]),
    "duration": (pl.Series([datetime.timedelta(seconds=1.5), None]), [1.5, None]),
    "time of day": (pl.Series([datetime.time(1, 2, 3), None]), ["01:02:03", None]),
    "zone": (
        pl.Series([datetime.datetime(2024, 1, 1)]).dt.replace_time_zone("Asia/Tokyo"),
        [datetime.datetime(2023, 12, 31, 15)],
    ),
    "nothing": (pl.Series([None, None], dtype=pl.Null), [None, None]),
    "not a number": (pl.Series([float("nan"), 1.5]), [None, 1.5]),
    "infinite": (pl.Series([float("inf"), -float("inf")]), [float("inf"), -float("inf")]),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_type_keeps_its_values(tmp_path: Path, name: str) -> None:
    series, expected = ENDS[name]
    series.alias("x").to_frame().write_parquet(tmp_path / "t.parquet")
    store = ColumnStore(ingest(tmp_path / "t.parquet", tmp_path / "t.rp"))
    assert store.series("x").to_list() == expected
    assert store.columns["x"].missing == expected.count(None)


def test_lists_and_vectors_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder does not depend on batches, nor on a vector that turns out to be a list."""
    n = 60
    frame = pl.DataFrame(
        {
            "tags": [None if i % 7 == 0 else ["a", "b", "c"][: i % 4] for i in range(n)],
            "vector": pl.Series([[i / 2, float(i)] for i in range(n)]),
            "turns": [[1.5, 2.0] if i < 40 else [3.0] for i in range(n)],
            "odd": pl.Series([[i / 3, None] if i % 5 else None for i in range(n)]),
            "y": [0, 1] * (n // 2),
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    whole = ingest(tmp_path / "t.parquet", tmp_path / "whole.rp", label="y")
    monkeypatch.setattr("recprune.data.stream.BATCH", 16)
    small = ingest(tmp_path / "t.parquet", tmp_path / "small.rp", label="y")
    assert {f.name: f.read_bytes() for f in whole.iterdir()} == {
        f.name: f.read_bytes() for f in small.iterdir()
    }
    store = ColumnStore(small)
    kinds = {n: (c.content, c.dtype, c.width) for n, c in store.columns.items()}
    assert kinds["tags"] == ("list", "<i8", 1)
    assert kinds["vector"] == ("vector", "<f4", 2)
    assert kinds["turns"] == ("list", "<i8", 1)
    assert kinds["odd"] == ("vector", "<f8", 2)
    assert store.series("tags", 5, 9).to_list() == frame["tags"][5:9].to_list()
    assert store.series("turns")[-1].to_list() == ["3"]
    direct, stored = Dataset.from_frame(frame, label="y"), Dataset.read(small)
    assert stored.schema == direct.schema
    ours, theirs = stored.split(seed=0), direct.split(seed=0)
    assert ours.encoder.hash() == theirs.encoder.hash()
    np.testing.assert_array_equal(ours.train.rows.codes, theirs.train.rows.codes)
    np.testing.assert_array_equal(ours.train.rows.shares, theirs.train.rows.shares)


def test_slips_among_numbers_are_counted(tmp_path: Path) -> None:
    values = [str(i / 4) for i in range(400)]
    values[123] = "broken"
    pl.DataFrame({"x": values, "y": [i % 2 for i in range(400)]}).write_csv(tmp_path / "t.csv")
    folder = ingest(tmp_path / "t.csv", tmp_path / "t.rp", label="y")
    stored, direct = Dataset.read(folder), Dataset.read(tmp_path / "t.csv", label="y")
    where = f" in row 124 of file {str(tmp_path / 't.csv')!r}"
    assert stored.findings[0].action.endswith(where)
    short = replace(stored.findings[0], action=stored.findings[0].action.removesuffix(where))
    assert (short,) == direct.findings


def test_a_role_that_is_not_there_is_named(csv_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no label column 'bougth'.*'bought'"):
        ingest(csv_file, tmp_path / "data.rp", label="bougth")
    assert not (tmp_path / "data.rp").exists()


def test_a_foreign_folder_is_left_alone(csv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(InputError, match="not a recprune folder"):
        ingest(csv_file, tmp_path / "photos")


def test_nothing_is_left_where_the_source_breaks_off(tmp_path: Path) -> None:
    lines = ["a,b"] + ["1,2"] * 5000 + ["1,2,3"] + ["1,2"] * 10
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"t\.csv.*line 5002: 3 cells.*2 columns"):
        ingest(tmp_path / "t.csv", tmp_path / "t.rp")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("damage", ["cut", "changed", "newer", "foreign", "gone"])
def test_a_damaged_folder_is_refused(csv_file: Path, tmp_path: Path, damage: str) -> None:
    folder = ingest(csv_file, tmp_path / "data.rp")
    file = folder / "3.bin"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "changed":
        file.write_bytes(b"\x01" + file.read_bytes()[1:])
    elif damage == "gone":
        file.unlink()
    else:
        about = json.loads((folder / ABOUT).read_text())
        about |= {"protocol": 99} if damage == "newer" else {"format": "other"}
        (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ArtifactError):
        ColumnStore(folder).verify()


DOW = {"fields": {"dow": {"of": "day", "part": "weekday"}}}
WHOLE = Schema(
    (Field("count", "numeric"), Field("dow", "categorical", of="day", part="weekday")),
    label="bought",
    other_labels=("member",),
)


@pytest.mark.parametrize("schema", [{"weight": "large"}, DOW, WHOLE], ids=["weight", "of", "whole"])
def test_what_a_schema_names_is_read_from_the_folder_as_from_the_file(
    csv_file: Path, tmp_path: Path, schema: dict | Schema
) -> None:
    folder = ingest(csv_file, tmp_path / "data.rp", label="bought", schema=schema)
    stated = schema if schema != {"weight": "large"} else None  # a role is kept in the folder
    read = Dataset.read(folder, label="bought", schema=stated)
    of_file = Dataset.read(csv_file, label="bought", schema=schema)
    assert read.schema == of_file.schema
    assert_frame_equal(read.whole_table.held, of_file.whole_table.held)
    for name, label in of_file.whole_table.extras.labels.items():
        np.testing.assert_array_equal(read.whole_table.extras.labels[name], label)


def test_another_label_that_is_not_there_is_named(csv_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop.csv' has no column 'boughd' as another label"):
        ingest(csv_file, tmp_path / "data.rp", schema={"other_labels": ["boughd"]})
