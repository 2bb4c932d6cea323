"""Rows that cannot be read, or lack cells: where, how many, and that all others are kept."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.cli import app
from recprune.data import Dataset
from recprune.data.bad_rows import BadRows
from recprune.data.sources import read_table
from recprune.errors import DataError, InputError, ParameterError

SOUND = [f"{i},x{i % 3},{i % 2}" for i in range(60)]


def write(path: Path, *rows: bytes, header: bytes = b"a,b,y") -> Path:
    path.write_bytes(b"\n".join([header, *rows]) + b"\n")
    return path


def with_bad(*bad: bytes) -> list[bytes]:
    """Sound rows with bad ones from the fifth line on."""
    rows = [row.encode() for row in SOUND]
    return [*rows[:3], *bad, *rows[3:]]


@pytest.mark.parametrize(
    "row, reason",
    [
        (b"1,x,0,7", "4 cells, but the header has 3 columns"),
        (b"1,\xe9,0", "bytes that are not UTF-8"),
        (b'1,"x"y,0', "expected after"),
    ],
)
def test_a_bad_row_is_an_error_or_left_out(tmp_path: Path, row: bytes, reason: str) -> None:
    path = write(tmp_path / "t.csv", *with_bad(row, b"2,x,0,8"))
    with pytest.raises(DataError, match=r"line [56]: "):
        Dataset.read(path, label="y")
    bad = BadRows(skip=True)
    frame, from_text = read_table(path, bad)
    assert from_text
    assert [",".join(r) for r in frame.rows()] == SOUND
    assert [(r.file, r.line) for r in bad.skipped] == [(str(path), 5), (str(path), 6)]
    assert reason in bad.skipped[0].reason
    assert bad.skipped[0].text == row.decode(errors="backslashreplace")
    data = Dataset.read(path, label="y", on_bad_rows="skip")
    assert [(f.kind, f.rows, f.severity) for f in data.findings] == [("bad_rows", 2, "warning")]
    assert "line 5" in data.findings[0].action


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("skip", ["error", "skip"])
def test_short_rows_are_counted_and_read_as_missing(
    tmp_path: Path, quoted: bool, skip: str
) -> None:
    head = b'"a",b,c,y' if quoted else b"a,b,c,y"
    rows = [f"{i},x{i % 3},{i % 2},{i % 2}".encode() for i in range(60)]
    path = write(tmp_path / "t.csv", *rows, b"7,x", b"", b"8", header=head)
    data = Dataset.read(path, label="y", on_bad_rows=skip)
    short = [f for f in data.findings if f.kind == "short_rows"]
    assert [f.rows for f in short] == [2]
    assert "line 62" in short[0].action
    assert read_table(path)[0]["c"].to_list()[-1] is None


@given(st.data())
def test_short_rows_are_found_among_quotes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever the cells hold: separators and line feeds in quotes, doubled quotes, no cells."""
    cell = st.sampled_from(['"a,b"', '"say ""x"", y"', '"1\n2"', "plain", "", '""'])
    rows = data.draw(st.lists(st.lists(cell, min_size=1, max_size=3), min_size=1, max_size=8))
    rows = [row for row in rows if row != [""]]
    path = write(
        tmp_path_factory.mktemp("t") / "t.csv", *[",".join(r).encode() for r in rows], b"1,2,"
    )
    bad = BadRows()
    read_table(path, bad)
    assert bad.short == sum(len(row) < 3 for row in rows)


def test_separators_at_the_end_of_a_line_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", *[row + b",," for row in with_bad(b"1,x,0,7")])
    with pytest.raises(DataError, match="line 2: 5 cells"):
        read_table(path)
    bad = BadRows(skip=True)
    assert [",".join(r) for r in read_table(path, bad)[0].rows()] == SOUND
    assert [(r.line, r.text) for r in bad.skipped] == [(5, "1,x,0,7,,")]


def test_empty_cells_are_no_short_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", *[f"{i % 2},{i},".encode() for i in range(60)])
    bad = BadRows()
    read_table(path, bad)
    assert bad.short == 0


