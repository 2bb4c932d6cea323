"""Rows out of a folder of columns: what is left equals what the others' rows alone would have given."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data import ingest
from recprune.data.bad_rows import bad_rows_file
from recprune.data.columns import ColumnStore
from recprune.erasure import Names, traces
from recprune.erasure.columns import clean_columns
from recprune.erasure.files import clean_bad_rows

TELLING = "customer-07"
USERS = st.sampled_from(
    [TELLING, "u1", "12", "Zoë <&\" 'x", "customer-070", f"eu-{TELLING}", f"{TELLING}@b.org", None]
)
WORDS = st.sampled_from(["a", "b", "", TELLING, f"says {TELLING}!", "customer-071", None])


@st.composite
def tables(draw: Any) -> pl.DataFrame:
    n = draw(st.integers(1, 24))

    def column(values: st.SearchStrategy[Any], dtype: Any) -> pl.Series:
        return pl.Series(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)

    lists = st.lists(WORDS.filter(bool), max_size=3) | st.none()
    return pl.DataFrame(
        {
            "user": column(USERS, pl.String),
            "said": column(WORDS, pl.String),
            "tags": column(lists, pl.List(pl.String)),
            "count": column(st.integers(-5, 5) | st.none(), pl.Int64),
            "price": column(st.floats(-5, 5, width=32) | st.none(), pl.Float64),
            "on": column(st.booleans() | st.none(), pl.Boolean),
            "born": column(st.dates(date(1990, 1, 1), date(2000, 1, 1)) | st.none(), pl.Date),
            "at": column(st.just(datetime(2020, 1, 2, 3)) | st.none(), pl.Datetime("us")),
        }
    )


def cleaned(frame: pl.DataFrame, names: Names) -> pl.DataFrame:
    """The same on the frame in memory: rows go, and cells that mention the user are missing; other
    users' ids, whatever is in them, stay."""
    frame = frame.filter(~pl.col("user").is_in(list(names.all)).fill_null(False))
    told = [None if v and names.mentioned_in(v) else v for v in frame["said"]]
    frame = frame.with_columns(pl.Series("said", told, dtype=pl.String))
    tags = [
        None if one is None else [v for v in one if not names.mentioned_in(v)]
        for one in frame["tags"]
    ]
    return frame.with_columns(pl.Series("tags", tags, dtype=pl.List(pl.String)))


@settings(max_examples=25)
@given(frame=tables(), who=USERS.filter(bool))
def test_what_is_left_is_what_the_others_alone_give(
    tmp_path_factory: pytest.TempPathFactory, frame: pl.DataFrame, who: str
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    kinds = {"said": {"kind": "categorical"}, "tags": {"kind": "sequence"}}
    names = Names.of(who)

    def stored(table: pl.DataFrame, name: str) -> Path:
        table.write_parquet(folder / f"{name}.parquet")
        schema = {"fields": {**kinds, **{c: {} for c in ("count", "price", "on", "born", "at")}}}
        return ingest(folder / f"{name}.parquet", folder / f"{name}.rp", user="user", schema=schema)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recprune.erasure.columns.BLOCK", 5)
        whole = stored(frame, "whole")
        removed = clean_columns(whole, names)
    wanted = cleaned(frame, names)
    if not len(wanted):
        assert removed is None, "nobody else is there"
        return
    assert removed is not None
    store, direct = ColumnStore(whole), ColumnStore(stored(wanted, "direct"))
    store.verify()
    assert not [t for t in traces([whole], names) if t.sure]
    for name in frame.columns:
        assert store.series(name).to_list() == direct.series(name).to_list(), name
        if store.columns[name].content in ("text", "list"):
            assert store.texts(name).to_list() == direct.texts(name).to_list()
            assert store.counts(name).tolist() == direct.counts(name).tolist()
        assert store.columns[name].missing == direct.columns[name].missing, name
    gone = len(frame) - len(wanted)
    assert sum(r.count for r in removed if r.what == "rows") == gone
    assert clean_columns(whole, names) == [], "again without effect"


def test_integers_vectors_and_named_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "member": [1, 2, None, 3, 2],
            "friend": [2, 3, 1, None, 3],
            "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    folder = ingest(tmp_path / "t.parquet", tmp_path / "t.rp", user="member")
    clean_columns(folder, Names.of("3", columns=["friend"]))
    store = ColumnStore(folder)
    store.verify()
    assert store.series("member").to_list() == [1, None]
    assert store.series("vector").to_list() == [[1.0, 2.0], [5.0, 6.0]]


def test_ids_of_as_many_digits_as_64_bits_have(tmp_path: Path) -> None:
    """As snowflakes are, which as floats would be their neighbours."""
    gone, near = 1_234_567_890_123_456_789, 1_234_567_890_123_456_790
    pl.DataFrame({"user": [gone, near, gone], "x": ["a", "b", "c"]}).write_parquet(tmp_path / "t.parquet")  # fmt: skip
    folder, names = ingest(tmp_path / "t.parquet", tmp_path / "t.rp", user="user"), Names.of(str(gone))  # fmt: skip
    assert [t.count for t in traces([folder], names) if t.sure] == [2]
    clean_columns(folder, names)
    assert ColumnStore(folder).series("user").to_list() == [near]
    assert not traces([folder], names)


def test_findings_and_bad_rows_do_not_tell(tmp_path: Path) -> None:
    rows = [f"customer-0{i % 8},{i % 3}" for i in range(80)]
    rows[20] = "customer-07,1,one cell too many"
    rows[21] = "customer-06,1,one cell too many"
    (tmp_path / "t.csv").write_text("\n".join(["user,x", *rows]) + "\n")
    folder = ingest(tmp_path / "t.csv", tmp_path / "t.rp", user="user", on_bad_rows="skip")
    names, bad = Names.of(TELLING), bad_rows_file(folder)
    assert traces([bad], names)
    clean_columns(folder, names)
    (removed,) = clean_bad_rows(bad, names)
    assert removed.count == 1
    assert not traces([tmp_path / "t.rp", bad], names)
    assert "customer-06" in bad.read_text()
