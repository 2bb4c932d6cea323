"""What is wrong with the settings is told in one line, before there are workers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from recprune.serving.server import ONE_THREAD
from recprune.users import Users
from tests.cli.inside import inside
from tests.runtime.factory import plain_schema, random_artifact, random_encoder, random_shop

from .living import SECRETS, SMALL, Place, living, make_place
from .test_workers import within


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    for name in ONE_THREAD:  # serving sets them for the process that it is
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    place = make_place(tmp_path)
    place.token()
    return place


def refused(place: Place, *options: object, users: bool = True) -> str:
    """Try to serve; return what is told."""
    stored = ["--users", place.users] if users else []
    state = [] if "--state" in options else ["--state", place.state]
    port = [] if "--port" in options else ["--port", 0]
    run = inside("serve", place.model, *stored, *state, *port, *options)
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    told = run.stderr.strip()
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1, told
    return told


def test_a_port_that_is_taken(made: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(made, "--port", port)
    assert f"port {port} cannot be listened on: Address already in use" in told


@pytest.mark.parametrize(
    "host", ["192.0.2.77", "no.such.host.invalid", "300.1.1.1", "::g", "a..b", "x" * 70]
)
def test_an_address_that_is_not_here(made: Place, host: str) -> None:
    assert "cannot be listened on" in refused(made, "--host", host)


@pytest.mark.parametrize("name", ["pepper", "audit"])
@pytest.mark.parametrize("value", [None, "short"])
def test_a_key_that_is_lacking_or_short(
    made: Place, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    variable = f"RECPRUNE_{name.upper()}_KEY"
    monkeypatch.delenv(variable)
    if value:
        monkeypatch.setenv(variable, value)
    told = refused(made)
    assert name in told
    assert value is None or value not in told.replace("too short", "")


def test_another_pepper(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPRUNE_PEPPER_KEY", "q" * 32)
    assert "pepper" in refused(made)


def test_a_key_file_that_is_not_there(made: Place) -> None:
    assert "cannot be read" in refused(made, "--pepper-key-file", made.root / "nowhere")
    assert "cannot be read" in refused(made, "--audit-key-file", made.root / "nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_without_keys_only_this_machine_is_served(made: Place, host: str) -> None:
    assert "--insecure serves without keys" in refused(made, "--insecure", "--host", host)


def test_folders_that_are_lacking_or_something_else(made: Place) -> None:
    assert "users" in refused(made, "--users", made.root / "nowhere", users=False)
    assert refused(made, "--users", made.model, users=False)
    assert refused(made, "--first-stage", made.model)
    shutil.move(made.users, made.root / "aside")
    assert "users" in refused(made)
    shutil.rmtree(made.model)
    assert "model" in refused(made, users=False)
    shutil.move(made.root / "aside", made.model)
    assert refused(made, users=False)


def test_a_state_folder_that_is_a_file(made: Place) -> None:
    (made.root / "file").write_text("")
    assert "file" in refused(made, "--state", made.root / "file")


def test_a_damaged_file_of_keys(made: Place) -> None:
    (made.state / "keys.json").write_text("{")
    assert "keys" in refused(made)


def test_users_who_do_not_fit_the_model(made: Place) -> None:
    users = made.shop.users
    Users(users.ids, users.columns, {}, users.seen).save(made.users)
    assert "times_category" in refused(made) or "history" in refused(made)


def test_a_first_stage_for_rows(made: Place) -> None:
    artifact = random_artifact(random_encoder(plain_schema(4, 2), 1), SMALL, 1)
    rows = random_shop(SMALL, 1)
    object.__setattr__(rows, "artifact", artifact)
    made.write(rows)
    assert "catalogue" in refused(made, "--first-stage", made.model, users=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--allow", "10.0.0.0/33"), "10.0.0.0/33"),
        (("--deny", "here"), "here"),
        (("--trust-proxy", "10.0.0.1/8"), "10.0.0.1/8"),
        (("--rate", "many"), "many"),
        (("--rate", "0/second"), "0/second"),
        (("--rate", "5/fortnight"), "5/fortnight"),
        (("--rate-address", "-1/minute"), "-1/minute"),
        (("--rate-store", "memory://"), "memory://"),
        (("--rate-store", "nothing://host"), "nothing://"),
        (("--rate-store", "redis://user:secret@host"), "password"),
        (("--rate-store", "redis://[host"), "redis://…"),
        (("--workers", "0"), "workers"),
        (("--workers", "-2"), "workers"),
        (("--port", "65536"), "port"),
        (("--port", "x"), "--port"),
        (("--max-k", "0"), "max_k"),
        (("--max-rows", "-1"), "max_rows"),
        (("--max-users", "0"), "max_users"),
        (("--max-body", "0"), "body_bytes"),
        (("--max-connections", "0"), "connections"),
        (("--first-stage-k", "0", "--first-stage", "."), "."),
        (("--tls-key", "key.pem"), "--tls-certificate"),
        (("--tls-certificate", "a.pem", "--tls-key", "b.pem"), "a.pem"),
        (("--jwt-issuer", "https://id.example"), "--jwt-key"),
        (("--jwt-key", "nowhere.pem", "--jwt-issuer", "i", "--jwt-audience", "a"), "nowhere.pem"),
        (("--jwt-key", "nowhere.pem"), ""),
        (("--pseudonym-key-file", "k"), "--pseudonymised-users"),
        (("--pseudonymised-users",), "pseudonym"),
        (("--sealed-only",), "sealed"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_an_option_that_cannot_be(made: Place, options: tuple[str, ...], words: str) -> None:
    told = refused(made, *options)
    assert words in told
    assert "secret@" not in told


def test_pseudonyms_without_stored_users_would_hash_nothing(made: Place) -> None:
    assert "goes with --users" in refused(made, "--pseudonymised-users", users=False)


@pytest.mark.slow
def test_control_c_is_a_good_end(made: Place) -> None:
    with living(made) as running:
        workers = running.workers
        os.killpg(running.process.pid, signal.SIGINT)
        running.process.wait(30)
        assert running.process.returncode in (0, 130)
        assert within(10, lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        said = "\n".join(running.said)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 2, said
