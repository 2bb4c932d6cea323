"""Folders of segments: what may happen to files, and what a reader says to it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import GapError, InputError
from recprune.streaming.sources.folder import Folder
from recprune.streaming.sources.segments import BLOCK, Mark

from .test_sources import drained, payloads


def put(folder: Path, name: str, events: list[bytes], end: bytes = b"\n") -> Path:
    """Write a segment."""
    file = folder / name
    data = b"\n".join(events) + end
    hidden = folder / f".{name}"
    hidden.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return hidden.rename(file)


def read_to(folder: Path, n: int) -> tuple[Folder, str]:
    """Return a reader that has read so many events, and its position."""
    source = Folder(folder)
    return source, source.read("all", None, n).positions[-1]


def both(source: Folder, folder: Path) -> tuple[Folder, Folder]:
    """Return the reader that went on, and one that starts again."""
    return source, Folder(folder)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from([b"", b"\r", b"{}", b"x" * 50, b'{"a": 1}\r']), max_size=8)),
    st.integers(1, 30),
    st.booleans(),
)
def test_blank_lines_are_no_events(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[bytes]], most: int, packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    for i, lines in enumerate(segments):
        put(folder, f"{i:04}.jsonl{'.gz' * packed}", lines, b"\n" * bool(lines))
    wanted = [line for lines in segments for line in lines if line.strip()]
    assert drained(Folder(folder), "all", None, most) == wanted
    read = Folder(folder).read("all", None, 1_000)
    for i, position in enumerate(read.positions):
        assert list(Folder(folder).read("all", position, 2).payloads) == wanted[i + 1 : i + 3]


def test_events_of_any_length_cross_the_blocks(tmp_path: Path) -> None:
    events = [b"a" * (BLOCK - 1), b"b" * BLOCK, b"c" * (2 * BLOCK + 7), b"d", b"e" * (BLOCK - 2)]
    put(tmp_path, "1.jsonl", events)
    put(tmp_path, "2.jsonl.gz", events)
    assert drained(Folder(tmp_path), "all", None, 2) == events * 2


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_segment_that_was_cut_off_is_a_gap(tmp_path: Path, suffix: str) -> None:
    file = put(tmp_path, f"1{suffix}", payloads(100))
    source, after = read_to(tmp_path, 50)
    os.truncate(file, file.stat().st_size - 5)
    for reader in both(source, tmp_path):
        with pytest.raises(GapError, match=r"event .* of segment '1'"):
            reader.read("all", after, 100)


def test_a_segment_that_was_cut_between_lines_is_a_gap(tmp_path: Path) -> None:
    file = put(tmp_path, "1.jsonl", payloads(100))
    source, after = read_to(tmp_path, 50)
    for kept in (50, 20):
        file.write_bytes(b"".join(p + b"\n" for p in payloads(kept)))
        for reader in both(source, tmp_path):
            with pytest.raises(GapError, match=r"added or cut off|not those that were read"):
                reader.read("all", after, 100)


def test_a_segment_that_has_changed_is_a_gap(tmp_path: Path) -> None:
    file = put(tmp_path, "1.jsonl", payloads(100))
    put(tmp_path, "2.jsonl", payloads(100, 100))
    source, after = read_to(tmp_path, 50)
    changed = payloads(100)
    changed[10] = b'{"event": 10, "clicked": 7}'
    put(tmp_path, "1.jsonl", changed)
    for reader in both(source, tmp_path):
        with pytest.raises(GapError, match="first 50 events are not those that were read"):
            reader.read("all", after, 10)
    changed = payloads(100)
    changed[70] = b'{"event": 70, "clicked": 7}'
    file.write_bytes(b"\n".join(changed) + b"\n")  # what was not read yet may still be put right
    for reader in both(source, tmp_path):
        assert list(reader.read("all", after, 50).payloads) == changed[50:]


def test_a_segment_that_grew_after_its_end_is_a_gap(tmp_path: Path) -> None:
    file = put(tmp_path, "1.jsonl", payloads(10))
    source, after = read_to(tmp_path, 10)
    with file.open("ab") as handle:
        handle.write(b'{"event": 10}\n')
    for reader in both(source, tmp_path):
        with pytest.raises(GapError, match="added or cut off"):
            reader.read("all", after, 10)


def test_a_segment_that_was_read_through_may_go(tmp_path: Path) -> None:
    first = put(tmp_path, "1.jsonl", payloads(10))
    second = put(tmp_path, "2.jsonl", payloads(10, 10))
    source, end = read_to(tmp_path, 10)
    first.unlink()
    for reader in both(source, tmp_path):
        assert list(reader.read("all", end, 5).payloads) == payloads(5, 10)
    source, middle = read_to(tmp_path, 5)
    second.unlink()
    for reader in both(source, tmp_path):
        with pytest.raises(GapError, match=r"segment '2' from event 6 on.*gone"):
            reader.read("all", middle, 5)


def test_a_segment_may_be_compressed_later(tmp_path: Path) -> None:
    for name in ("1", "2"):
        put(tmp_path, f"{name}.jsonl", payloads(10))
    source, after = read_to(tmp_path, 5)
    for name in ("1", "2"):
        put(tmp_path, f"{name}.jsonl.gz", payloads(10))
        assert drained(Folder(tmp_path), "all", None, 7) == payloads(10) * 2  # no event twice
        (tmp_path / f"{name}.jsonl").unlink()
    for reader in both(source, tmp_path):
        assert list(reader.read("all", after, 100).payloads) == payloads(5, 5) + payloads(10)


def test_a_segment_may_be_compressed_between_two_readings(tmp_path: Path) -> None:
    """It was listed as it was called before."""
    for name in ("1", "2", "3"):
        put(tmp_path, f"{name}.jsonl", payloads(10))
    source, after = read_to(tmp_path, 10)
    put(tmp_path, "2.jsonl.gz", payloads(10))
    for name in ("2", "3"):
        (tmp_path / f"{name}.jsonl").unlink()
    read = source.read("all", after, 10)
    assert list(read.payloads) == payloads(10)
    with pytest.raises(GapError, match=r"segment '3'.*cannot be opened"):
        source.read("all", read.positions[-1], 10)


def test_a_segment_that_comes_too_late_is_a_gap(tmp_path: Path) -> None:
    put(tmp_path, "9.jsonl", payloads(10))
    source, after = read_to(tmp_path, 10)
    put(tmp_path, "10.jsonl", payloads(10))
    with pytest.raises(GapError, match=r"segment '10'.*came after '9' was read.*leading zeros"):
        source.read("all", after, 10)


def test_numbers_that_do_not_count_on_are_a_gap(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        put(tmp_path, f"part-{number}.jsonl", payloads(10, 10 * number))
    source = Folder(tmp_path, numbered=True)
    with pytest.raises(GapError, match="between segments 'part-2' and 'part-4'"):
        source.read("all", None, 100)
    put(tmp_path, "part-3.jsonl", payloads(10, 30))
    assert drained(Folder(tmp_path, numbered=True), "all", None, 100) == payloads(40, 10)
    put(tmp_path, "part-x.jsonl", payloads(10))
    with pytest.raises(InputError, match="do not end in numbers"):
        Folder(tmp_path, numbered=True).read("all", None, 100)


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl", payloads(3))
    for name in (".2.jsonl", "_2.jsonl", "2.jsonl.tmp", "2.jsonl.part"):
        (tmp_path / name).write_bytes(b"half an ev")
    assert drained(Folder(tmp_path), "all", None, 10) == payloads(3)


@pytest.mark.parametrize(
    "name", ["notes.txt", "1.json", "1.jsonl ", "a b.jsonl", "a#1.jsonl", "1.jsonl.zst"]
)
def test_what_is_no_segment_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="is no segment"):
        Folder(tmp_path)


def test_a_folder_is_one_or_has_partitions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Folder(tmp_path / "absent")
    assert Folder(tmp_path).partitions == ("all",)
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    assert Folder(tmp_path).partitions == ("a", "b")
    put(tmp_path, "1.jsonl", payloads(1))
    with pytest.raises(InputError, match="segments beside sub-folders"):
        Folder(tmp_path)
    (tmp_path / "1.jsonl").rename(tmp_path / "a" / "1.jsonl")
    (tmp_path / "a" / "c.jsonl").mkdir()
    with pytest.raises(InputError, match="is no segment"):
        Folder(tmp_path)


def test_damaged_bytes_are_a_gap(tmp_path: Path) -> None:
    file = put(tmp_path, "1.jsonl.gz", payloads(10_000))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    with pytest.raises(GapError, match="damaged or cut off"):
        drained(Folder(tmp_path), "all", None, 1_000)


def test_a_file_without_lines_does_not_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recprune.streaming.sources.segments.MOST_BYTES", 4 * BLOCK)
    with (tmp_path / "1.jsonl").open("wb") as handle:
        handle.truncate(100 * BLOCK)
    with pytest.raises(GapError, match="a line of more than"):
        Folder(tmp_path).read("all", None, 1)


def test_a_mark_reads_back() -> None:
    assert Mark.read("1#000000000001-0000abcd") == Mark("1", 1, 0xABCD, False)
    assert Mark.read("1#1-0000abcd") is None
