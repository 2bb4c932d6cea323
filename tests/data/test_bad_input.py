"""Bad input by way of files: the error names the file or column and the next step."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.errors import DataError, InputError

N = 240
ROWS = [[str(i % 60), "xyz"[i % 3], str(i // 4), str(i % 2)] for i in range(N)]
HEADER = ["size", "colour", "buyer", "bought"]


def write(path: Path, header: list[str] = HEADER, rows: list[list[str]] = ROWS) -> Path:
    separator = "\t" if path.suffix == ".tsv" else ","
    path.write_text("".join(separator.join(row) + "\n" for row in [header, *rows]))
    return path


def changed(column: str, value: Callable[[int], str]) -> list[list[str]]:
    """The rows with another value in one column, by row number."""
    at = HEADER.index(column)
    return [[*row[:at], value(i), *row[at + 1 :]] for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label": "bougth"}, r"no label column 'bougth'\. Did you mean 'bought'"),
        ({"user": "buyers"}, r"no user column 'buyers'\. Did you mean 'buyer'"),
        ({"item": "color"}, r"no item column 'color'\. Did you mean 'colour'"),
        ({"time": "week"}, r"no time column 'week'\. Known: 'size', 'colour', 'buyer', 'bought'"),
        ({"drop": ("colours",)}, r"no column 'colours' to drop\. Did you mean 'colour'"),
        ({"drop": ("size", "colour", "buyer")}, "No usable field"),
    ],
)
def test_names_that_the_file_does_not_have(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Dataset.read(write(tmp_path / "t.csv"), **{"label": "bought", **options})


@pytest.mark.parametrize(
    "value, message",
    [
        (lambda i: "1", "'bought' has one class only.*rows of both classes"),
        (lambda i: "ab"[i % 2], r"'bought' must be 0 or 1.*'a', 'b'.*df\['bought'\] == 'b'"),
        (lambda i: str(i % 5 + 1), r"5 values: '1', '2', '3', '4', '5'.*df\['bought'\] >= 3"),
        (lambda i: "", "'bought' has no value at all.*another column"),
    ],
)
def test_labels_that_are_no_labels(
    tmp_path: Path, value: Callable[[int], str], message: str
) -> None:
    path = write(tmp_path / "t.csv", rows=changed("bought", value))
    with pytest.raises(DataError, match=message):
        Dataset.read(path, label="bought")


def test_yes_and_no_are_mapped_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows=changed("bought", lambda i: ("no", "yes")[i % 2]))
    data = Dataset.read(path, label="bought")
    found = next(f for f in data.findings if f.column == "bought")
    assert (found.kind, found.rows) == ("label", N)
    assert found.action == "mapped 'no' to 0 and 'yes' to 1"
    assert data.table is not None
    assert data.table.label.tolist() == [i % 2 for i in range(N)]


@pytest.mark.parametrize(
    "value, kind, rows, action",
    [
        (lambda i: "", "missing", N, "dropped"),
        (lambda i: "7", "constant", N, "dropped"),
        (lambda i: f"2024-03-{i % 28 + 1:02d}", "date", N, "read as fields of its "),
        (lambda i: "oops" if i % 120 == 0 else str(i), "mixed", 2, "read as missing.*'oops'"),
        (lambda i: "old" if i % 4 == 0 else str(i), "mixed", N // 4, "kept as categories: 180"),
        (lambda i: "inf" if i % 40 == 0 else str(i), "infinite", 6, "end of the range"),
    ],
)
def test_repairs_are_counted(
    tmp_path: Path, value: Callable[[int], str], kind: str, rows: int, action: str
) -> None:
    path = write(tmp_path / "t.csv", rows=changed("size", value))
    data = Dataset.read(path, label="bought")
    found = next(f for f in data.findings if f.column == "size")
    assert (found.kind, found.rows) == (kind, rows)
    assert re.search(action, found.action)
    assert ("size" in data.schema.names) == (kind not in ("missing", "constant", "date"))
    data.split()


def test_text_among_numbers_reads_as_missing(tmp_path: Path) -> None:
    rows = changed("size", lambda i: "oops" if i % 120 == 0 else str(i % 70))
    data = Dataset.read(write(tmp_path / "t.csv", rows=rows), label="bought")
    assert data.table is not None
    assert data.schema["size"].kind == "numeric"
    assert np.flatnonzero(data.table.frame["size"].is_null().to_numpy()).tolist() == [0, 120]


def test_rows_that_are_too_few_for_want_of_a_user_say_so(tmp_path: Path) -> None:
    rows = changed("buyer", lambda i: "" if i > 20 else "1")
    with pytest.raises(
        DataError, match=r"21 usable rows.*219 rows have a missing user \('buyer'\)"
    ):
        Dataset.read(write(tmp_path / "t.csv", rows=rows), label="bought", user="buyer")


def test_one_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 usable row; at least 30"):
        Dataset.read(write(tmp_path / "t.csv", rows=ROWS[:1]), label="bought")


def test_ids_beyond_64_bits_stay_apart(tmp_path: Path) -> None:
    rows = changed("buyer", lambda i: str(10**19 + i // 4))
    path = write(tmp_path / "t.csv", rows=rows)
    split = Dataset.read(path, label="bought", user="buyer").split("random")
    assert split.users is not None
    assert split.users.ids == tuple(str(10**19 + i) for i in range(N // 4))
    split = Dataset.read(path, label="bought", item="buyer").split("random")
    assert split.items is not None
    assert len(split.items) == N // 4


@pytest.mark.parametrize("word", ["nan", "NaN", ""])
def test_ids_and_times_spelt_as_no_number_are_missing(tmp_path: Path, word: str) -> None:
    rows = changed("buyer", lambda i: word if i % 8 == 0 else str(i // 4))
    path = write(tmp_path / "t.csv", rows=rows)
    for role in ("user", "item", "time"):
        data = Dataset.read(path, label="bought", **{role: "buyer"})  # type: ignore[arg-type]
        found = next(f for f in data.findings if f.column == "buyer")
        assert (found.kind, found.rows) == (f"missing {role}", N // 8)
        split = data.split()
        assert len(split.train) + len(split.valid) + len(split.test) == N - N // 8
        if split.users is not None:
            assert "None" not in split.users.ids


def test_whole_floats_and_integers_are_the_same_ids(tmp_path: Path) -> None:
    plain = Dataset.read(write(tmp_path / "a.csv"), label="bought", user="buyer")
    rows = changed("buyer", lambda i: f"{i // 4}.0")
    floats = Dataset.read(write(tmp_path / "b.csv", rows=rows), label="bought", user="buyer")
    assert plain.table is not None
    assert floats.table is not None
    assert plain.table.frame["buyer"].equals(floats.table.frame["buyer"])


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_an_index_column_without_a_name(tmp_path: Path, suffix: str) -> None:
    numbered = [[str(i), *row] for i, row in enumerate(ROWS)]
    path = write(tmp_path / f"t{suffix}", ["", *HEADER], numbered)
    data = Dataset.read(path, label="bought")
    assert data.schema.names == ("column_1", "size", "colour", "buyer")


def test_a_header_may_hold_line_feeds_and_separators_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ['"size\nin cm"', '"colour, first"', *HEADER[2:]])
    data = Dataset.read(path, label="bought")
    assert data.schema.names == ("size\nin cm", "colour, first", "buyer")


def test_blank_lines_before_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv")
    path.write_text("\r\n\n" + path.read_text())
    assert Dataset.read(path, label="bought").schema.names == ("size", "colour", "buyer")


BAD_BYTES = {
    "utf16.csv": (lambda d: d.decode().encode("utf-16"), "not UTF-8.*iconv -f utf-16"),
    "latin.csv": (lambda d: d + "9,é,3,1\n".encode("latin1"), "line 242.*iconv -f latin1"),
    "mac.csv": (lambda d: d.replace(b"\n", b"\r"), "header line cannot be read.*line feed"),
    "wide.csv": (lambda d: d + b"1,x,2,0,9\n", "line 242: 5 cells.*4 columns"),
    "quote.csv": (lambda d: d.replace(b",x,", b',"x,', 1), "Check its quotes"),
    "tail.csv.gz": (lambda d: gzip.compress(d) + b"junk", "no sound gzip.*Fetch it again"),
    "cut.csv.gz": (lambda d: gzip.compress(d)[:-30], "no sound gzip.*Fetch it again"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_damaged_text_files(tmp_path: Path, name: str) -> None:
    damage, message = BAD_BYTES[name]
    path = write(tmp_path / name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        Dataset.read(path, label="bought")
    assert name in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -8])
def test_parquet_files_cut_anywhere(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame(ROWS, schema=HEADER, orient="row").write_parquet(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"t\.parquet.*(is empty|no sound Parquet)"):
        Dataset.read(path, label="bought")


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame(schema={"a": pl.Int64, "y": pl.Int64}).write_parquet(path)
    with pytest.raises(DataError, match=r"t\.parquet' has columns and no rows"):
        Dataset.read(path, label="y")


@pytest.mark.parametrize(
    "column",
    [
        [complex(i, 1) for i in range(N)],
        [b"x"] * N,
        [[1]] * N,
        [{"a": 1}] * N,
    ],
)
def test_pandas_objects_that_are_no_field_are_refused(column: list[Any]) -> None:
    table = pd.DataFrame({"extra": column, "y": [i % 2 for i in range(N)]})
    with pytest.raises(DataError, match="'extra'"):
        Dataset.from_frame(table, label="y")


def test_integers_beyond_64_bits_in_pandas() -> None:
    table = pd.DataFrame({"u": [2**70 + i // 4 for i in range(N)], "a": [i % 9 for i in range(N)]})
    table["y"] = [i % 2 for i in range(N)]
    split = Dataset.from_frame(table, label="y", user="u").split("random")
    assert split.users is not None
    assert split.users.index(2**70 + 7) == split.users.ids.index(str(2**70 + 7))


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
def test_times_beyond_64_bits_order_rows(kind: Any) -> None:
    times = pl.Series([2**70 + (i << 30) for i in range(N)], dtype=kind)
    table = pl.DataFrame(
        {"t": times, "a": [i % 9 for i in range(N)], "y": [i % 2 for i in range(N)]}
    )
    split = Dataset.from_frame(table, label="y", time="t").split()
    assert split.split_by == "time"
    ends = [
        (int(part.extras.time.min()), int(part.extras.time.max()))
        for part in (split.train, split.test)
    ]
    assert ends[0][1] < ends[1][0]


@pytest.mark.parametrize("role", ["label", "weight", "field"])
def test_integers_of_128_bits_in_any_role(role: str) -> None:
    columns = {"label": [i % 2 for i in range(N)], "weight": [1 + i % 3 for i in range(N)]}
    columns["field"] = [i % 9 for i in range(N)]
    plain = pl.DataFrame(columns)
    wide = plain.with_columns(pl.col(role).cast(pl.Int128))
    rows = [
        Dataset.from_frame(each, label="label", schema={"weight": "weight"}).split("random").train
        for each in (plain, wide)
    ]
    np.testing.assert_array_equal(rows[0].label, rows[1].label)
    np.testing.assert_array_equal(rows[0].extras.weight, rows[1].extras.weight)
    np.testing.assert_array_equal(rows[0].rows.codes, rows[1].rows.codes)


CELLS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(max_size=3)
    | st.dates()
    | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
    | st.binary(max_size=2)
    | st.sampled_from(["nan", "inf", "1", "01", "2024-01-31", "-", "?", "True", "no"])
)


@st.composite
def messy(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Columns of a few kinds of cells each, the label mostly 0 and 1."""
    columns = {}
    for name in ("a", "b", "u"):
        cells = draw(st.lists(CELLS, min_size=1, max_size=6))
        columns[name] = [cells[i * 7 % 11 % len(cells)] for i in range(60)]
    columns["y"] = [i % 2 for i in range(60)]
    return columns


@given(messy(), st.sampled_from(["user", "item", "time", None]))
def test_no_table_crashes(columns: dict[str, list[Any]], role: str | None) -> None:
    """Any table either becomes a data set whose codes the runtime gives too, or is refused."""
    options = {} if role is None else {role: "u"}
    try:
        data = Dataset.from_frame(pd.DataFrame(columns), label="y", **options)  # type: ignore[arg-type]
        split = data.split("stratified")
    except InputError:
        return
    raw = {n: split.test.columns[n].to_list() for n in split.schema.names}
    assert np.array_equal(split.encoder.encode(raw).codes, split.test.rows.codes)
    if split.users is not None and split.test.users is not None:
        ids = split.test.columns["u"].to_list()
        assert [split.users.index(i) for i in ids] == split.test.users.tolist()


@given(st.binary(max_size=60))
def test_no_bytes_crash(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "t.csv"
    write(path, rows=ROWS[:40])
    path.write_bytes(path.read_bytes() + tail)
    rows = len(ROWS[:40])
    with contextlib.suppress(InputError):
        data = Dataset.read(path, label="bought")
        rows = len(data.whole_table.label)
        data.split("random")
    assert rows >= 30  # fewer are refused
