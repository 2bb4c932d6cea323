"""JSON lines, Arrow, zstd, folders and patterns: read like the CSV, and refused with the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from recprune.data import Dataset
from recprune.data.sources import read_table, table_name
from recprune.errors import DataError

TABLE = pl.DataFrame(
    {
        "a": [i % 40 / 2 for i in range(60)],
        "b": [f"é{i % 3}" for i in range(60)],
        "y": [i % 2 for i in range(60)],
    }
)
CSV = TABLE.write_csv().encode()


def packed(data: bytes) -> bytes:
    """What `zstd` writes."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def write(path: Path) -> Path:
    """Write TABLE in the form that the suffix names."""
    form = path.name.removesuffix(".zst").rsplit(".", 1)[-1]
    text = {
        "jsonl": TABLE.write_ndjson().encode(),
        "ndjson": TABLE.write_ndjson().encode(),
        "csv": CSV,
        "tsv": CSV.replace(b",", b"\t"),
    }
    if form in text:
        path.write_bytes(packed(text[form]) if path.suffix == ".zst" else text[form])
    elif form == "ipc":
        TABLE.write_ipc_stream(path)
    else:
        TABLE.write_ipc(path, compression="zstd" if form == "feather" else "uncompressed")
    return path


FORMS = ["jsonl", "ndjson", "jsonl.zst", "csv.zst", "tsv.zst", "arrow", "feather", "ipc"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_codes_of_the_csv(tmp_path: Path, form: str) -> None:
    (tmp_path / "t.csv").write_bytes(CSV)
    plain, other = (
        Dataset.read(p, label="y").split()
        for p in (tmp_path / "t.csv", write(tmp_path / f"t.{form}"))
    )
    assert other.name == "t"
    assert other.encoder.hash() == plain.encoder.hash()
    assert (other.test.rows.codes == plain.test.rows.codes).all()


def test_zstd_keeps_quotes_blank_lines_and_line_feeds(tmp_path: Path) -> None:
    text = '"a\nb",y\n"1\n\n2",0\n"say ""no""",1'
    for name, data in (("t.csv", text.encode()), ("t.csv.zst", packed(text.encode()))):
        (tmp_path / name).write_bytes(data)
    assert read_table(tmp_path / "t.csv.zst")[0].equals(read_table(tmp_path / "t.csv")[0])
    assert read_table(tmp_path / "t.csv.zst")[0]["a\nb"].to_list() == ["1\n\n2", 'say "no"']


def test_absent_keys_are_null(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"y": 1}\n\n{"y": 0, "late": 2.5}\n')
    frame, from_text = read_table(path)
    assert not from_text
    assert frame["late"].to_list() == [None, 2.5]


@pytest.mark.parametrize("role", ["user", "item", "time", None])
def test_integers_beyond_64_bits_in_json(tmp_path: Path, role: str | None) -> None:
    path = tmp_path / "t.jsonl"
    rows = [f'{{"a": {10**30 + i // 4}, "b": {i % 7}, "y": {i % 2}}}\n' for i in range(240)]
    path.write_text("".join(rows))
    data = Dataset.read(path, label="y", **({role: "a"} if role else {}))  # type: ignore[arg-type]
    split = data.split("random")
    if split.users is not None:
        assert split.users.ids == tuple(str(10**30 + i) for i in range(60))
    assert len(split.train) == 168


@pytest.mark.parametrize("what", ["", "*.csv", "part-?.csv", "**/*.csv"])
def test_files_are_read_in_the_order_of_their_names(tmp_path: Path, what: str) -> None:
    (tmp_path / "part-2.csv").write_text("y,a\n1,2\n")
    (tmp_path / "part-1.csv").write_text("a,y\n1,0\n")
    (tmp_path / "README.md").write_text("not data")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".part.csv.crc").write_text("x")
    frame, from_text = read_table(tmp_path / what)
    assert from_text
    assert frame.to_dict(as_series=False) == {"a": ["1", "2"], "y": ["0", "1"]}


