"""``recprune keys``: making, listing, ending keys, and checking what was written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recprune.security import Denied, KeyStore

from .inside import inside

PEPPER, AUDIT_KEY = "p" * 40, "a" * 40


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPRUNE_PEPPER_KEY", PEPPER)
    monkeypatch.setenv("RECPRUNE_AUDIT_KEY", AUDIT_KEY)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def keys(state: Path, *words: object, code: int = 0) -> dict[str, Any]:
    done = inside("keys", *words, "--state", state, "--json")
    assert done.returncode == code, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_key_from_its_making_to_its_end(state: Path) -> None:
    made = keys(state, "create", "shop", "--scope", "score", "--scope", "recommend")
    store = KeyStore(state / "keys.json", PEPPER.encode())
    assert store.verify(made["token"]).scopes == {"score", "recommend"}
    follower = keys(state, "rotate", made["id"], "--overlap", "1h")
    listed = keys(state, "list")["keys"]
    assert [k["state"] for k in listed] == ["valid", "valid"]
    assert listed[0]["expires"] is not None
    assert listed[1]["scopes"] == ["score", "recommend"]
    assert keys(state, "revoke", made["id"])["state"] == "revoked"
    with pytest.raises(Denied, match="revoked"):
        store.verify(made["token"])
    assert store.verify(follower["token"]).id == follower["id"]
    log = [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["key"]) for e in log] == [
        ("key.create", made["id"]),
        ("key.create", follower["id"]),
        ("key.revoke", made["id"]),
    ]
    assert log[1]["instead_of"] == made["id"]
    everything = "".join(f.read_text() for f in state.iterdir())
    assert made["token"].split("_", 2)[2] not in everything
    assert PEPPER not in everything


def test_for_people_the_token_stands_in_a_line_of_its_own(state: Path) -> None:
    done = inside(
        "keys", "create", "shop", "--scope", "admin", "--expires", "90d", "--state", state
    )
    token = done.stdout.splitlines()[-1]
    assert KeyStore(state / "keys.json", PEPPER.encode()).verify(token).may("admin")
    listed = inside("keys", "list", "--state", state)
    assert "shop" in listed.stdout
    assert token not in listed.stdout


def test_the_audit_log_is_checked(state: Path) -> None:
    made = keys(state, "create", "shop", "--scope", "score")
    seal = keys(state, "audit")["seal"]
    keys(state, "revoke", made["id"])
    assert keys(state, "audit", "--seal", seal)["lines"] == 2
    assert keys(state, "audit", "--seal", "1" * 64, code=3)["sound"] is False
    log = state / "audit.jsonl"
    log.write_text(log.read_text().replace("key.revoke", "key.create"))
    found = keys(state, "audit", code=3)
    assert (found["sound"], found["bad"]) == (False, 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "shop", "--scope", "scor"), "Did you mean 'score'?"),
        (("create", "shop"), "--scope"),
        (("create", "", "--scope", "score"), "1 to 80"),
        (("create", "shop", "--scope", "score", "--expires", "soon"), "'90d'"),
        (("create", "shop", "--scope", "score", "--expires", "0d"), "a time to come"),
        (("revoke", "nobody"), "no key 'nobody'"),
        (("rotate", "nobody", "--overlap", "-1d"), "overlap"),
        (("audit",), "cannot be read"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(state: Path, words: tuple[str, ...], told: str) -> None:
    state.mkdir(mode=0o700)
    done = inside("keys", *words, "--state", state)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (state / "keys.json").exists()


@pytest.mark.parametrize("words", [("list",), ("revoke", "abc"), ("rotate", "abc"), ("audit",)])
def test_a_folder_that_is_not_there_has_no_keys_and_is_not_made(
    state: Path, words: tuple[str, ...]
) -> None:
    done = inside("keys", *words, "--state", state)
    assert done.returncode == 2
    assert str(state) in done.stderr
    assert not state.exists()


def test_a_log_that_is_kept_is_written_to_or_nothing_happens(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keys(state, "create", "shop", "--scope", "score")
    monkeypatch.delenv("RECPRUNE_AUDIT_KEY")
    done = inside("keys", "revoke", made["id"], "--state", state)
    assert done.returncode == 2
    assert "no audit key" in done.stderr
    assert keys(state, "list")["keys"][0]["state"] == "valid"


def test_without_an_audit_key_there_is_no_log(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RECPRUNE_AUDIT_KEY")
    keys(state, "create", "shop", "--scope", "score")
    assert not (state / "audit.jsonl").exists()
    (tmp_path / "short").write_text("short")
    done = inside(
        "keys", "create", "x", "--scope", "score", "--state", state,
        "--audit-key-file", tmp_path / "short",
    )  # fmt: skip
    assert done.returncode == 2
    assert "at least 32 bytes" in done.stderr


def test_keys_may_come_from_files(state: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("RECPRUNE_PEPPER_KEY")
    (tmp_path / "pepper").write_text("q" * 40)
    token = keys(
        state, "create", "x", "--scope", "score", "--pepper-key-file", tmp_path / "pepper"
    )["token"]
    assert KeyStore(state / "keys.json", b"q" * 40).verify(token)
    done = inside("keys", "list", "--state", state)
    assert "no pepper key" in done.stderr
