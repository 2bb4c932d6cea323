"""Whatever comes over the wire: an answer without any of the inside, or none; and it lives on."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .living import Living
from .openapi_checks import INTERNALS
from .sockets import asking, connected, left, lives, post, replies

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def token(hardy: Living) -> str:
    return hardy.place.token("recommend", "score", "admin")


@pytest.fixture(autouse=True)
def it_lives_on(hardy: Living, token: str) -> Iterator[None]:
    """After each of these tests the same workers answer, and none has told of a fault."""
    workers, before = hardy.workers, lives(hardy, token)
    yield
    assert lives(hardy, token) == before
    assert hardy.workers == workers
    said = "\n".join(hardy.said)
    assert "Traceback" not in said, said
    assert "The service failed" not in said, said


def sound(answer: bytes) -> list[int]:
    """Return the statuses of the answers that came; none is a fault, and none tells of the inside."""
    statuses = [int(s) for s in STATUS.findall(answer)]
    assert answer.startswith(b"HTTP/1.1 ") or not answer, answer[:200]
    assert all(s < 500 for s in statuses), answer[:2000]
    head = answer.decode("latin-1")
    if all(s >= 400 for s in statuses):
        assert not [word for word in INTERNALS if word in head], head
    assert not re.search(r"^server:", head, re.IGNORECASE | re.MULTILINE)
    return statuses


GARBAGE = [
    b"\r\n\r\n", b"\0" * 100, b"GET", b"GET /\r\n", b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /health/live HTTP/1.1\nHost: a\n\n", b"get /health/live HTTP/1.1\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET /health/live\0 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", b"GET //evil/health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET ? HTTP/1.1\r\n\r\n", b"GET /%zz HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"FROBNICATE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused(hardy: Living, sent: bytes) -> None:
    sound(replies(hardy, sent))


@given(st.binary(max_size=300))
@settings(max_examples=40)
def test_any_bytes_are_refused(hardy: Living, sent: bytes) -> None:
    assert 200 not in sound(replies(hardy, sent, half=True))


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "PATCH"]),
    target=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n "), max_size=60),
    headers=st.lists(st.binary(max_size=60), max_size=4),
    body=st.binary(max_size=60),
)
@settings(max_examples=60)
def test_any_request_is_answered_or_refused(
    hardy: Living, token: str, method: str, target: str, headers: list[bytes], body: bytes
) -> None:
    first = f"{method} /{target} HTTP/1.1".encode("latin-1")
    lines = [first, b"Host: a", f"X-API-Key: {token}".encode(), b"Connection: close", *headers]
    sound(
        replies(
            hardy, b"\r\n".join([*lines, b"", body]), half=b"Connection" not in b"".join(headers)
        )
    )


PATHS = [
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/../metrics", "/v1/%2e%2e/metrics", "//metrics", "/./metrics",
    "/metrics/", "/metrics%00", "/metrics;x", "/METRICS", "/v1/model/..%2f..%2fetc%2fpasswd", "/..\\..\\x", "/%c0%ae%c0%ae/",
    "/metrics%2f", "/%6detrics/x", "/health/live/../../metrics", "http://evil.example/../metrics/", "/\u00e9", "/static/../app.py",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_odd_paths_lead_nowhere(hardy: Living, token: str, path: str) -> None:
    request = asking(path, token).decode().encode("latin-1")
    assert sound(replies(hardy, request)) in ([404], [400]), path
    # Without a key they do not even tell that there is nothing.
    bare = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1")
    assert sound(replies(hardy, bare)) in ([401], [400]), path


def test_an_encoded_path_is_the_path_and_is_guarded_as_such(hardy: Living, token: str) -> None:
    for path in ("/%6detrics", "http://elsewhere.example/metrics", "/metrics?x=/health/live"):
        assert sound(replies(hardy, asking(path, token))) == [200]
        bare = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        assert sound(replies(hardy, bare)) == [401]


def test_old_protocols(hardy: Living, token: str) -> None:
    one_0 = asking("/v1/model", token).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = replies(hardy, one_0)
    assert sound(answer) == [200]
    assert b"\r\nconnection: close\r\n" in answer


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: 4", "Content-Length: 4"],
        ["Content-Length: 4, 5"],
        ["Content-Length: +4"],
        ["Content-Length:\t4\0"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: cow"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X: y\nTransfer-Encoding: chunked"],
    ],
)
def test_nothing_is_smuggled(hardy: Living, token: str, headers: list[str]) -> None:
    lines = ["POST /v1/recommend HTTP/1.1", "Host: a", f"X-API-Key: {token}", *headers]
    head = "\r\n".join(["", *lines[1:], "", ""]).encode("latin-1")
    request = b"POST /v1/recommend HTTP/1.1" + head + b"0\r\n\r\n" + SMUGGLED
    statuses = sound(replies(hardy, request))
    assert 200 not in statuses
    assert statuses[:1] in ([400], []), statuses
    # The connection is over: what follows is never taken for a request of its own.
    assert len(statuses) <= 1, statuses


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab", b"5;" + b"x" * 70_000, b"2\r\n{}xx0\r\n\r\n",
     b"0\r\nTrailer: x\r\n\r\n", b"0\r\n" + b"T: x\r\n" * 20_000],
)  # fmt: skip
def test_broken_chunks(hardy: Living, token: str, chunks: bytes) -> None:
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nX-API-Key: {token}\r\n"
    head += (
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert 200 not in sound(replies(hardy, head.encode() + chunks))


def test_headers_that_follow_a_body_are_not_kept(hardy: Living, token: str) -> None:
    """Nobody reads them, and nothing bounds how many there are."""
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nX-API-Key: {token}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n"
    body = b'{"user":"2"}\r\n0\r\n'
    before = time.monotonic()
    with connected(hardy) as wire:
        wire.sendall(head.encode() + body)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            wire.sendall(b"T: x\r\n" * 10_000_000)
    assert time.monotonic() - before < 30
    few = b"T: x\r\nHost: b\r\nX-API-Key: y\r\n\r\n"
    assert sound(replies(hardy, head.encode() + body + few)) == [200]


def test_requests_in_a_row_are_answered_in_their_order(hardy: Living, token: str) -> None:
    asked = b"".join(post("/v1/recommend", token, b'{"user":"2","k":%d}' % k) for k in range(1, 31))
    answer = replies(hardy, asked + asking("/health/live", token))
    assert sound(answer) == [200] * 31
    counts = [part.count(b'"item":') for part in answer.split(b"HTTP/1.1 200")[1:]]
    assert counts == [*range(1, 31), 0]


def test_a_flood_of_requests_in_a_row_is_cut_off(hardy: Living, token: str) -> None:
    """A client that asks without waiting would fill the memory with what it has asked."""
    one = asking("/health/live", token, close=False)
    with connected(hardy) as wire:
        wire.settimeout(10)
        try:
            for _ in range(200):
                wire.sendall(one * 500)
        except (ConnectionResetError, BrokenPipeError):
            pass
        else:
            raise AssertionError("all of it was taken")
        assert len(sound(left(wire))) < 2000


def test_long_lines(hardy: Living, token: str) -> None:
    assert sound(replies(hardy, asking("/health/live", token, "X: " + "x" * 15_000))) == [200]
    assert sound(replies(hardy, asking("/health/live", token, "X: " + "x" * 20_000))) == [431]
    assert sound(replies(hardy, asking("/health/live", token, *["X: y"] * 200))) == [431]
    assert sound(replies(hardy, asking("/" + "x" * 5_000, token))) == [414]
    for much in ("X: " + "x" * 1_000_000, "x" * 1_000_000 + ": y"):
        assert sound(replies(hardy, asking("/health/live", token, much))) in ([], [431])
    assert sound(replies(hardy, asking("/" + "x" * 1_000_000, token))) in ([], [414])


def test_a_large_body_comes_in_one_piece(hardy: Living, token: str) -> None:
    """Headers and body in one packet are no headers that are too long."""
    body = b'{"user":"2","k":3' + b" " * 190_000 + b"}"
    request = post("/v1/recommend", token, body, "Connection: close")
    assert sound(replies(hardy, request)) == [200]


def test_too_large_a_body_is_refused_before_it_is_sent(hardy: Living, token: str) -> None:
    with connected(hardy) as wire:
        wire.sendall(post("/v1/recommend", token, b"{", length=10_000_000))
        assert sound(left(wire)) == [413]
    with connected(hardy) as wire:
        wire.sendall(post("/v1/recommend", token, b"", "Expect: 100-continue", length=10_000_000))
        answer = left(wire)
        assert b"100 Continue" not in answer
        assert sound(answer) == [413]


def test_a_client_that_hangs_up_at_once_harms_nobody(hardy: Living, token: str) -> None:
    request = post("/v1/recommend", token, b'{"user":"2"}')
    for cut in (1, 30, len(request) - 3, len(request)):
        for _ in range(5):
            with connected(hardy) as wire:
                wire.sendall(request[:cut])
                # Reset instead of a polite end.
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert sound(replies(hardy, request)) == [200]
