"""Clients who take their time, or all there is: they are cut off, and others are answered."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from .conftest import CONNECTIONS, IMPATIENT
from .living import Living
from .sockets import asking, connected, left, lives, post
from .test_wire import it_lives_on, sound, token

__all__ = ["it_lives_on", "token"]

#: Seconds that a test may take longer than what it waits for.
MARGIN = 15.0


def cut_off(wire: socket.socket, seconds: float) -> bytes:
    """Wait for the end of a connection; it has to come about when it should."""
    before = time.monotonic()
    answer = left(wire)
    assert time.monotonic() - before < seconds + MARGIN
    return answer


def dripped(wire: socket.socket, content: bytes, pause: float) -> None:
    """Send a byte at a time until the other side has enough."""
    with contextlib.suppress(OSError):
        for at in range(len(content)):
            wire.sendall(content[at : at + 1])
            time.sleep(pause)


def one(wire: socket.socket) -> bytes:
    """Return one answer of liveness."""
    answer = b""
    while not answer.endswith(b"}"):
        answer += wire.recv(65536)
    return answer


def memory(pid: int) -> int:
    """Return the bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_headers_that_drip(hardy: Living, token: str) -> None:
    with connected(hardy) as wire:
        before = time.monotonic()
        dripped(wire, b"GET /health/live HTTP/1.1\r\n" + b"X: " + b"y" * 1000, 0.1)
        assert cut_off(wire, 0) == b""
        assert IMPATIENT - 0.2 < time.monotonic() - before < IMPATIENT + MARGIN


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /"])
def test_a_connection_that_says_nothing(hardy: Living, sent: bytes) -> None:
    with connected(hardy) as wire:
        wire.sendall(sent)
        assert cut_off(wire, IMPATIENT) == b""


def test_empty_lines_do_not_keep_a_connection_open(hardy: Living, token: str) -> None:
    with connected(hardy) as wire:
        wire.sendall(asking("/health/live", token, close=False))
        assert one(wire).startswith(b"HTTP/1.1 200")
        before = time.monotonic()
        dripped(wire, b"\r\n" * 100, 0.1)
        assert cut_off(wire, 0) == b""
        assert time.monotonic() - before < IMPATIENT + MARGIN


def test_a_kept_connection_is_used_again_and_ends_when_idle(hardy: Living, token: str) -> None:
    with connected(hardy) as wire:
        for _ in range(3):
            wire.sendall(asking("/health/live", token, close=False))
            assert one(wire).startswith(b"HTTP/1.1 200")
            time.sleep(IMPATIENT / 3)
        assert cut_off(wire, IMPATIENT) == b""


def test_a_body_that_drips(hardy: Living, token: str) -> None:
    with connected(hardy) as wire:
        before = time.monotonic()
        wire.sendall(post("/v1/recommend", token, b"", length=1000))
        dripping = threading.Thread(target=dripped, args=(wire, b" " * 1000, 0.1))
        dripping.start()
        answer = cut_off(wire, IMPATIENT + 1)
        assert sound(answer) == [408]
        assert time.monotonic() - before > IMPATIENT - 0.2
        dripping.join()


def test_a_body_that_never_ends_takes_no_memory(hardy: Living, token: str) -> None:
    lives(hardy, token)
    before = {pid: memory(pid) for pid in hardy.workers}
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: a\r\nX-API-Key: {token}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = []
    for _ in range(4):
        with connected(hardy) as wire:
            wire.sendall(head.encode())
            with contextlib.suppress(OSError):
                for _ in range(400):
                    wire.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            with contextlib.suppress(OSError):
                answers += sound(left(wire))
    # Who goes on sending may lose the answer to the end of the connection.
    assert set(answers) <= {413}
    for pid, bytes_ in before.items():
        assert memory(pid) - bytes_ < 8_000_000


def test_who_takes_no_answer_is_cut_off(hardy: Living, token: str) -> None:
    """Requests that ask for much, one after the other, and nothing of the answers is read."""
    body = json.dumps({"users": ["2"] * 32, "k": 40}).encode()
    request = post("/v1/recommend", token, body)
    with connected(hardy) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(0.5)
        before, cut = time.monotonic(), False
        while time.monotonic() - before < 30 and not cut:
            try:
                wire.sendall(request)
            except TimeoutError:
                continue
            except OSError:
                cut = True
    assert cut, "its connection is open for ever"


def test_too_many_connections_are_told_so_and_others_come_again(hardy: Living, token: str) -> None:
    answer = b""
    with contextlib.ExitStack() as held:
        # Either worker may take each; one has too many sooner or later.
        for _ in range(8 * CONNECTIONS):
            with contextlib.suppress(OSError):
                held.enter_context(connected(hardy)).sendall(b"GET /")
            with connected(hardy) as wire:
                with contextlib.suppress(OSError):
                    wire.sendall(asking("/health/live", token))
                answer = left(wire)
            # Or nothing at all, where even those who are told are too many.
            assert answer[:12] in (b"HTTP/1.1 503", b"HTTP/1.1 200", b"")
            if answer.startswith(b"HTTP/1.1 503"):
                break
    assert b'"too_many_connections"' in answer
    assert b"retry-after: 1" in answer
    assert b"nosniff" in answer
    time.sleep(IMPATIENT + 0.5)
    for _ in range(10):
        lives(hardy, token)
