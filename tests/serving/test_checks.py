"""What a service says before it answers, and what its workers say and write down of models."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recprune.crypto import Pseudonymiser
from recprune.errors import InputError
from recprune.security import KeyStore, verify
from recprune.serving import Callers, KeyFiles, ServeSettings
from recprune.serving.checks import check
from recprune.serving.loading import load_sources
from recprune.users import Users

from .inprocess import inprocess, settings_of
from .living import AUDIT_KEY, PEPPER, SECRETS, Place, living, make_place


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A shop on disk, of one test's own, and the secrets of its service."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    return make_place(tmp_path)


def checked(settings: ServeSettings) -> None:
    check(settings, load_sources(settings.sources))


def test_another_pepper_is_told_at_once(fresh: Place) -> None:
    fresh.token()
    checked(settings_of(fresh))
    KeyStore(fresh.state / "others.json", b"q" * 32).create("a", ["score"])
    (fresh.state / "others.json").rename(fresh.state / "keys.json")
    with pytest.raises(InputError, match="another pepper"):
        checked(settings_of(fresh))
    checked(settings_of(fresh, callers=Callers(insecure=True)))


def test_a_service_that_lets_nobody_in_says_so(
    fresh: Place, caplog: pytest.LogCaptureFixture
) -> None:
    ended = KeyStore(fresh.state / "keys.json", PEPPER.encode())
    ended.revoke(ended.create("a", ["score"])[0].id)
    checked(settings_of(fresh))
    assert "no valid API key" in caplog.text
    caplog.clear()
    fresh.token()
    checked(settings_of(fresh))
    assert caplog.text == ""


def test_ids_that_could_not_be_found_are_told_at_once(
    fresh: Place, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.token()
    hashing = Callers(keys=KeyFiles(pseudonymised=True))
    with pytest.raises(InputError, match="plain ids"):
        checked(settings_of(fresh, callers=hashing))
    key, users = Pseudonymiser(b"n" * 32), fresh.shop.users
    replace(users, ids=tuple(map(key.pseudonym, users.ids))).save(fresh.users)
    checked(settings_of(fresh, callers=hashing))
    assert caplog.text == ""
    checked(settings_of(fresh))
    assert "add --pseudonymised-users" in caplog.text


def test_a_column_that_stored_users_lack_is_named(
    fresh: Place, caplog: pytest.LogCaptureFixture
) -> None:
    users = fresh.shop.users
    fresh.token()
    names = [f.name for f in fresh.shop.artifact.encoder.schema.fields if f.source == "user"]
    gone = next(n for n in names if n in users.columns and n != "user_id")
    rest = {n: v for n, v in users.columns.items() if n != gone}
    Users(users.ids, rest, users.cross, users.seen).save(fresh.users)
    checked(settings_of(fresh))
    assert f"lack '{gone}'" in caplog.text


def test_which_model_answers_is_on_record_and_one_that_cannot_is_told(fresh: Place) -> None:
    with living(fresh) as service, service.client(fresh.token("score")) as client:
        model = client.get("/v1/model").json()["model"]
        config = fresh.model / "config.json"
        (fresh.root / "other").write_text(config.read_text().replace("DeepFM", "DeepFX"))
        (fresh.root / "other").rename(config)
        until = time.monotonic() + 20
        while "is not served" not in "".join(service.said) and time.monotonic() < until:
            time.sleep(0.1)
        assert "The new model is not served" in "".join(service.said)
        assert client.get("/v1/model").json()["model"] == model
    log = fresh.state / "audit.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["model"] for line in lines if line["kind"] == "model.load"] == [model]
    assert verify(log, AUDIT_KEY.encode()).sound


def test_a_model_is_put_in_place_though_the_log_is_full(fresh: Place) -> None:
    head = fresh.state / "audit.jsonl.head"
    head.mkdir()
    with inprocess(fresh) as worker:
        model = worker.get("/v1/model").json()["model"]
        head.rmdir()
    lines = (fresh.state / "audit.jsonl").read_text().splitlines()
    uses = [use for line in lines for use in json.loads(line).get("uses", [])]
    assert ["service", "model.load", model, 1] in uses
