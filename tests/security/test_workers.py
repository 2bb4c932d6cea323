"""The gate under a real server with two workers: limits, revocation, the wire's own tricks."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from recprune.security import KeyStore, verify

from .asking import AUDIT_KEY, PEPPER


class Told(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """Uvicorn with two workers."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.security.served:app"]
        options = ["--port", str(self.port), "--workers", "2", "--no-proxy-headers"]
        options += ["--no-server-header", "--log-level", "warning"]
        environment = {**os.environ, "STATE": str(state)}
        self.process = subprocess.Popen([*command, *options], env=environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.places = 0
        self.keys = KeyStore(state / "keys.json", PEPPER)

    def key(self, *scopes: str) -> tuple[str, dict[str, str]]:
        key, token = self.keys.create("test", scopes)
        return key.id, {"authorization": f"Bearer {token}"}

    def place(self) -> str:
        """Return an address that nobody has asked from yet, and none has failed from."""
        self.places += 1
        return f"127.1.{self.places // 250}.{self.places % 250 + 1}"

    def ask(self, method: str, path: str, headers: dict[str, str], client: str = "") -> Told:
        """Ask on a connection of its own, so that either worker may answer."""
        line = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=10, source_address=(client or self.place(), 0)
        )
        try:
            line.request(method, path, headers=headers)
            answer = line.getresponse()
            return Told(answer.status, dict(answer.headers), answer.read())
        finally:
            line.close()

    def workers(self, seconds: float = 30) -> Counter[str]:
        """Wait until both answer."""
        seen: Counter[str] = Counter()
        until = time.monotonic() + seconds
        while len(seen) < 2:
            assert time.monotonic() < until, "there are not two workers"
            try:
                answer = self.ask("GET", "/health/live", {})
            except OSError:
                time.sleep(0.05)
                continue
            seen[answer.headers["x-worker"]] += 1
        return seen

    def wire(self, sent: bytes, client: str = "", patience: float = 5) -> bytes:
        """Send bytes as they are, and return all that comes until the server hangs up."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=patience, source_address=(client or self.place(), 0)
        ) as line:
            line.sendall(sent)
            return _all(line)


def _all(line: socket.socket) -> bytes:
    got = b""
    try:
        while part := line.recv(65536):
            got += part
    except TimeoutError:
        return got + b"<still open>"
    except ConnectionError:
        return got + b"<reset>"
    return got


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("state"))
    try:
        server.workers()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def test_a_key_made_and_revoked_is_so_in_both_workers_at_once(server: Server) -> None:
    for _ in range(5):
        id, headers = server.key("score")
        assert {server.ask("GET", "/v1/model", headers).status for _ in range(6)} == {200}
        server.keys.revoke(id)
        answers = [server.ask("GET", "/v1/model", headers) for _ in range(6)]
        assert {a.status for a in answers} == {401}
        assert json.loads(answers[0].body)["error"]["code"] == "revoked"


def test_a_limit_is_one_for_both_workers(server: Server) -> None:
    _, headers = server.key("recommend")
    told = [server.ask("GET", "/limited", headers) for _ in range(80)]
    assert Counter(t.status for t in told) == {200: 60, 429: 20}
    assert len({t.headers["x-worker"] for t in told if t.status == 200}) == 2
    assert 0 < int(told[-1].headers["retry-after"]) <= 3600


def test_a_worker_that_is_killed_takes_no_limit_and_no_log_along(server: Server) -> None:
    _, headers = server.key("admin", "recommend")
    for _ in range(10):
        assert server.ask("POST", "/v1/hide", headers).status == 200
    time.sleep(0.6)  # what was counted is written down every 0.2 s here
    victim = next(iter(server.workers()))
    os.kill(int(victim), signal.SIGKILL)
    assert victim not in server.workers(), "another has taken its place"
    answers = Counter(server.ask("GET", "/limited", headers).status for _ in range(60))
    assert answers == {200: 50, 429: 10}
    assert verify(server.state / "audit.jsonl", AUDIT_KEY).sound


def test_what_is_forwarded_is_believed_of_the_proxy_alone(server: Server) -> None:
    lie = (
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: %s\r\n\r\n"
    )
    assert b" 200 " in server.wire(lie % b"203.0.113.7")
    assert b" 403 " in server.wire(lie % b"203.0.113.7", client="127.0.0.9")
    assert b" 403 " in server.wire(lie % b"192.0.2.1, 203.0.113.7", client="127.0.0.9")
    assert b" 200 " in server.wire(lie % b"203.0.113.7, 192.0.2.1", client="127.0.0.9")
    double = b"192.0.2.1\r\nX-Forwarded-For: 203.0.113.7"
    assert b" 403 " in server.wire(lie % double, client="127.0.0.9")


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/hide",
        b"//v1/hide",
        b"/v1/%68ide",
        b"/v1%2Fhide",
        b"/v1/../v1/hide",
        b"/%2e%2e/v1/hide",
        b"/v1/hide/",
        b"/v1/hide?x=/health/live",
        b"/v1/hide#/health/live",
        b"/health/live/../../v1/hide",
        b"/v1/hide%00",
        b"http://127.0.0.1/v1/hide",
    ],
)
def test_no_way_of_writing_a_path_opens_it(server: Server, target: bytes) -> None:
    _, headers = server.key("score")
    for credentials in (b"", f"Authorization: {headers['authorization']}\r\n".encode()):
        head = b"POST " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = server.wire(head + credentials + b"Content-Length: 0\r\n\r\n")
        assert answer.split(b" ", 2)[1] in (b"400", b"401", b"403", b"404", b"405"), answer


HEAD = "POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"


@pytest.fixture(scope="module")
def head(server: Server) -> bytes:
    return HEAD.format(**server.key("score")[1]).encode()


def test_a_body_as_long_as_it_may_be_arrives(server: Server, head: bytes) -> None:
    sized = head + b"Connection: close\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    assert b'"bytes": 100000' in server.wire(sized)
    chunked = head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b'"bytes": 3' in server.wire(chunked + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n10000\r\n"
        + b"x" * 65536 + b"\r\n",
    ],
)  # fmt: skip
def test_who_sends_too_much_gets_to_read_why_and_is_hung_up_on(
    server: Server, head: bytes, body: bytes
) -> None:
    started = time.monotonic()
    answer = server.wire(head + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer
    assert not answer.endswith((b"<still open>", b"<reset>"))
    assert time.monotonic() - started < 3


def test_a_body_that_trickles_is_waited_for_so_long_in_all(server: Server, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(head + b"Content-Length: 1000\r\n\r\n")
        started = time.monotonic()
        line.settimeout(0.1)
        got = b""
        while not got and time.monotonic() - started < 5:
            line.sendall(b"x")
            try:
                got = line.recv(65536)
            except TimeoutError:
                continue
        assert got.startswith(b"HTTP/1.1 408 ")
        assert 0.6 < time.monotonic() - started < 3


def test_a_body_that_never_ends_has_an_end(server: Server, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        started, sent = time.monotonic(), 0
        try:
            while time.monotonic() - started < 10:
                sent += line.send(b"4000\r\n" + b"x" * 16384 + b"\r\n")
        except ConnectionError:
            pass
        assert time.monotonic() - started < 5, "it was hung up on"
        assert sent < 60_000_000


def test_a_request_in_a_request_is_none(server: Server, head: bytes) -> None:
    """Smuggling: who hears both lengths must not find a second request in the first one's body."""
    inner = b"0\r\n\r\nPOST /v1/hide HTTP/1.1\r\nHost: x\r\n\r\n"
    for lengths in (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(inner),
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(inner),
    ):
        answer = server.wire(head + lengths + inner, patience=1.5)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_odd_headers_are_refused_and_nothing_breaks(server: Server) -> None:
    ask = b"GET /v1/model HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n"
    for odd, status in (
        (b"Authorization: Bearer rk_\xff\xfe\xfd", b"401"),
        (b"Authorization: Bearer " + "rk_ключ".encode(), b"401"),
        (b"X-Api-Key: a\r\nAuthorization: Bearer b", b"401"),
        (b"Authorization: Bearer a\r\nAuthorization: Bearer b", b"401"),
        (b"Authorization: Bearer " + b"x" * 12_000, b"401"),
        (b"X-Long: " + b"x" * 17_000, b"431"),
        (b"\r\n".join(b"X-%d: y" % i for i in range(120)), b"431"),
        (b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13", b"401"),
    ):
        answer = server.wire(ask % odd)
        assert answer.split(b" ", 2)[1] == status, odd[:40]
        assert b"Traceback" not in answer
        assert b"erver:" not in answer


def test_who_only_looks_is_not_let_in_either(server: Server) -> None:
    for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH"):
        assert server.ask(method, "/v1/hide", {}).status == 401
    _, headers = server.key("score")
    assert server.ask("HEAD", "/v1/model", headers).status == 200
    assert server.ask("OPTIONS", "/v1/model", headers).status == 405


def test_guesses_are_slowed_down_across_workers_and_the_log_stays_sound(server: Server) -> None:
    """The last test: it ends the server."""
    here = server.place()
    guess = {"authorization": "Bearer rk_nonsense"}
    statuses = Counter(server.ask("GET", "/v1/model", guess, here).status for _ in range(60))
    assert statuses == {401: 30, 429: 30}
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    found = verify(server.state / "audit.jsonl", AUDIT_KEY)
    assert found.sound
    text = (server.state / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line["kind"] == "request" for line in lines) == 10, "nor what an admin asked"
    uses = [use for line in lines if line["kind"] == "use" for use in line["uses"]]
    asked = [n for _, route, outcome, n in uses if (route, outcome) == ("GET /limited", "200")]
    assert sum(asked) == 110, "nothing that was counted is lost"
    assert any(
        who.startswith("127.1.") and outcome == "rate_limited" for who, _, outcome, _ in uses
    )