def test_sound_files_read_alike_whatever_is_done_about_bad_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", *with_bad(b'"1,\n2","say ""no""",0', b",,1"))
    bad = BadRows(skip=True)
    assert read_table(path, bad)[0].equals(read_table(path)[0])
    assert not bad.skipped


def test_rows_over_several_lines_are_numbered_by_their_first(tmp_path: Path) -> None:
    rows = with_bad(b'"1\n\n2",x,0', b'"3\n4",x,0,9', b"\xff\xfe,x,1")
    path = write(tmp_path / "t.csv", *rows)
    bad = BadRows(skip=True)
    frame, _ = read_table(path, bad)
    assert frame["a"].to_list()[3:5] == ["1\n\n2", "3"]
    assert [(r.line, r.text) for r in bad.skipped] == [
        (8, '"3\n4",x,0,9'),
        (10, "\\xff\\xfe,x,1"),
    ]


def test_the_files_of_a_folder_and_packed_ones(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", *with_bad(b"1,2,3,4"))
    write(tmp_path / "2.csv", *with_bad())
    third = write(tmp_path / "3.csv", *with_bad(b"1,\xe9,0"))
    (tmp_path / "3.csv.gz").write_bytes(gzip.compress(third.read_bytes()))
    third.unlink()
    bad = BadRows(skip=True)
    assert len(read_table(tmp_path, bad)[0]) == 180
    assert [(Path(r.file).name, r.line) for r in bad.skipped] == [("1.csv", 5), ("3.csv.gz", 5)]


def test_a_file_without_a_header_loses_no_row(tmp_path: Path) -> None:
    criteo = "\t".join(["1", *["7"] * 13, *["68fd1e64"] * 26]).encode()
    path = tmp_path / "t.tsv"
    path.write_bytes(b"\n".join([criteo, criteo + b"\tmore", criteo]))
    bad = BadRows(skip=True)
    assert read_table(path, bad)[0].shape == (2, 40)
    assert [r.line for r in bad.skipped] == [2]


@pytest.mark.parametrize(
    "content, says",
    [
        (b'a,b,y\n1,x,0\n1,"x,0\n2,x,1\n3,x,0,9\n', "line 3: a quote opens and never closes"),
        (b"a,b,y\n1,2,3,4\n", "no sound row; line 2: 4 cells"),
        (b"a,\xe9,y\n1,2,3\n", "line 1: byte 0xe9"),
        (b"a,a,y\n1,2,3,4\n", "two columns named 'a'"),
    ],
)
def test_what_cannot_be_skipped(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_table(path, BadRows(skip=True))


def test_another_word() -> None:
    with pytest.raises(ParameterError, match="'on_bad_rows'"):
        Dataset.read("t.csv", label="y", on_bad_rows="ignore")


@given(st.data())
def test_no_sound_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bad_row = st.sampled_from([b"1,2,3,4", b"\xe9,2,3", b'1,"2"3,4', b",,,,"])
    mixed = data.draw(st.lists(st.none() | bad_row, min_size=1, max_size=12))
    rows = [row if row is not None else f"r{i},x,1".encode() for i, row in enumerate(mixed)]
    path = write(tmp_path_factory.mktemp("t") / "t.csv", b"first,x,0", *rows)
    collected = BadRows(skip=True)
    frame, _ = read_table(path, collected)
    assert frame["a"].to_list() == ["first", *(f"r{i}" for i, r in enumerate(mixed) if r is None)]
    assert [r.line for r in collected.skipped] == [
        i + 3 for i, r in enumerate(mixed) if r is not None
    ]


def test_the_program_stores_them_beside_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.csv", *with_bad(b"1,x,0,7", b"1,\xe9,0"))
    out = tmp_path / "model"
    small = ["--set", "epochs=1", "--set", "hidden=[4]", "--set", "dim=2"]
    train = ["train", str(path), "--label", "y", "-o", str(out), "--json", *small]
    with pytest.raises(DataError):
        app(train, standalone_mode=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv"]
    assert app([*train, "--on-bad-rows", "skip"], standalone_mode=False) == 0
    with (tmp_path / "model.bad_rows.csv").open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert [(r["file"], r["line"], r["text"]) for r in stored] == [
        (str(path), "5", "1,x,0,7"),
        (str(path), "6", "1,\\xe9,0"),
    ]
    capsys.readouterr()
    check = ["check", str(path), "--label", "y", "--on-bad-rows", "skip", "--json"]
    assert app(check, standalone_mode=False) == 0
    assert '"bad_rows"' in capsys.readouterr().out


def test_verbs_that_open_a_model_count_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = write(tmp_path / "t.csv", *with_bad(b"1,x,0,7", b"1,\xe9,0"))
    model, small = str(tmp_path / "model"), tmp_path / "small"
    skip = ["--on-bad-rows", "skip", "--json"]
    quick = ["--set", "epochs=1", "--set", "hidden=[4]", "--set", "dim=2"]
    train = ["train", str(path), "--label", "y", "-o", model, *quick, *skip]
    assert app(train, standalone_mode=False) == 0
    capsys.readouterr()
    for verb in (["rank", model], ["evaluate", model], ["compare", model, model]):
        with pytest.raises(DataError, match="line 6"):
            app([*verb, str(path)], standalone_mode=False)
        assert app([*verb, str(path), *skip], standalone_mode=False) in (0, 3)
        assert json.loads(capsys.readouterr().out)["bad_rows"] == 2
    prune = ["prune", model, str(path), "--keep", "neurons=0.5", "-o", str(small)]
    with pytest.raises(DataError, match="line 6"):
        app(prune, standalone_mode=False)
    assert app([*prune, *skip], standalone_mode=False) == 0
    assert len((tmp_path / "small.bad_rows.csv").read_text().splitlines()) == 3


def test_a_place_where_they_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Output '.*rows.csv' cannot be written"):
        BadRows(skip=True).write(tmp_path / "file" / "rows.csv")
