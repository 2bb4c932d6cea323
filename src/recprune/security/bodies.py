"""A request's body: all of it, within a bound and a time, before the service sees any of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from recprune.security.asgi import Receive
from recprune.security.callers import Denied
from recprune.security.deadlines import TimeIsUp, within
from recprune.security.policy import Bounds

__all__ = ["ClientGone", "check_length", "drain", "read_body"]


#: What is still taken of a body that was refused, so that its sender gets to read why.
DRAINED_BYTES, DRAINED_SECONDS = 4_000_000, 1.0


class ClientGone(Exception):
    """The client hung up before its request was complete."""


def check_length(lengths: Sequence[bytes], chunked: bool, bounds: Bounds) -> None:
    """Refuse by what the headers say of a body; one that says nothing or lies is counted anyway.

    Raises:
        Denied: 400 where they contradict each other, 413 where they say too much.
    """
    if not lengths:
        return
    if chunked or len(lengths) > 1 or not lengths[0].isdigit():
        raise Denied(400, "bad_length", "The headers contradict each other on the body's length.")
    if len(lengths[0]) > 15 or int(lengths[0]) > bounds.body_bytes:
        raise _too_large(bounds)


async def read_body(receive: Receive, bounds: Bounds) -> bytes:
    """Return the body.

    Raises:
        Denied: 413 where it is too long, counted as it comes; 408 where it takes too long.
        ClientGone: the client hung up.
    """
    try:
        return await within(bounds.body_seconds, _read(receive, bounds))
    except TimeIsUp as error:
        raise Denied(408, "too_slow", "The request took too long to arrive.") from error


async def _read(receive: Receive, bounds: Bounds) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > bounds.body_bytes:
            raise _too_large(bounds)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


async def drain(receive: Receive) -> None:
    """Take some more of a body that nobody wants: a connection closed on data loses its answer."""
    size = 0
    try:
        async with asyncio.timeout(DRAINED_SECONDS):
            while size < DRAINED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_large(bounds: Bounds) -> Denied:
    return Denied(413, "too_large", f"A request may have {bounds.body_bytes} bytes.")
