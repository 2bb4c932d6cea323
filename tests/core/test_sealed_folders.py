"""Sealed artefacts and users read as plain ones do, and a change of keys is whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recprune.artifact import read_artifact, write_artifact
from recprune.envelope import (
    Sealed,
    changed,
    folder_reader,
    in_memory,
    reseal,
    rewrap,
    seal,
    unseal,
)
from recprune.errors import ArtifactError, InputError
from recprune.users import Users
from tests.core.samples import artifact

MASTER, OTHER = b"m" * 32, b"o" * 32


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: an artefact, another one in it, and its users."""
    for folder in (tmp_path / "run", tmp_path / "run" / "full"):
        folder.mkdir()
        write_artifact(folder, artifact(), "1")
    Users(("u1", "u2"), {"age": [34, None]}).save(tmp_path / "run" / "users.rp")
    return tmp_path / "run"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", MASTER.decode())


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)


def stored(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir()}


@pytest.mark.usefixtures("key")
def test_a_sealed_run_reads_as_before_by_the_same_paths(run: Path) -> None:
    before = read_artifact(run).state
    seal(run, run, MASTER)
    assert {f.suffix for f in run.iterdir()} == {".sealed", ".json"}
    for folder in (run, run / "full"):
        state = read_artifact(folder).state
        assert {*state} == {*before}
        assert all(np.array_equal(state[name], before[name]) for name in before)
    assert Users.load(run / "users.rp").record("u1") == {"age": "34"}


@pytest.mark.usefixtures("no_key")
def test_without_the_key_the_variable_is_named(run: Path) -> None:
    seal(run, run, MASTER)
    with pytest.raises(InputError, match=r"sealed.*RECPRUNE_MASTER_KEY"):
        read_artifact(run)
    with pytest.raises(InputError, match=r"sealed.*RECPRUNE_MASTER_KEY"):
        Users.load(run / "users.rp")


@pytest.mark.usefixtures("no_key")
def test_a_key_may_be_handed_over(run: Path) -> None:
    seal(run, run, MASTER)
    assert read_artifact(folder_reader(run, master=MASTER)).layout.axes
    users = folder_reader(run / "users.rp", "users folder", "users.json", MASTER)
    assert len(Users.load(users)) == 2
    with pytest.raises(ArtifactError, match="under the master key"):
        folder_reader(run, master=OTHER)


@pytest.mark.usefixtures("key")
def test_errors_are_those_of_plain_folders(run: Path) -> None:
    expected = {}
    for sealed in (False, True):
        found = []
        for path in (run / "users.rp", run / "absent"):
            with pytest.raises(ArtifactError) as error:
                read_artifact(path)
            found.append(str(error.value))
        with pytest.raises(ArtifactError) as error:
            Users.load(run / "full")
        found.append(str(error.value))
        expected[sealed] = found
        if not sealed:
            seal(run, run, MASTER)
    assert expected[False] == expected[True]
    assert "is no recprune artefact: it has no config.json" in expected[True][0]


def test_a_plain_folder_in_a_sealed_ones_place_can_be_refused(run: Path) -> None:
    with pytest.raises(ArtifactError, match="is not sealed"):
        folder_reader(run, sealed_only=True)
    seal(run, run, MASTER)
    assert folder_reader(run, master=MASTER, sealed_only=True)("config.json")


