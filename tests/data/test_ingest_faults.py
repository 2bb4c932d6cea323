"""Broken sources and full disks: the place is named, the exit code is 2, and nothing is left."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.cli import app
from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
from recprune.errors import DataError, InputError

N = 3000
ROWS = [f"{i},w{i % 9},{i % 2}" for i in range(N)]
#: 0-based; its line is two further down, and it lies many batches after the first.
DEEP = 2500


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recprune.data.stream.BATCH", 100)


def csv_with(row: str | bytes) -> bytes:
    rows = [r.encode() for r in ROWS]
    rows[DEEP] = row if isinstance(row, bytes) else row.encode()
    return b"\n".join([b"a,b,y", *rows]) + b"\n"


def json_with(line: str | bytes) -> bytes:
    lines = [json.dumps({"a": i, "y": i % 2 == 0}).encode() for i in range(N)]
    lines[DEEP] = line if isinstance(line, bytes) else line.encode()
    return b"\n".join(lines)


def zstd(data: bytes, folder: Path) -> bytes:
    file = folder / "packed"
    rows = pl.read_csv(data, infer_schema=False)
    rows.lazy().sink_csv(file, compression="zstd", check_extension=False)
    out = file.read_bytes()
    file.unlink()
    return out


def parquet(folder: Path) -> bytes:
    file = folder / "sound"
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.normal(size=N), "y": rng.integers(0, 2, N)})
    frame.write_parquet(file, row_group_size=200, compression="zstd")
    out = file.read_bytes()
    file.unlink()
    return out


def damaged(data: bytes) -> bytes:
    """The same bytes with some in the last part of the values overwritten."""
    at = len(data) * 7 // 10
    return data[:at] + b"\xa5" * 400 + data[at + 400 :]


SOUND = "\n".join(["a,b,y", *ROWS]).encode()
LINE = DEEP + 2
FAULTS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "cut.csv.gz": (lambda f: gzip.compress(SOUND)[:-300], "no sound gzip file.*cut short"),
    "checksum.csv.gz": (lambda f: gzip.compress(SOUND)[:-8] + b"\0" * 8, "no sound gzip file"),
    "cut.csv.zst": (lambda f: zstd(SOUND, f)[:-9], "no sound zstd file.*Fetch it again"),
    "cut.jsonl.gz": (lambda f: gzip.compress(json_with("{}"))[:-50], "no sound gzip file"),
    "cut.jsonl": (lambda f: json_with("{}")[:-7], f"line {N}: no sound JSON.*fetch the file again"),
    "cut.parquet": (lambda f: parquet(f)[:-40], "no sound Parquet file"),
    "half.parquet": (lambda f: parquet(f)[: N * 4], "no sound Parquet file"),
    "damaged.parquet": (lambda f: damaged(parquet(f)), r"no sound Parquet file .* after row \d+"),
    "wide.csv": (lambda f: csv_with("1,2,3,4"), f"line {LINE}: 4 cells.* 3 columns"),
    "wide.csv.gz": (
        lambda f: gzip.compress(csv_with("1,2,3,4")),
        f"line {LINE}: 4 cells.* 3 columns",
    ),
    "latin.csv": (lambda f: csv_with(b"1,\xe9,0"), f"line {LINE}: byte 0xe9 is not UTF-8"),
    "latin.csv.gz": (lambda f: gzip.compress(csv_with(b"1,\xe9,0")), f"line {LINE}: byte 0xe9"),
    "latin.jsonl": (lambda f: json_with(b'{"a": "\xe9"}'), f"line {LINE - 1}: byte 0xe9"),
    "truth.jsonl": (
        lambda f: json_with('{"a": true, "y": true}'),
        f"line {LINE - 1}: key 'a' holds true or false, but a number before",
    ),
    "list.jsonl": (lambda f: json_with('{"a": [1]}'), f"line {LINE - 1}: key 'a' holds a list"),
    "no.jsonl": (lambda f: json_with('{"a": 1'), f"line {LINE - 1}: no sound JSON"),
    "quote.csv": (lambda f: csv_with('1,"x"z,0'), f"line {LINE}|Check its quotes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_deep_in_the_file(tmp_path: Path, name: str) -> None:
    make, says = FAULTS[name]
    (tmp_path / name).write_bytes(make(tmp_path))
    with pytest.raises(DataError, match=says) as caught:
        ingest(tmp_path / name, tmp_path / "t.rp")
    assert name in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "columns.csv": ({"1.csv": b"a,y\n1,0\n", "2.csv": b"a,z\n1,0\n"}, r"2\.csv' lacks \['y'\]"),
    "columns.jsonl": (
        {"1.jsonl": b'{"a": 1, "y": 0}\n', "2.jsonl": b'{"a": 1, "z": 2}\n'},
        r"2\.jsonl' lacks \['y'\] and has \['z'\] besides",
    ),
    "forms": ({"1.csv": b"a\n1\n", "2.jsonl": b'{"a": 1}\n'}, r"2\.jsonl' is of another form"),
    "types": (
        {"1.jsonl": b'{"a": 1}\n', "2.jsonl": b'{"a": [2]}\n'},
        r"Column 'a' holds List.*2\.jsonl' on, but Int64 before",
    ),
    "no match": ({"1.csv": b"a\n1\n"}, r"No file matches '.*\*\.tsv'.*Check the folder"),
    "none": ({"notes.md": b"x"}, "has no file that can be read"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_files_that_do_not_fit_together(tmp_path: Path, case: str) -> None:
    files, says = FOLDERS[case]
    source = tmp_path / "in"
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)
    with pytest.raises(DataError, match=says):
        ingest(source / "*.tsv" if case == "no match" else source, tmp_path / "t.rp")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_lists_after_numbers_name_the_file_and_the_column(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "y": [0]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": [[1]], "y": [0]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"Column 'a' holds List.*2\.parquet' on, but Int64 before"):
        ingest(tmp_path / "*.parquet", tmp_path / "t.rp")


def test_numbers_that_become_text_are_reported_with_their_place(tmp_path: Path) -> None:
    cases = {
        "t.csv": csv_with("many,w,0"),
        "t.jsonl": json_with('{"a": "many", "y": false}'),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        store = ColumnStore(ingest(tmp_path / name, tmp_path / "t.rp"))
        found = [f for f in store.findings if f.kind == "mixed"]
        assert [f.column for f in found] == ["a"]
        assert f"row {DEEP + 1} of file {str(tmp_path / name)!r}" in found[0].action
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": ["3", None, "x"]}).write_parquet(tmp_path / "2.parquet")
    store = ColumnStore(ingest(tmp_path / "*.parquet", tmp_path / "t.rp"))
    assert store.series("a").to_list() == ["1", "2", "3", None, "x"]
    assert "row 3 of file" in store.findings[0].action
    assert "2.parquet" in store.findings[0].action


def program(*arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def few_bytes() -> None:
        assert limit is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "recprune", "ingest", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=few_bytes if limit is not None else None,
    )


def test_the_program_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(csv_with("1,2,3,4"))
    done = program(str(tmp_path / "t.csv"), "-o", str(tmp_path / "t.rp"))
    assert done.returncode == 2
    assert f"line {LINE}: 4 cells" in done.stderr
    assert "Nothing was written to" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


#: The disk is full in a column's file, in the texts, and where a file of one column just fits.
@pytest.mark.parametrize("limit", [100, 4 * N - 1, 4 * N + 100])
def test_a_disk_that_fills(tmp_path: Path, limit: int) -> None:
    users = [f"a user with a long name, no. {i}" for i in range(N)]
    pl.DataFrame({"user": users, "y": [i % 2 for i in range(N)]}).write_parquet(
        tmp_path / "t.parquet"
    )
    out = tmp_path / "t.rp"
    done = program(str(tmp_path / "t.parquet"), "-o", str(out), limit=limit)
    assert done.returncode == 2
    assert f"Output {str(out)!r} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("place", ["columns", "finish", "texts", "manifest"])
def test_no_space_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Where a device says so, at any of the writes: what was there before stays."""
    (tmp_path / "t.csv").write_bytes(SOUND)
    out = ingest(tmp_path / "t.csv", tmp_path / "t.rp")
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    (tmp_path / "t.csv").write_bytes(csv_with("7,w,0"))

    def full(*_: object, **__: object) -> None:
        with open("/dev/full", "wb", buffering=0) as device:
            device.write(b"x")

    targets = {
        "columns": "recprune.data.column_writer.ColumnWriter.add",
        "finish": "recprune.data.column_writer.ColumnWriter.finish",
        "texts": "pathlib.Path.write_bytes",
        "manifest": "pathlib.Path.write_text",
    }
    monkeypatch.setattr(targets[place], full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        ingest(tmp_path / "t.csv", out)
    monkeypatch.undo()
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.rp"]


def test_bad_rows_are_stored_beside_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_bytes(csv_with("1,2,3,4") + b"5,\xe9,1\n7\n")
    verb = ["ingest", str(tmp_path / "t.csv"), "--label", "y", "-o", str(tmp_path / "t.rp")]
    assert app([*verb, "--on-bad-rows", "skip", "--json"], standalone_mode=False) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == N
    assert {f["kind"]: f["rows"] for f in said["findings"]} == {"bad_rows": 2, "short_rows": 1}
    stored = pl.read_csv(tmp_path / "t.rp.bad_rows.csv")
    assert stored["line"].to_list() == [LINE, N + 2]
    direct = Dataset.read(tmp_path / "t.csv", label="y", on_bad_rows="skip")
    folder = Dataset.read(tmp_path / "t.rp")
    assert direct.table is not None
    assert folder.table is not None
    assert folder.table.held.equals(direct.table.held)
    assert folder.findings == direct.findings


@pytest.mark.parametrize("name", ["sound.csv", "sound.csv.gz"])
def test_short_rows_are_counted_in_one_place_only(tmp_path: Path, name: str) -> None:
    rows = [*ROWS, "1,w", "", "2"]
    rows[5] = "5,w,"
    data = "\n".join(["a,b,y", *rows]).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for on_bad_rows in ("error", "skip"):
        folder = ingest(tmp_path / name, tmp_path / "t.rp", on_bad_rows=on_bad_rows)
        found = [f for f in ColumnStore(folder).findings if f.kind == "short_rows"]
        assert [f.rows for f in found] == [2]
        assert f"line {N + 2}" in found[0].action
