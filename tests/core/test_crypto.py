"""Pseudonyms: the same for the same key, unlinkable without it, and the key shown nowhere."""

from __future__ import annotations

import copy
import hmac
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.crypto import (
    ErasureKey,
    Pseudonymiser,
    Pseudonyms,
    is_pseudonym,
    key_variable,
    read_key,
)
from recprune.errors import InputError
from recprune.users import Users

KEY = b"0123456789abcdef0123456789abcdef"
KEY_VARIABLE = key_variable("pseudonym")
KEYS = st.binary(min_size=32, max_size=100)


def by_the_book(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, "sha256").hexdigest()


@given(KEYS, st.text())
def test_a_pseudonym_is_128_bits_of_hmac_sha_256(key: bytes, text: str) -> None:
    text = text.encode(errors="replace").decode()
    made = Pseudonymiser(key).pseudonym(text)
    assert made == "u" + by_the_book(key, b"user\0" + text.encode())[:32]
    assert is_pseudonym(made)


@given(KEYS, st.text())
def test_who_was_erased_is_hashed_apart_from_pseudonyms(key: bytes, text: str) -> None:
    text = text.encode(errors="replace").decode()
    made = ErasureKey(key).hash(text)
    assert made == "e" + by_the_book(key, b"erased\0" + text.encode())[:32]
    assert made[1:] != Pseudonymiser(key).pseudonym(text)[1:], "also if one key is used for both"
    assert not is_pseudonym(made)


def test_other_ids_and_other_keys_give_other_pseudonyms() -> None:
    one, other = Pseudonymiser(KEY), Pseudonymiser(KEY[::-1])
    made = {people.pseudonym(str(i)) for people in (one, other) for i in range(5000)}
    assert len(made) == 10_000
    assert one.fingerprint != other.fingerprint == Pseudonymiser(KEY[::-1]).fingerprint


def test_the_key_is_shown_nowhere() -> None:
    people = Pseudonymiser(KEY)
    for shown in (repr(people), str(vars(people)), people.fingerprint, people.pseudonym("a")):
        assert KEY.decode() not in shown
        assert KEY.hex() not in shown
    for leak in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied or stored"):
            leak(people)


def test_file_and_environment_give_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ending in (b"", b"\n", b"\r\n"):
        (tmp_path / "key").write_bytes(KEY + ending)
        assert Pseudonymiser.read(tmp_path / "key").fingerprint == Pseudonymiser(KEY).fingerprint
    monkeypatch.setenv(KEY_VARIABLE, KEY.decode())
    assert Pseudonymiser.read().fingerprint == Pseudonymiser(KEY).fingerprint
    (tmp_path / "key").write_bytes(b"another key of sufficient length!")
    assert Pseudonymiser.read(tmp_path / "key").fingerprint != Pseudonymiser(KEY).fingerprint


@pytest.mark.parametrize("key", ["", "short-secret", "31 bytes are one too few for it"])
def test_short_keys_are_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "key").write_text(key + "\n")
    monkeypatch.setenv(KEY_VARIABLE, key)
    for make in (lambda: Pseudonymiser.read(tmp_path / "key"), Pseudonymiser.read):
        with pytest.raises(InputError, match="openssl rand -hex 32") as caught:
            make()
        assert not key or key not in str(caught.value)


def test_no_key_names_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(InputError, match=rf"{KEY_VARIABLE} \(or .*, or name a file"):
        Pseudonymiser.read()
    with pytest.raises(InputError, match=r"'.*nowhere' cannot be read"):
        Pseudonymiser.read(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "u", "12", "u" + "0" * 31, "u" + "G" * 32, "v" + "0" * 32])
def test_other_texts_are_no_pseudonyms(text: str) -> None:
    assert not is_pseudonym(text)


def test_a_command_prints_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY_COMMAND", f"printf '%s\n' {KEY.decode()}")
    assert read_key("master") == KEY
    monkeypatch.setenv("RECPRUNE_MASTER_KEY", KEY.decode()[::-1])
    assert read_key("master") == KEY[::-1]


@pytest.mark.parametrize("command", ["false", "no-such-program", "printf short", "'unclosed"])
def test_a_command_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY_COMMAND", command)
    with pytest.raises(InputError, match="The master key of the command"):
        read_key("master")


def test_a_command_of_blanks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECPRUNE_MASTER_KEY", raising=False)
    monkeypatch.setenv("RECPRUNE_MASTER_KEY_COMMAND", " ")
    with pytest.raises(InputError, match="There is no master key"):
        read_key("master")


def test_after_a_change_of_keys_users_are_found_under_both(tmp_path: Path) -> None:
    old, new = Pseudonymiser(KEY), Pseudonymiser(KEY[::-1])
    stored = Users((old.pseudonym("7"), new.pseudonym("8")), {})
    assert [stored.find(i, Pseudonyms(new)) for i in (7, "8", "9")] == [None, 1, None]
    both = Pseudonyms(new, old)
    assert [stored.find(i, both) for i in (7, 7.0, "7", "8", "9", None)] == [0, 0, 0, 1, None, None]
    assert stored.find(stored.ids[0], both) is None, "a pseudonym alone finds nobody"
    assert stored.find(stored.ids[0]) == 0, "without keys ids are what is stored"
    for name, key in (("old", KEY), ("new", KEY[::-1])):
        (tmp_path / name).write_bytes(key)
    read = Pseudonyms.read([tmp_path / "new", tmp_path / "old"])
    assert read.of("7") == both.of("7")


def test_half_a_character_is_an_id_that_nobody_has() -> None:
    key = Pseudonymiser(KEY)
    users = Users((key.pseudonym("ann"),), {})
    assert users.find("\ud800", Pseudonyms(key)) is None
    assert key.pseudonym("\ud800") != key.pseudonym("\ud801")
    assert ErasureKey(KEY).hash("\ud800") != ErasureKey(KEY).hash("\ud801")