def test_a_tampered_artefact_is_never_read(run: Path) -> None:
    seal(run, run, MASTER)
    file = max(run.glob("*.sealed"), key=lambda f: f.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    reader = folder_reader(run, master=MASTER)
    with pytest.raises(ArtifactError, match="not what was sealed here"):
        [reader(name) for name in Sealed(run, MASTER).files]


def test_rotation_touches_one_file_and_locks_the_old_key_out(run: Path) -> None:
    seal(run, run, MASTER)
    before = stored(run)
    assert rewrap(run, MASTER, OTHER)
    after = stored(run)
    assert {n for n in before if before[n] != after[n]} == {"sealed.json"}
    with pytest.raises(ArtifactError, match="under the master key"):
        Sealed(run, MASTER)
    assert not rewrap(run, MASTER, OTHER), "a second time, there is nothing to do"
    with pytest.raises(ArtifactError, match="under the master key"):
        rewrap(run, b"x" * 32, MASTER)
    # An older sealed.json still goes with the data files: for the old key alone.
    (run / "sealed.json").write_bytes(before["sealed.json"])
    with pytest.raises(ArtifactError):
        Sealed(run, OTHER)


def test_sealing_anew_locks_out_who_kept_the_old_manifest(run: Path) -> None:
    seal(run, run, MASTER)
    old = Sealed(run, MASTER)
    files, kept = {n: old.read(n) for n in old.files}, (run / "sealed.json").read_bytes()
    reseal(run, MASTER, OTHER)
    new = Sealed(run, OTHER)
    assert {n: new.read(n) for n in new.files} == files
    (run / "sealed.json").write_bytes(kept)
    with pytest.raises(ArtifactError, match="not what was sealed here"):
        Sealed(run, MASTER).verify()


def test_a_sealed_folder_is_changed_in_memory_alone(run: Path) -> None:
    seal(run, run, MASTER)
    before = stored(run)
    with pytest.raises(ZeroDivisionError), changed(run, MASTER) as plain:  # noqa: PT012
        (plain / "config.json").unlink()
        raise ZeroDivisionError
    assert stored(run) == before
    with changed(run, MASTER) as plain:
        assert plain.parts[:3] == ("/", "dev", "shm")
        assert plain.parent.stat().st_mode & 0o077 == 0
        assert len(Users.load(plain / "users.rp")) == 2
        Users(("u1",), {}).save(plain / "users.rp")
        assert [p.name for p in run.parent.iterdir()] == ["run"]
    assert not plain.parent.exists()
    users = folder_reader(run / "users.rp", "users folder", "users.json", MASTER)
    assert Users.load(users).ids == ("u1",)
    assert not {*before.values()} & {*stored(run).values()}


def test_plain_files_never_replace_sealed_ones_by_mistake(run: Path) -> None:
    seal(run, run, MASTER)
    before = stored(run)
    for place in (run, run / "users.rp"):
        with pytest.raises(InputError, match="would put plain files into the sealed folder"):
            Users(("u1",), {}).save(place)
    assert stored(run) == before
    assert [p.name for p in run.parent.iterdir()] == ["run"]


def test_plain_files_that_a_killed_sealing_left_go_with_the_next(run: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (run.parent / f".run.{ended.pid}.old").mkdir()
    seal(run, run, MASTER)
    (run.parent / f".run.{ended.pid}.old").mkdir()
    with pytest.raises(InputError, match="is sealed already"):
        seal(run, run, MASTER)
    assert [p.name for p in run.parent.iterdir()] == ["run"]
    Sealed(run, MASTER).verify()


KILLED = """
import os, pathlib, signal, sys
from recprune import envelope
from recprune.envelope import manifest, sealing
moment, folder, old, new = sys.argv[1], sys.argv[2], sys.argv[3].encode(), sys.argv[4].encode()
write = manifest.Manifest.write
def dies(self, file):
    if moment == "after":
        write(self, file)
    else:
        file.write_text("{")
    os.kill(os.getpid(), signal.SIGKILL)
manifest.Manifest.write = dies
if old == new:
    envelope.seal(folder, folder, new)
envelope.rewrap(folder, old, new)
"""


@pytest.mark.parametrize("moment", ["within", "after"])
def test_a_killed_rotation_or_sealing_leaves_the_folder_as_it_was(run: Path, moment: str) -> None:
    plain = read_artifact(run).state
    for sealed in (False, True):
        words = [moment, str(run), MASTER.decode(), (OTHER if sealed else MASTER).decode()]
        if sealed:
            seal(run, run, MASTER)
        died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
        assert died.returncode == -signal.SIGKILL
        reader = folder_reader(run, master=MASTER) if sealed else run
        assert read_artifact(reader).state.keys() == plain.keys()
    assert rewrap(run, MASTER, OTHER)
    Sealed(run, OTHER).verify()
    unseal(run, run, OTHER)
    assert sorted(os.listdir(run.parent)) == ["run"]
    assert not list(run.glob(".*"))


#: Opens a folder in memory, says where, and waits to be killed.
HOLDER = """
import time
from recprune.envelope import in_memory
with in_memory() as place:
    (place / "plain").write_text("a user's id")
    print(place, flush=True)
    time.sleep(100)
"""


def test_plain_text_of_a_killed_process_is_removed_by_the_next_one() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        place = Path(holder.stdout.readline().strip())
        with in_memory() as mine:
            assert (mine.stat().st_mode & 0o777) == 0o700
            assert (place / "plain").exists(), "somebody holds it"
        assert not mine.exists()
        holder.kill()
        holder.wait()
        assert (place / "plain").exists()
        with in_memory():
            assert not place.exists()
