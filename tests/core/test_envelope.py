"""Sealed folders: what goes in comes out, for who has the key, and nothing else comes out ever."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.envelope import Sealed, holds, is_sealed, master_id, rewrap, seal, sealing, unseal
from recprune.errors import ArtifactError, InputError, ParameterError
from tests.core.plain_unsealer import unsealed

CHUNK = 8
MASTER, OTHER = bytes(range(32)), b"another master key, of 33 bytes.."
FILES = {"config.json": b'{"recprune": "1"}', "plots/a b.png": b"0123456789abcdef" * 3, "none": b""}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK", CHUNK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seal(FILES, tmp_path / "sealed", MASTER)
    return tmp_path / "sealed"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


def read_all(folder: Path, master: bytes = MASTER) -> dict[str, bytes]:
    sealed = Sealed(folder, master)
    return {name: sealed.read(name) for name in sealed.files}


def refused(folder: Path, name: str | None = None) -> None:
    """Check that the folder, or at least this file of it, can no longer be read."""
    with pytest.raises(ArtifactError):  # noqa: PT012
        sealed = Sealed(folder, MASTER)
        sealed.verify() if name is None else sealed.read(name)


sizes = st.integers(0, 3).flatmap(
    lambda n: st.integers(max(0, n * CHUNK - 1), n * CHUNK + 1).flatmap(
        lambda size: st.binary(min_size=size, max_size=size)
    )
)
part = st.text(st.characters(exclude_characters="/\\\0"), min_size=1, max_size=20).filter(
    lambda t: t not in (".", "..") and len(t.encode("utf-8", "surrogatepass")) < 100
)
names = st.lists(part, min_size=1, max_size=3).map("/".join)


@given(files=st.dictionaries(names, sizes, min_size=1, max_size=4), cut=st.data())
def test_what_was_sealed_comes_out_whole_and_in_parts(
    files: dict[str, bytes], cut: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "CHUNK", CHUNK)
        out = Path(folder) / "sealed"
        seal(files, out, MASTER)
        assert read_all(out) == unsealed(out, MASTER) == files
        sealed = Sealed(out, MASTER)
        for name, data in files.items():
            start = cut.draw(st.integers(0, len(data)))
            stop = cut.draw(st.integers(start, len(data)))
            assert sealed.read_range(name, start, stop) == data[start:stop]


def test_chunks_of_the_usual_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    data = os.urandom((2 << 20) + 5)
    seal({"a": data}, tmp_path / "s", MASTER)
    assert (tmp_path / "s" / "0.sealed").stat().st_size == len(data) + 3 * 16
    sealed = Sealed(tmp_path / "s", MASTER)
    assert sealed.read("a") == data == unsealed(tmp_path / "s", MASTER)["a"]
    assert sealed.read_range("a", (1 << 20) - 3, (1 << 20) + 4) == data[(1 << 20) - 3 :][:7]


def test_a_folder_goes_in_and_comes_out(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for name, data in FILES.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(data)
    seal(plain, tmp_path / "sealed", MASTER)
    assert contents(plain) == FILES
    unseal(tmp_path / "sealed", tmp_path / "out", MASTER)
    assert contents(tmp_path / "out") == FILES
    seal(plain, plain, MASTER)
    assert set(contents(plain)) == {"sealed.json", "0.sealed", "1.sealed", "2.sealed"}
    unseal(plain, plain, MASTER)
    assert contents(plain) == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "plain", "sealed"]


def test_nothing_of_the_plain_text_is_stored(folder: Path) -> None:
    stored = b"".join(contents(folder).values())
    assert b"01234567" not in stored
    assert MASTER not in stored
    assert MASTER.hex().encode() not in stored


def test_one_folder_sealed_twice_shares_nothing(folder: Path) -> None:
    seal(FILES, folder.parent / "again", MASTER)
    first, second = contents(folder), contents(folder.parent / "again")
    assert not {d for n, d in first.items() if n != "sealed.json"} & {*second.values()}


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "CHUNK", CHUNK)
        folder = Path(place) / "sealed"
        seal(FILES, folder, MASTER)
        name = data.draw(st.sampled_from(sorted(contents(folder))))
        stored = bytearray((folder / name).read_bytes())
        at = data.draw(st.integers(0, len(stored) - 1))
        stored[at] ^= data.draw(st.integers(1, 255))
        (folder / name).write_bytes(stored)
        try:
            got = read_all(folder)
        except ArtifactError:
            return
        # White space, and escapes of the same text, say nothing else.
        assert name == "sealed.json"
        assert got == FILES


@pytest.mark.parametrize("by", [-1, -16, -(CHUNK + 16), 1, 16, CHUNK + 16])
def test_a_file_cut_off_or_gone_on_is_refused(folder: Path, by: int) -> None:
    file = folder / "2.sealed"
    stored = file.read_bytes()
    file.write_bytes(stored[:by] if by < 0 else stored + stored[:by])
    refused(folder, "plots/a b.png")


def test_a_file_cut_off_after_it_was_opened_is_refused(folder: Path) -> None:
    sealed = Sealed(folder, MASTER)
    (folder / "2.sealed").write_bytes((folder / "2.sealed").read_bytes()[: CHUNK + 16])
    with pytest.raises(ArtifactError, match="not what was sealed here"):
        sealed.read("plots/a b.png")
    (folder / "2.sealed").unlink()
    with pytest.raises(ArtifactError, match="No such file"):
        sealed.read("plots/a b.png")


def test_the_last_chunk_cannot_be_left_out_under_a_shorter_length(folder: Path) -> None:
    about = json.loads((folder / "sealed.json").read_text())
    about["files"][2]["bytes"] -= CHUNK
    (folder / "sealed.json").write_text(json.dumps(about))
    file = folder / "2.sealed"
    file.write_bytes(file.read_bytes()[: -(CHUNK + 16)])
    refused(folder)


def test_chunks_cannot_change_places(folder: Path) -> None:
    file, step = folder / "2.sealed", CHUNK + 16
    stored = file.read_bytes()
    file.write_bytes(stored[step : 2 * step] + stored[:step] + stored[2 * step :])
    refused(folder, "plots/a b.png")


def test_files_cannot_change_places(tmp_path: Path) -> None:
    seal({"a": b"1" * 20, "b": b"2" * 20}, tmp_path / "s", MASTER)
    a, b = (tmp_path / "s" / name for name in ("0.sealed", "1.sealed"))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    refused(tmp_path / "s", "a")
    refused(tmp_path / "s", "b")


@pytest.mark.parametrize("name", ["sealed.json", "0.sealed", "1.sealed", "2.sealed"])
def test_nothing_of_another_folder_fits(folder: Path, name: str) -> None:
    """Neither a file nor the manifest of one with the same names and lengths, or an older state."""
    other = folder.parent / "other"
    seal({n: d[::-1] for n, d in FILES.items()}, other, MASTER)
    shutil.copy(other / name, folder / name)
    refused(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["files"].reverse(),
        lambda a: a["files"].pop(),
        lambda a: a["files"].append({"name": "new", "bytes": 0}),
        lambda a: a["files"].append(a["files"][0]),
        lambda a: a["files"][0].update(name="other.json"),
        lambda a: a["files"][0].update(bytes=10**15),
        lambda a: a["files"][0].update(bytes=-1),
        lambda a: a["files"][0].update(bytes=1e3),
        lambda a: a["files"][0].update(bytes=10**30),
        lambda a: a["files"][0].update(more=1),
        lambda a: a.update(chunk=4),
        lambda a: a.update(chunk=0),
        lambda a: a.update(chunk=1 << 40),
        lambda a: a.update(protocol=0),
        lambda a: a.update(files=[]),
        lambda a: a.update(files=None),
        lambda a: a.update(key="x"),
        lambda a: a.update(more="x"),
        lambda a: a["key"].update(wrapped=""),
        lambda a: a["key"].update(master=master_id(OTHER)),
        lambda a: a.pop("key"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(folder: Path, change: Any) -> None:
    about = json.loads((folder / "sealed.json").read_text())
    change(about)
    (folder / "sealed.json").write_text(json.dumps(about))
    refused(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "\xff", "[" * 10**5, '{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "sealed.json").write_text(text, encoding="latin-1")
    refused(folder)


def test_a_newer_protocol_is_refused_by_its_number(folder: Path) -> None:
    about = json.loads((folder / "sealed.json").read_text())
    (folder / "sealed.json").write_text(json.dumps({**about, "protocol": 2}))
    with pytest.raises(ArtifactError, match="protocol 2; this recprune reads up to 1"):
        Sealed(folder, MASTER)


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a\\b", "", ".", "a//b", "a\0"])
def test_names_never_lead_out_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be sealed"):
        seal({name: b"x"}, folder.parent / "wrong", MASTER)
    with pytest.MonkeyPatch.context() as other_program:
        for module in ("sealing", "manifest"):
            other_program.setattr(f"recprune.envelope.{module}.sound_name", lambda name: True)
        seal({name: b"x"}, folder, MASTER)
    with pytest.raises(ArtifactError, match="was changed"):
        unseal(folder, folder.parent / "out", MASTER)
    assert [p.name for p in folder.parent.iterdir()] == ["sealed"]


def test_a_missing_file_is_named_and_others_are_ignored(folder: Path) -> None:
    (folder / "config.json").write_text("not read")
    (folder / "9.sealed").write_text("not read")
    assert read_all(folder) == FILES
    (folder / "1.sealed").unlink()
    with pytest.raises(
        ArtifactError, match=r"incomplete: 1.sealed \(none\) cannot be read: No such"
    ):
        Sealed(folder, MASTER)


def test_a_pipe_in_a_files_place_is_refused(folder: Path) -> None:
    for name in ("0.sealed", "sealed.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder)


def test_another_key_opens_nothing(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=f"under the master key {master_id(MASTER)}"):
        Sealed(folder, OTHER)
    with pytest.raises(InputError, match=r"at least 32 bytes\. Got 5"):
        Sealed(folder, b"short")


def test_a_key_that_is_not_there_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)
    with pytest.raises(
        InputError, match=r"is sealed\. There is no master key.*RECPRUNE_MASTER_KEY"
    ):
        Sealed(folder)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", OTHER.decode())
    with pytest.raises(ArtifactError, match="Set RECPRUNE_MASTER_KEY"):
        Sealed(folder)


def test_keys_are_shown_nowhere(folder: Path) -> None:
    sealed = Sealed(folder, MASTER)
    assert repr(sealed) == f"Sealed({str(folder)!r})"
    with pytest.raises(TypeError):
        pickle.dumps(sealed)


@pytest.mark.parametrize("start, stop", [(-1, 2), (3, 2), (0, 10**9)])
def test_a_range_lies_within_its_file(folder: Path, start: int, stop: int) -> None:
    with pytest.raises(ParameterError, match="range within the 17 bytes"):
        Sealed(folder, MASTER).read_range("config.json", start, stop)


def test_a_part_reads_its_own_chunks_only(folder: Path) -> None:
    file, step = folder / "2.sealed", CHUNK + 16
    stored = bytearray(file.read_bytes())
    stored[3 * step] ^= 1
    file.write_bytes(stored)
    sealed, name = Sealed(folder, MASTER), "plots/a b.png"
    assert sealed.read_range(name, 0, 3 * CHUNK) == FILES[name][: 3 * CHUNK]
    assert sealed.read_range(name, 4 * CHUNK, 6 * CHUNK) == FILES[name][4 * CHUNK :]
    with pytest.raises(ArtifactError):
        sealed.read_range(name, 3 * CHUNK, 3 * CHUNK + 1)


def test_threads_share_a_folder(folder: Path) -> None:
    sealed, wrong = Sealed(folder, MASTER), []

    def read() -> None:
        for _ in range(50):
            wrong.extend(n for n, d in FILES.items() if sealed.read(n) != d)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_readers_see_the_folder_while_its_key_changes(folder: Path) -> None:
    ends, seen = threading.Event(), []

    def change() -> None:
        for _ in range(15):
            rewrap(folder, MASTER, OTHER)
            rewrap(folder, OTHER, MASTER)
        ends.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not ends.is_set():
        try:
            seen.append(read_all(folder) == FILES)
        except ArtifactError as error:
            assert "under the master key" in str(error)  # noqa: PT017
    thread.join()
    assert all(seen)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "plain" / "sub").mkdir(parents=True)
    (tmp_path / "plain" / "config.json").write_bytes(FILES["config.json"])
    yield tmp_path / "plain"
    assert (tmp_path / "plain" / "config.json").read_bytes() == FILES["config.json"]


def test_what_cannot_be_sealed_stays_as_it_is(plain: Path) -> None:
    with pytest.raises(InputError, match="lies in"):
        seal(plain, plain / "sub" / "sealed", MASTER)
    with pytest.raises(InputError, match="lies in"):
        seal(plain, plain.parent, MASTER)
    with pytest.raises(InputError, match="There is no folder"):
        seal(plain / "absent", plain.parent / "out", MASTER)
    with pytest.raises(InputError, match="There is no file to seal"):
        seal(plain / "sub", plain.parent / "out", MASTER)
    with pytest.raises(InputError, match="at least 32 bytes"):
        seal(plain, plain, b"short")
    (plain / "sub" / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        seal(plain, plain, MASTER)
    (plain / "sub" / "link").unlink()
    seal(FILES, plain / "sub" / "sealed", MASTER)
    with pytest.raises(InputError, match="is sealed already"):
        seal(plain, plain, MASTER)
    assert [p.name for p in plain.parent.iterdir()] == ["plain"]


def test_a_sealed_folder_is_replaced_and_a_foreign_one_is_not(folder: Path) -> None:
    seal({"new": b"1"}, folder, MASTER)
    assert read_all(folder) == {"new": b"1"}
    (folder / "sealed.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="not a recprune folder"):
        seal(FILES, folder, MASTER)


def test_what_lies_in_a_sealed_folder_is_told_without_a_key(folder: Path) -> None:
    assert is_sealed(folder)
    assert holds(folder, "config.json")
    assert not holds(folder, "data.json")
    assert is_sealed(folder / "plots")
    assert holds(folder / "plots", "a b.png")
    assert not is_sealed(folder.parent)
    assert not is_sealed(folder.parent / "absent")
