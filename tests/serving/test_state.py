"""The service's own folder: who may write there, and what it says where nobody can."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from recprune.errors import InputError
from recprune.security import Denied, KeyStore
from recprune.serving import hidden
from recprune.serving.worker import make_app

from .inprocess import inprocess, settings_of
from .living import PEPPER, SECRETS, Place, make_place


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    """A shop on disk, of one test's own."""
    return make_place(tmp_path)


def test_nothing_in_the_folder_is_for_others(fresh: Place) -> None:
    before = os.umask(0)
    try:
        fresh.state.rmdir()
        with inprocess(fresh) as worker:
            assert worker.post("/v1/admin/hide", json={"items": ["7"]}).json() == {"hidden": 1}
    finally:
        os.umask(before)
    found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in fresh.state.iterdir()}
    assert {"keys.json", "hidden.json", "audit.jsonl", "limits"} <= set(found)
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}
    assert stat.S_IMODE(fresh.state.stat().st_mode) == 0o700


def test_a_folder_that_everyone_may_write_to_is_refused(
    fresh: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    fresh.state.chmod(0o777)
    with pytest.raises(InputError, match=r"everyone may write to it.*chmod 700"):
        make_app(settings_of(fresh))
    with pytest.raises(InputError, match="everyone may write"):
        KeyStore(fresh.state / "keys.json", PEPPER.encode()).create("a", ["score"])
    assert list(fresh.state.iterdir()) == []


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(InputError, match="belongs to another user"):
        KeyStore(tmp_path / "keys.json", PEPPER.encode()).create("a", ["score"])


def test_a_change_that_cannot_be_written_is_told_without_places(fresh: Place) -> None:
    with inprocess(fresh) as worker:
        (fresh.state / "hidden.json.lock").mkdir()
        answer = worker.post("/v1/admin/hide", json={"items": ["7"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "hidden_unchanged")
    assert str(fresh.root) not in answer.text


def test_more_than_can_be_hidden_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hidden, "MOST", 3)
    items = hidden.HiddenItems(tmp_path / "hidden.json")
    assert items.hide("abc") == 3
    with pytest.raises(Denied, match="At most 3"):
        items.hide("d")
    assert items.ids() == frozenset("abc")
    assert json.loads((tmp_path / "hidden.json").read_bytes())["items"] == ["a", "b", "c"]
