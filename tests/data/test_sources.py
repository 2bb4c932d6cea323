"""Files: what is read, and that every failure names the file, the line and the next step."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.sources import read_table
from recprune.errors import DataError

GOOD = "a,b,y\n" + "".join(f"{i},x{i % 3},{i % 2}\n" for i in range(60))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix, separator", [(".csv", ","), (".tsv", "\t"), (".csv", ";")])
def test_text_files_read_alike(tmp_path: Path, suffix: str, separator: str, zipped: bool) -> None:
    path = tmp_path / f"t{suffix}{'.gz' if zipped else ''}"
    data = GOOD.replace(",", separator).encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    frame, from_text = read_table(path)
    assert from_text
    assert frame.columns == ["a", "b", "y"]
    assert len(frame) == 60
    data_set = Dataset.read(path, label="y")
    assert [f.kind for f in data_set.schema.fields] == ["numeric", "categorical"]
    assert data_set.name == "t"


def test_parquet_and_csv_give_the_same_codes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    pl.read_csv(tmp_path / "t.csv").write_parquet(tmp_path / "t.parquet")
    a, b = (Dataset.read(tmp_path / f"t.{s}", label="y").split() for s in ("csv", "parquet"))
    assert a.encoder.hash() == b.encoder.hash()
    assert (a.test.rows.codes == b.test.rows.codes).all()


def test_byte_order_mark_and_carriage_returns_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    frame, _ = read_table(path)
    assert frame.columns == ["a", "b", "y"]
    assert frame["y"].unique().sort().to_list() == ["0", "1"]


def test_an_unnamed_column_gets_a_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",y\n1,0\n")
    assert read_table(path)[0].columns == ["column_1", "y"]


@pytest.mark.parametrize("suffix, separator", [(".txt", "\t"), (".csv", ","), (".tsv", "\t")])
def test_rows_of_numbers_need_no_header(tmp_path: Path, suffix: str, separator: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_text(f"424{separator}-7.5{separator}1e3\n13{separator}2{separator}9\n")
    frame, _ = read_table(path)
    assert frame.columns == ["column_1", "column_2", "column_3"]
    assert frame.rows() == [("424", "-7.5", "1e3"), ("13", "2", "9")]


@pytest.mark.parametrize("header", ["0,1,2", "2021,2022,2023", "7", "1,b,3", "1,,3"])
def test_headers_that_count_are_headers(tmp_path: Path, header: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(header + "\n" + ",".join("x" * len(header.split(","))) + "\n")
    frame, _ = read_table(path)
    assert len(frame) == 1
    assert frame.columns[0] == header.split(",")[0]


BAD = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n\n", "is empty"),
    "header.csv": (b"a,y\n", "no rows"),
    "twice.csv": (b"a,a,y\n1,2,0\n", "two columns named 'a'"),
    "latin.csv": ("a,y\n1,0\nné,1\n".encode("latin1"), "line 3: byte 0xe9 is not UTF-8"),
    "wide.csv": (b"a,y\n1,0\n1,2,3\n", "line 3: 3 cells"),
    "short.csv.gz": (gzip.compress(GOOD.encode())[:-20], "cut short"),
    "plain.csv.gz": (GOOD.encode(), "no sound gzip"),
    "garbled.parquet": (b"PAR1 and then nothing", "no sound Parquet"),
    "empty.parquet": (b"", "is empty"),
    "table.xlsx": (b"x", "unknown type"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        Dataset.read(path, label="y")
    assert name in str(caught.value)


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(1000), "y": [0, 1] * 500}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="no sound Parquet"):
        Dataset.read(path, label="y")


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "events.csv.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"does not exist.*'events.csv.gz'"):
        Dataset.read(tmp_path / "events.csv", label="y")
    with pytest.raises(DataError, match="nor does its folder"):
        Dataset.read(tmp_path / "no" / "events.csv", label="y")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="no file that can be read"):
        Dataset.read(tmp_path / "folder.csv", label="y")


def test_a_column_without_a_name_gets_a_free_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("column_2,,y\n1,2,0\n3,4,1\n")
    assert read_table(path)[0].columns == ["column_2", "column_2_", "y"]
