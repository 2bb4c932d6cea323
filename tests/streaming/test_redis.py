"""Redis Streams: what was trimmed, deleted or lost, who may come in, and what an entry holds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import trustme

from recprune.errors import GapError, InputError
from recprune.streaming.sources import open_source
from recprune.streaming.sources.redis import RedisStreams

from .brokers import RedisServer
from .test_sources import drained, payloads

_names = itertools.count()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as opened:
        yield opened


@pytest.fixture
def key() -> str:
    return f"key{next(_names)}"


@pytest.fixture
def new(redis_server: RedisServer, key: str) -> Callable[[], RedisStreams]:
    return lambda: RedisStreams(f"redis://127.0.0.1:{redis_server.port}/0", [key])


def fill(client: redis.Redis, key: str, n: int, start: int = 0) -> list[bytes]:
    return [client.xadd(key, {"event": payload}) for payload in payloads(n, start)]


def test_what_was_read_may_be_trimmed_and_deleted(
    client: redis.Redis, key: str, new: Callable[[], RedisStreams]
) -> None:
    ids = fill(client, key, 20)
    source = new()
    read = source.read(key, None, 12)
    client.xdel(key, ids[3], ids[11])
    client.xtrim(key, maxlen=10, approximate=False)
    for reader in (source, new()):
        assert reader.read(key, read.positions[-1], 4).payloads == payloads(4, 12)
        assert reader.waiting(key, read.positions[-1]) == 8
    client.xtrim(key, maxlen=8, approximate=False)  # all that was read, and nothing else
    last = new().read(key, read.positions[-1], 100)
    assert last.payloads == payloads(8, 12)
    client.xtrim(key, maxlen=0)
    assert len(new().read(key, last.positions[-1], 100)) == 0
    fill(client, key, 2, 20)
    assert new().read(key, last.positions[-1], 100).payloads == payloads(2, 20)


@pytest.mark.parametrize("how", ["trimmed", "deleted", "emptied", "dropped", "another"])
def test_what_was_not_read_must_be_there(
    client: redis.Redis, key: str, new: Callable[[], RedisStreams], how: str
) -> None:
    ids = fill(client, key, 20)
    source = new()
    after = source.read(key, None, 12).positions[-1]
    if how == "trimmed":
        client.xtrim(key, maxlen=7, approximate=False)
    elif how == "deleted":
        client.xdel(key, ids[15])
    elif how == "emptied":
        client.xtrim(key, maxlen=0)
    else:
        client.delete(key)
        if how == "another":
            client.xadd(key, {"event": "{}"}, id="1-1")
    for reader in (source, new()):
        with pytest.raises(GapError, match="has a gap"):
            reader.read(key, after, 3)


def test_holes_from_before_the_start_are_none(
    client: redis.Redis, key: str, new: Callable[[], RedisStreams]
) -> None:
    """Entries deleted before the first reading are not missed, and later ones are."""
    ids = fill(client, key, 30)
    client.xdel(key, *ids[5:9])
    client.xtrim(key, maxlen=24, approximate=False)
    left = [p for i, p in enumerate(payloads(30)) if i >= 2 and not 5 <= i < 9]
    after = new().read(key, None, 10).positions[-1]
    assert drained(new(), key, after, 3) == left[10:]
    client.xtrim(key, maxlen=14, approximate=False)
    assert drained(new(), key, after, 3) == left[10:]
    client.xtrim(key, maxlen=13, approximate=False)
    with pytest.raises(GapError):
        new().read(key, after, 3)


def test_an_aof_that_lost_its_end_is_a_gap(tmp_path: Path) -> None:
    """As after a crash of the machine under ``appendfsync everysec``."""
    server = RedisServer(tmp_path)
    try:
        with server.client() as client:
            fill(client, "a", 10)
        (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
        kept = log.read_bytes()
        with server.client() as client:
            fill(client, "a", 5, 10)
        address = f"redis://127.0.0.1:{server.port}/0"
        after = RedisStreams(address, ["a"]).read("a", None, 100).positions
        server.kill()
        log.write_bytes(kept)
        server.start()
        assert len(RedisStreams(address, ["a"]).read("a", after[9], 100)) == 0
        with pytest.raises(GapError, match="lost what it had not written"):
            RedisStreams(address, ["a"]).read("a", after[-1], 100)
    finally:
        server.kill()


def test_an_entry_holds_an_event_or_its_fields(
    client: redis.Redis, key: str, new: Callable[[], RedisStreams]
) -> None:
    client.xadd(key, {"event": b'{"a": 1}'})
    client.xadd(key, {"trace": "x", "event": b'{"a": 2}'})
    client.xadd(key, {"user": "ann", "clicked": 1, "odd": b"\xff"})
    client.xadd(key, {"event": b""})
    found = new().read(key, None, 10).payloads
    assert found[:2] == [b'{"a": 1}', b'{"a": 2}']
    assert json.loads(found[2]) == {"user": "ann", "clicked": "1", "odd": "\\xff"}
    assert found[3] == b""


def test_a_key_of_another_kind_is_refused(
    client: redis.Redis, key: str, new: Callable[[], RedisStreams]
) -> None:
    client.set(key, "text")
    with pytest.raises(InputError, match=f"Stream '{key}' .* cannot be read: .*wrong kind"):
        new()


def test_a_password_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RedisServer(tmp_path, "--requirepass", "open sesame")
    text = f"redis://127.0.0.1:{server.port}/0?stream=a"
    try:
        with pytest.raises(InputError, match="does not let us in"):
            open_source(text)
        monkeypatch.setenv("RECPRUNE_REDIS_PASSWORD", "wrong")
        with pytest.raises(InputError, match="does not let us in") as caught:
            open_source(text)
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
        monkeypatch.setenv("RECPRUNE_REDIS_PASSWORD", "open sesame")
        open_source(text).close()
        monkeypatch.delenv("RECPRUNE_REDIS_PASSWORD")
        file = tmp_path / "password"
        file.write_text("open sesame\n")
        monkeypatch.setenv("RECPRUNE_REDIS_PASSWORD_FILE", str(file))
        open_source(text).close()
    finally:
        server.kill()


def test_tls_is_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    server = RedisServer(tmp_path)
    try:
        with server.client() as client:
            for name, value in {
                "tls-cert-file": tmp_path / "cert.pem",
                "tls-key-file": tmp_path / "key.pem",
                "tls-ca-cert-file": tmp_path / "ca.pem",
                "tls-auth-clients": "no",
            }.items():
                client.config_set(name, str(value))
            port = server.port + 1
            try:
                client.config_set("tls-port", port)
            except redis.ResponseError as error:
                pytest.skip(f"this redis-server has no TLS: {error}")
            fill(client, "a", 3)
        text = f"rediss://127.0.0.1:{port}/0?stream=a"
        assert drained(open_source(f"{text}&ca={tmp_path / 'ca.pem'}"), "a", None, 2) == payloads(3)
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        with pytest.raises(Exception, match="certificate verify failed"):
            open_source(f"{text}&ca={other}", patience=0.2)
    finally:
        server.kill()
