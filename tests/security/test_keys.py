"""API keys: what opens, what does not, and what can be made of the file without the pepper."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import InputError, ParameterError
from recprune.security import Access, ApiKey, Denied, KeyStore

from .asking import PEPPER


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json", PEPPER)


def refused(keys: KeyStore, token: str, now: float | None = None) -> str:
    with pytest.raises(Denied) as caught:
        keys.verify(token, now)
    assert caught.value.status == 401
    return caught.value.code


def test_a_token_is_the_caller_of_its_key(keys: KeyStore) -> None:
    key, token = keys.create("shop", ["score", "recommend", "score"])
    caller = keys.verify(token)
    assert (caller.id, caller.kind, caller.scopes) == (key.id, "key", {"score", "recommend"})
    assert not caller.may("admin")


def test_two_keys_of_one_name_are_two(keys: KeyStore) -> None:
    (one, a), (two, b) = keys.create("shop", ["score"]), keys.create("shop", ["score"])
    assert a != b
    assert [k.id for k in keys.list()] == [one.id, two.id]


def test_the_file_is_nobody_elses_and_holds_no_secret(keys: KeyStore, tmp_path: Path) -> None:
    _, token = keys.create("shop", ["score"])
    file = tmp_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token.split("_", 2)[2] not in file.read_text()
    os.umask(os.umask(0))  # as it is
    keys.create("other", ["score"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_ends_when_it_has_to(keys: KeyStore) -> None:
    key, token = keys.create("shop", ["score"], expires=4e9)
    assert keys.verify(token, 4e9 - 1).id == key.id
    assert refused(keys, token, 4e9) == "expired"


def test_a_revoked_key_is_out_at_once_wherever_it_is_read(keys: KeyStore, tmp_path: Path) -> None:
    key, token = keys.create("shop", ["score"])
    elsewhere = KeyStore(tmp_path / "keys.json", PEPPER)
    assert elsewhere.verify(token).id == key.id
    first = keys.revoke(key.id)
    assert refused(elsewhere, token) == refused(keys, token) == "revoked"
    assert keys.revoke(key.id) == first, "ending it again changes nothing"


def test_rotation_has_both_for_a_while(keys: KeyStore) -> None:
    old, before = keys.create("shop", ["score", "recommend"])
    new, after = keys.rotate(old.id, overlap=3600)
    assert (new.name, new.scopes) == (old.name, old.scopes)
    assert {keys.verify(before).id, keys.verify(after).id} == {old.id, new.id}
    ends = keys.list()[0].expires
    assert ends is not None
    assert refused(keys, before, ends) == "expired"
    assert keys.verify(after, ends + 1e6).id == new.id


def test_rotation_never_prolongs_the_old_key(keys: KeyStore) -> None:
    import time

    ends = time.time() + 60
    old, _ = keys.create("shop", ["score"], ends)
    new, _ = keys.rotate(old.id, overlap=86400)
    assert keys.list()[0].expires == int(ends)
    assert new.expires is not None
    assert abs(new.expires - ends) <= 2, "as long again, from now"


def test_what_is_over_has_no_successor(keys: KeyStore) -> None:
    key, _ = keys.create("shop", ["score"])
    keys.revoke(key.id)
    with pytest.raises(InputError, match="revoked"):
        keys.rotate(key.id)


@pytest.mark.parametrize("change", ["", " ", "x", "\n", "A"])
def test_a_token_that_is_nearly_right_is_wrong(keys: KeyStore, change: str) -> None:
    _, token = keys.create("shop", ["score"])
    last = "B" if token[-1] != "B" else "C"
    for wrong in (token + change, change + token, token[:-1], token[:-1] + last, token.upper()):
        if wrong != token:
            assert refused(keys, wrong) == "invalid_credentials"


@given(token=st.one_of(st.text(max_size=80), st.from_regex(r"rk_.{0,60}", fullmatch=True)))
def test_no_other_text_is_a_token(token: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    keys = KeyStore(tmp_path_factory.mktemp("keys") / "keys.json", PEPPER)
    with pytest.raises(Denied, match="not valid"):
        keys.verify(token)


@pytest.mark.parametrize("id", ["../keys", "0" * 11, "０" * 12, "g" * 12, "__proto__", "a" * 12])
def test_an_odd_id_is_no_way_in(keys: KeyStore, id: str) -> None:
    _, token = keys.create("shop", ["score"])
    assert refused(keys, f"rk_{id}_{token.split('_', 2)[2]}") == "invalid_credentials"


def test_one_keys_secret_does_not_open_another(keys: KeyStore) -> None:
    (one, a), (_, b) = keys.create("a", ["score"]), keys.create("b", ["admin"])
    assert refused(keys, f"rk_{one.id}_{b.split('_', 2)[2]}") == "invalid_credentials"
    assert keys.verify(a).id == one.id


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("scopes", ["score", "admin"]),
        ("expires", None),
        ("revoked", None),
        ("id", "0" * 12),
        ("hash", "00" * 32),
    ],
)
def test_what_is_written_without_the_pepper_opens_nothing(
    keys: KeyStore, tmp_path: Path, member: str, value: Any
) -> None:
    key, token = keys.create("shop", ["score"], 4e9)
    if member == "revoked":
        keys.revoke(key.id)
    file = tmp_path / "keys.json"
    about = json.loads(file.read_bytes())
    assert about["keys"][0][member] != value
    about["keys"][0][member] = value
    file.write_text(json.dumps(about))
    assert refused(keys, token, 1e9) == "invalid_credentials"
    with pytest.raises(InputError, match="another pepper"):
        keys.list()
    with pytest.raises(InputError, match="another pepper"):
        keys.create("more", ["score"])


def test_another_pepper_opens_nothing_and_says_so(keys: KeyStore, tmp_path: Path) -> None:
    _, token = keys.create("shop", ["score"])
    other = KeyStore(tmp_path / "keys.json", bytes(32))
    assert refused(other, token) == "invalid_credentials"
    with pytest.raises(InputError, match="another pepper"):
        other.list()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "x"}', b"[" * 100_000, b"\xff"])
def test_a_file_that_is_none_refuses_everyone(
    keys: KeyStore, tmp_path: Path, content: bytes
) -> None:
    _, token = keys.create("shop", ["score"])
    (tmp_path / "keys.json").write_bytes(content)
    for _ in range(2):
        with pytest.raises(Denied) as caught:
            keys.verify(token)
        assert caught.value.status == 503
    with pytest.raises(InputError, match="no sound list"):
        keys.create("more", ["score"])
    assert (tmp_path / "keys.json").read_bytes() == content, "it is left for a person to look at"


def test_no_file_is_no_key(keys: KeyStore, tmp_path: Path) -> None:
    _, token = keys.create("shop", ["score"])
    (tmp_path / "keys.json").unlink()
    assert refused(keys, token) == "invalid_credentials"


@pytest.mark.parametrize("scopes", [[], ["any"], ["scores"], ["score", "*"], ["score admin"]])
def test_a_scope_that_there_is_not_is_an_error(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(InputError, match="scope"):
        keys.create("shop", scopes)


@pytest.mark.parametrize("name", ["", "x" * 81, "a\nb", "\x1b[2J"])
def test_a_name_that_would_spoil_a_list_is_an_error(keys: KeyStore, name: str) -> None:
    with pytest.raises(ParameterError, match="name"):
        keys.create(name, ["score"])


class Full:
    """A record that cannot be written."""

    def event(self, kind: str, **about: Any) -> None:
        raise InputError("full")


def test_what_cannot_be_recorded_does_not_happen(keys: KeyStore, tmp_path: Path) -> None:
    key, token = keys.create("shop", ["score"])
    silent = KeyStore(tmp_path / "keys.json", PEPPER, Full())
    for change in (
        lambda: silent.create("more", ["admin"]),
        lambda: silent.revoke(key.id),
        lambda: silent.rotate(key.id),
    ):
        with pytest.raises(InputError, match="full"):
            change()
    assert [k.id for k in keys.list()] == [key.id]
    assert keys.verify(token).id == key.id


def _create(file: Path, start: Any, count: int) -> None:
    start.wait()
    for _ in range(count):
        KeyStore(file, PEPPER).create("shop", ["score"])


def test_writers_at_once_lose_no_key(tmp_path: Path) -> None:
    ways = multiprocessing.get_context("spawn")
    start = ways.Barrier(3)
    file = tmp_path / "keys.json"
    writers = [ways.Process(target=_create, args=(file, start, 8)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(KeyStore(file, PEPPER).list()) == 24


BEARER = b"authorization"


def test_headers_carry_one_credential_once(keys: KeyStore) -> None:
    key, token = keys.create("shop", ["score"])
    other = keys.create("admin", ["admin"])[1].encode()
    access, t = Access(keys), token.encode()
    for headers in (
        [(BEARER, b"Bearer " + t)],
        [(BEARER, b"bearer  " + t + b" ")],
        [(b"x-api-key", t), (b"cookie", other)],
    ):
        assert access.caller(headers).id == key.id
    for headers, code in (
        ([], "no_credentials"),
        ([(BEARER, b"Basic " + t)], "no_credentials"),
        ([(BEARER, t)], "no_credentials"),
        ([(BEARER, b"")], "no_credentials"),
        ([(BEARER, b"Bearer")], "invalid_credentials"),
        ([(BEARER, b"Bearer " + t + b", Bearer " + other)], "invalid_credentials"),
        ([(BEARER, "Bearer rk_äöü".encode())], "invalid_credentials"),
        ([(BEARER, b"Bearer " + t + b"\xa0")], "invalid_credentials"),
        ([(b"x-api-key", b"Bearer " + t)], "invalid_credentials"),
        ([(BEARER, b"Bearer " + t), (BEARER, b"Bearer " + other)], "ambiguous_credentials"),
        ([(BEARER, b"Bearer " + t), (BEARER, b"Bearer " + t)], "ambiguous_credentials"),
        ([(BEARER, b"Bearer " + t), (b"x-api-key", other)], "ambiguous_credentials"),
    ):
        with pytest.raises(Denied) as caught:
            access.caller(headers)
        assert (caught.value.status, caught.value.code) == (401, code), headers
        assert token not in str(caught.value)


def test_a_service_without_any_way_in_is_an_error() -> None:
    with pytest.raises(ParameterError, match="keys"):
        Access(None)


def test_a_key_knows_how_it_stands() -> None:
    key = ApiKey("a", "n", ("score",), 0, expires=10)
    assert (key.state(9), key.state(10)) == ("valid", "expired")
    assert ApiKey("a", "n", ("score",), 0, 10, revoked=5).state(20) == "revoked"
