"""``recprune seal``, ``unseal`` and ``reseal``, and the verbs that read what they wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recprune.artifact import write_artifact
from recprune.envelope import Sealed
from tests.cli.inside import inside
from tests.runtime.factory import KINDS, random_shop

KEYS = {"first": "1" * 64, "second": "2" * 64}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = random_shop(KINDS[2], 0, n_items=30)
    (tmp_path / "model").mkdir()
    write_artifact(tmp_path / "model", made.artifact, "1")
    made.users.save(tmp_path / "users.rp")
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key + "\n")
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY_COMMAND", f"cat '{tmp_path / 'first'}'")
    return tmp_path


def best(shop: Path) -> str:
    run = inside("recommend", shop / "model", "--users", shop / "users.rp", "--user", 2, "--json")
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_sealed_folders_answer_as_plain_ones(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, about = best(shop), inside("inspect", shop / "model", "--json").stdout
    for folder in ("model", "users.rp"):
        run = inside("seal", shop / folder, "--json")
        assert run.returncode == 0, run.stderr
        told = json.loads(run.stdout)
        assert told["files"] == len(Sealed(shop / folder).files)
    assert best(shop) == plain
    assert inside("inspect", shop / "model", "--json").stdout == about
    monkeypatch.delenv("RECPRUNE_MASTER_KEY_COMMAND")
    run = inside("inspect", shop / "model")
    assert run.returncode == 2
    assert "is sealed. There is no master key. Set the environment variable" in run.stderr
    out, key = shop / "out", ("--master-key-file", shop / "first")
    assert inside("unseal", shop / "model", "-o", out, *key).returncode == 0
    assert inside("inspect", out, "--json").stdout == about


def test_keys_are_changed_folder_by_folder(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = best(shop)
    for folder in ("model", "users.rp"):
        assert inside("seal", shop / folder).returncode == 0
    keys = ("--old-master-key-file", shop / "first", "--master-key-file", shop / "second")
    files = (shop / "users.rp" / "0.sealed").read_bytes()
    first = json.loads(inside("reseal", shop / "model", *keys, "--json").stdout)
    assert first["changed"] == [str(shop / "model")]
    both = json.loads(inside("reseal", shop / "model", shop / "users.rp", *keys, "--json").stdout)
    assert both["changed"] == [str(shop / "users.rp")]
    assert both["under_this_key_already"] == first["changed"]
    assert (shop / "users.rp" / "0.sealed").read_bytes() == files
    assert "under the master key" in inside("inspect", shop / "model").stderr
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", KEYS["second"])
    assert best(shop) == plain
    run = inside("reseal", shop / "users.rp", *keys, "--new-data-key")
    assert run.returncode == 0, run.stderr
    assert (shop / "users.rp" / "0.sealed").read_bytes() != files
    assert best(shop) == plain


def test_what_is_not_sealed_is_not_unsealed(shop: Path) -> None:
    run = inside("unseal", shop / "model", "-o", shop / "out")
    assert (run.returncode, "is not sealed" in run.stderr) == (2, True)
    assert not (shop / "out").exists()
