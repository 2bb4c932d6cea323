"""Bytes over a bare socket, for what no client library would send."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from .living import Living

__all__ = ["asking", "connected", "left", "lives", "post", "replies"]


@contextlib.contextmanager
def connected(service: Living, seconds: float = 10) -> Iterator[socket.socket]:
    """Connect."""
    place = urlsplit(service.url)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as wire:
        yield wire


def left(wire: socket.socket) -> bytes:
    """Return all that comes until the other side closes; raise where it does not in time."""
    parts = []
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while part := wire.recv(65536):
            parts.append(part)
    return b"".join(parts)


def replies(service: Living, sent: bytes, seconds: float = 10, half: bool = False) -> bytes:
    """Send bytes and return all that comes back until the other side closes.

    Args:
        service: which.
        sent: what.
        seconds: to wait for more.
        half: whether to say that no more is to come, which ends what was not answered yet.
    """
    with connected(service, seconds) as wire:
        with contextlib.suppress(OSError):
            wire.sendall(sent)
            if half:
                wire.shutdown(socket.SHUT_WR)
        return left(wire)


def asking(path: str, token: str, *more: str, close: bool = True) -> bytes:
    """Return a GET request."""
    lines = [f"GET {path} HTTP/1.1", "Host: service", f"X-API-Key: {token}", *more]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, token: str, body: bytes, *more: str, length: int | None = None) -> bytes:
    """Return a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: service", f"X-API-Key: {token}"]
    lines += ["Content-Type: application/json", f"Content-Length: {length or len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def lives(service: Living, token: str) -> dict[str, Any]:
    """Ask a good question and return the answer, which has to come soon."""
    before = time.monotonic()
    with service.client(token) as client:
        answer = client.post("/v1/recommend", json={"user": "2", "k": 3})
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - before < 30
    told: dict[str, Any] = json.loads(answer.text)
    assert len(told["items"]) == 3
    return told
