"""``recprune forget`` as a person types it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from recprune.data.erased import Erased, erased_list
from recprune.erasure import traces
from tests.cli.inside import inside
from tests.erasure.conftest import GONE, PEOPLE
from tests.erasure.keys import KEY


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.delenv("RECPRUNE_PSEUDONYM_KEY", raising=False)
    monkeypatch.setenv("RECPRUNE_ERASURE_KEY", "a key for those who left, and no other")
    secrets = {"erasure": "a key for those who left, and no other", "new": "n" * 40}
    secrets["old"] = "a key that nobody would guess, ever"
    for name, secret in secrets.items():
        (tmp_path / f"{name}.key").write_text(secret + "\n")
    return {name: tmp_path / f"{name}.key" for name in secrets}


def test_the_id_comes_from_standard_input(
    shop: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{GONE}\n"))
    checked = inside("forget", "-", shop, "--check", "--json")
    assert checked.returncode == 3
    assert {t["sure"] for t in json.loads(checked.stdout)["traces"]} == {True}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{GONE}\n"))
    done = inside("forget", "-", shop)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for words in ("What was removed", "vocabulary entries", "What remains", "recprune train TABLE"):
        assert words in said
    assert GONE not in done.stdout, "what is printed may be kept"
    assert inside("forget", GONE, shop, "--check").returncode == 0


def test_an_unknown_user_is_no_error(shop: Path, keys: dict[str, Path]) -> None:
    done = inside("forget", "customer-99", shop)
    assert (done.returncode, "The user was found nowhere" in done.stdout) == (0, True)
    assert Erased.by_default().hashes == {KEY.hash("customer-99")}
    assert "list of erased users already" in inside("forget", "customer-99", shop).stdout


def test_former_keys_another_list_and_json(
    hidden: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECPRUNE_ERASURE_KEY")
    words = ["forget", GONE, hidden, "--list", tmp_path / "list", "--json"]
    refused = inside(*words)
    assert (refused.returncode, "RECPRUNE_ERASURE_KEY" in refused.stderr) == (2, True)
    words += ["--erasure-key-file", keys["erasure"], "--pseudonym-key-file", keys["new"]]
    refused = inside(*words)
    assert (refused.returncode, PEOPLE.fingerprint in refused.stderr) == (2, True)
    assert inside("forget", GONE, tmp_path / "nothing", "--check").returncode == 2
    done = inside(*words, "--pseudonym-key-file", keys["old"])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["listed"], said["left"], said["list"]) == (3, [], str(tmp_path / "list"))
    assert GONE not in done.stdout
    assert PEOPLE.pseudonym(GONE) not in done.stdout
    assert not traces([hidden], [GONE, PEOPLE.pseudonym(GONE)])
    assert not erased_list().exists()


def test_a_check_among_pseudonyms_needs_their_key_too(hidden: Path, keys: dict[str, Path]) -> None:
    """It would find nothing, and say so."""
    refused = inside("forget", GONE, hidden, "--check")
    assert (refused.returncode, "--pseudonym-key-file" in refused.stderr) == (2, True)
    words = ["forget", GONE, hidden, "--check", "--pseudonym-key-file", keys["old"]]
    assert inside(*words).returncode == 3
    users = hidden / "model" / "users.rp" / "users.safetensors"
    users.write_bytes(users.read_bytes() + b"\0")
    assert inside(*words).returncode == 3, "what is damaged is scanned as it lies there"


def test_the_program_s_readings_leave_them_out(
    shop: Path, made: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    assert inside("forget", GONE, shop).returncode == 0
    roles = ["--label", "y", "--user", "user_id", "--item", "product", "--time", "day"]
    done = inside("ingest", made / "log.csv", *roles, "-o", tmp_path / "again.rp")
    assert done.returncode == 0, done.stderr
    settings = ["--set", "epochs=1", "--set", "dim=2", "--set", "hidden=[4]"]
    done = inside("train", made / "log.csv", *roles, *settings, "-o", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert not traces([tmp_path / "again.rp", tmp_path / "model"], [GONE])
    assert traces([made / "log.csv"], [GONE]), "it is still in the log"


def test_the_audit_log_of_a_service_tells_of_it_without_the_id(
    shop: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "audit.key").write_text("a key that chains what was written down")
    service = tmp_path / "service"
    words = ["forget", GONE, shop, "--audit-key-file", tmp_path / "audit.key"]
    assert inside(*words).returncode == inside(*words, "--state", service).returncode == 2
    assert traces([shop], [GONE]), "nothing was done"
    service.mkdir()
    assert inside(*words, "--state", service).returncode == 0
    told = [json.loads(line) for line in (service / "audit.jsonl").read_text().splitlines()]
    assert [t["kind"] for t in told] == ["user.forget", "user.forgotten"]
    assert {t["user"] for t in told} == {KEY.hash(GONE)}
    assert (told[1]["removed"] > 2, told[1]["left"]) == (True, 0)
    assert GONE not in (service / "audit.jsonl").read_text()
