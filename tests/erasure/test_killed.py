"""Killed at any moment and called again: the same bytes, and nothing else beside them."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from recprune.data import ingest
from recprune.data.columns import ColumnStore
from recprune.envelope import seal
from recprune.envelope.memory import HELD, MEMORY
from recprune.erasure import forget, traces
from recprune.runtime import load
from tests.erasure.conftest import GONE
from tests.erasure.keys import KEY, MASTER
from tests.erasure.killed import erasure


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def left_in_plain() -> list[Path]:
    """Opened data in memory that no process holds any more; other tests may hold some."""
    left = []
    for opened in MEMORY.glob(f"{HELD}*/data.rp"):
        try:
            handle = os.open(opened.parent, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            left.append(opened)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)
    return left


def kill_and_call_again(shop: Path, place: Path, part: int, parts: int) -> None:
    """Kill at a share of all steps, from the first to the last."""
    (shop / ".model.checkpoint").mkdir()
    (shop / ".model.checkpoint" / "training.safetensors").write_bytes(b"rows by their codes")
    (place / "empty").mkdir(parents=True)
    forget(GONE, [place / "empty"], key=KEY)  # the list is as it will be each time
    whole = place / "whole"
    shutil.copytree(shop, whole)
    steps = erasure(GONE, whole).steps
    wanted = content(whole)
    for step in range(1 + part, steps + 1, parts):
        folder = place / "killed"
        shutil.copytree(shop, folder)
        assert erasure(GONE, folder, step).killed, step
        for each, read in (("data.rp", ColumnStore), ("model", load)):
            if (folder / each).exists():
                read(folder / each)
        done = forget(GONE, [folder], key=KEY, master=MASTER)
        assert done.left == (), step
        assert content(folder) == wanted, step
        assert not traces([folder], [GONE])
        shutil.rmtree(folder)


def test_killed_at_some_moments(shop: Path, tmp_path: Path) -> None:
    kill_and_call_again(shop, tmp_path / "there", part=17, parts=40)


def test_a_folder_that_held_nobody_else_is_removed_whole(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while its files go, it is not a damaged folder in the way of the next call."""
    only = shop / "only.rp"
    pl.DataFrame({"user_id": [GONE], "x": [1]}).write_csv(shop / "t.csv")
    ingest(shop / "t.csv", only, user="user_id")
    (shop / "t.csv").unlink()

    removed = shutil.rmtree

    def pulled_out(folder: Path, ignore_errors: bool = False) -> None:
        if ignore_errors:  # of what was not finished
            return removed(folder, ignore_errors)
        next(iter(sorted(folder.glob("*.bin")))).unlink()
        raise LookupError("pulled out")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", pulled_out)
        with pytest.raises(LookupError):
            forget(GONE, [only], key=KEY)
    assert forget(GONE, [shop], key=KEY).left == ()
    assert sorted(f.name for f in shop.iterdir()) == ["data.rp", "model"]


def test_the_list_is_that_of_the_environment_it_is_called_in(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state in ("one", "other"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state))
        assert erasure(GONE, shop).steps
        assert list((tmp_path / state).rglob("users.txt"))


@pytest.mark.slow
def test_killed_at_every_moment(shop: Path, tmp_path: Path) -> None:
    kill_and_call_again(shop, tmp_path / "there", part=0, parts=1)


@pytest.mark.slow
def test_sealed_folders_killed_at_every_third_moment(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed has another key each time: what it says is compared."""
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", MASTER.decode())
    for part in ("data.rp", "model"):
        seal(shop / part, shop / part, MASTER)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    (tmp_path / "empty").mkdir()
    forget(GONE, [tmp_path / "empty"], key=KEY)
    shutil.copytree(shop, whole)
    assert erasure(GONE, whole).steps > 100
    wanted = ColumnStore(whole / "data.rp").frame()
    # What others left in memory is swept, too: how many steps there are differs from time to time.
    for step in itertools.count(1, 3):
        shutil.copytree(shop, folder)
        killed = erasure(GONE, folder, step).killed
        assert forget(GONE, [folder], key=KEY).left == ()
        assert ColumnStore(folder / "data.rp").frame().equals(wanted)
        assert sorted(f.name for f in folder.iterdir()) == ["data.rp", "model"]
        assert not left_in_plain()
        shutil.rmtree(folder)
        if not killed:
            break
    assert step > 100


def test_several_at_once_bring_nobody_back(shop: Path) -> None:
    users = [f"customer-{i:02d}" for i in range(3, 7)]
    many = [erasure(user, shop) for user in users]
    assert all(each.steps for each in many)
    assert not traces([shop], users)
    assert ColumnStore(shop / "data.rp").series("user_id").n_unique() == 26