def test_the_table_of_a_pattern_is_named_after_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.csv").write_bytes(CSV)
    assert Dataset.read(folder, label="y").name == "events"
    data = Dataset.read(folder / "*.csv", label="y")
    assert data.name == "events"
    assert data.table is not None
    assert len(data.table.label) == 120
    monkeypatch.chdir(folder)
    assert table_name("*.csv") == table_name(".") == "events"


def test_types_of_one_family_are_joined_and_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1, "y": null}\n')
    (tmp_path / "b.jsonl").write_text('{"n": 1.5, "y": 1}\n')
    assert read_table(tmp_path)[0]["n"].to_list() == [1.0, 1.5]
    (tmp_path / "c.jsonl").write_text('{"n": [1], "y": 1}\n')
    with pytest.raises(DataError, match=r"c\.jsonl': column 'n' holds List.*but Int64 in .*a\.js"):
        read_table(tmp_path)


FOLDERS = {
    "columns": (
        {"a.csv": "x,y\n1,0\n", "b.csv": "x,z\n1,0\n"},
        "",
        r"b\.csv' lacks \['y'\] and has \['z'\] besides, compared with .*a\.csv.*leave it out",
    ),
    "forms": ({"a.csv": "y\n1\n", "b.jsonl": '{"y": 1}\n'}, "", r"b\.jsonl' is of another form"),
    "empty": ({}, "", "has no file that can be read.*Name a file"),
    "other": ({"README.md": "x"}, "", "has no file that can be read"),
    "no match": ({"a.csv": "y\n1\n"}, "*.tsv", r"No file matches .*\*\.tsv'.*Check"),
    "unknown": ({"a.xyz": "y\n1\n"}, "*", r"a\.xyz' has an unknown type"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_give_no_table(tmp_path: Path, case: str) -> None:
    files, pattern, message = FOLDERS[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / pattern)


BAD: dict[str, tuple[bytes, str]] = {
    "cut.csv.zst": (packed(CSV)[:-9], "no sound zstd.*Fetch it again"),
    "plain.csv.zst": (CSV, "no sound zstd.*first bytes"),
    "latin.csv.zst": (packed("a,y\né,1\n".encode("latin1")), "no zstd file of UTF-8.*zstd -d"),
    "empty.csv.zst": (packed(b""), "is empty"),
    "t.parquet.zst": (packed(b"x"), "unknown type"),
    "none.jsonl": (b"\n", "is empty"),
    "keys.jsonl": (b"{}\n{}\n", "no key in any line"),
    "cut.jsonl": (b'{"y": 1}\n\n{"y": ', "line 3: no sound JSON.*fetch the file again"),
    "middle.jsonl": (b'{"y": 1}\n{y: 2}\n{"y": 0}\n', "line 2: no sound JSON.*one whole object"),
    "nan.jsonl": (b'{"y": NaN}\n', "line 1: .*NaN is no JSON; a missing number is null"),
    "list.jsonl": (b'{"y": 1}\n[1]\n', "line 2: a JSON list.*must be an object"),
    "mixed.jsonl": (b'{"y": true}\n{"y": 1}\n', "values of one type"),
    "latin.jsonl": (b'{"y": 1}\n{"y": "\xe9"}\n', "line 2: byte 0xe9 is not UTF-8"),
    "empty.arrow": (b"", "is empty"),
    "old.feather": (b"FEA1....FEA1", "Feather version 1.*to_feather"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("form", ["arrow", "feather", "ipc"])
@pytest.mark.parametrize("cut", [lambda n: 3, lambda n: n // 2, lambda n: n - 20, lambda n: n - 1])
def test_arrow_files_cut_anywhere(tmp_path: Path, form: str, cut: Callable[[int], int]) -> None:
    path = write(tmp_path / f"t.{form}")
    path.write_bytes(path.read_bytes()[: cut(path.stat().st_size)])
    with pytest.raises(DataError, match=rf"t\.{form}' is no sound Arrow file.*fetch it again"):
        read_table(path)


def test_an_arrow_file_without_rows(tmp_path: Path) -> None:
    TABLE.clear().write_ipc(tmp_path / "t.arrow")
    with pytest.raises(DataError, match=r"t\.arrow' has columns and no rows"):
        read_table(tmp_path / "t.arrow")
