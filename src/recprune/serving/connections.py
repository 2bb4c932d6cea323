"""Connections that end when nothing comes of them: before a request, within one, and after it.

uvicorn waits for ever for the end of headers, and for a client who does not read. A few hundred
clients who send a byte a minute, or take none, would have all connections to themselves.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recprune.security import Denied
from recprune.security.answers import dressed, refusal

__all__ = ["Patient", "make_loop"]


#: Bytes of headers, beyond which a connection ends whatever it meant to say.
MOST_HEADERS = 65_536
#: Requests that one client may have sent without waiting for an answer.
MOST_IN_A_ROW = 64
#: As many times the connections that are answered are held at all, to be told that there are too
#: many; beyond, they are closed unheard.
HELD = 2
#: Seconds in which an idle connection of a worker that ends may bring one more request.
GRACE = 1.0
#: Seconds for a TLS handshake.
HANDSHAKE = 10.0


class Patient(HttpToolsProtocol):
    """A connection of HTTP/1.1.

    It ends where a request's headers take too long or are too long, where a client takes nothing
    of what it is sent, and where more requests are sent in a row than anybody waits for.

    Args:
        arguments: as uvicorn gives them.
        patience: seconds for the headers of a request, and for a client to take what it is sent.
        most: connections that are answered; more are told 503.
        options: as uvicorn gives them.
    """

    def __init__(self, *arguments: Any, patience: float, most: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience, self._most = patience, most
        self._served = self.app
        #: Since when headers are waited for; None = they are not.
        self._since: float | None = None
        self._look: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._unfinished = 0
        self._last = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        if len(self.connections) > HELD * self._most:
            transport.abort()
            return
        self._wait()
        # One timer a connection, which looks again later: one a request would cost more than it.
        self._look = self.loop.call_later(self._patience, self._looked)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or several."""
        before = self._since
        super().data_received(data)
        if self.transport.is_closing():
            self._watch_end()
        elif self._since is None:
            if self._idle():  # an empty line has come, which is no request
                self._wait()
        elif self._since is before:
            self._unfinished += len(data)
            if self._unfinished > MOST_HEADERS:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request: the first, or the next of the same connection."""
        if len(self.pipeline) >= MOST_IN_A_ROW:
            self.transport.abort()
            raise ValueError("too many requests in a row")  # ends the reading of what came
        self._wait()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that come after a body mean nothing here, and are counted alone."""
        if self._since is not None:
            super().on_header(name, value)
            return
        self._unfinished += len(name) + len(value)
        if self._unfinished > MOST_HEADERS:
            self.transport.abort()
            raise ValueError("too many headers after the body")

    def on_headers_complete(self) -> None:
        """Go on to the body, which has a time of its own."""
        self._since, self._unfinished = None, 0
        many = len(self.connections) > self._most
        self.app = _too_many if many else self._served
        super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_end()

    def timeout_keep_alive_handler(self) -> None:
        """End, since no further request has come."""
        super().timeout_keep_alive_handler()
        self._watch_end()

    def pause_writing(self) -> None:
        """Wait for the client to take what it was sent."""
        super().pause_writing()
        self._watch_end()

    def resume_writing(self) -> None:
        """Go on: the client has taken it."""
        super().resume_writing()
        if self._stuck is not None and not self.transport.is_closing():
            self._stuck.cancel()
            self._stuck = None

    def shutdown(self) -> None:
        """End after the request that is being answered, or that is on its way now."""
        self._last = True
        if self._idle():
            self.loop.call_later(GRACE, self._leave)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        for timer in (self._look, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _leave(self) -> None:
        if self._idle():
            self.transport.close()
            self._watch_end()

    def _wait(self) -> None:
        if self._since is None:
            self._since, self._unfinished = self.loop.time(), 0

    def _looked(self) -> None:
        left = self._patience
        if self._since is not None:
            left += self._since - self.loop.time()
        if left <= 0:
            self.transport.close()
            self._watch_end()
        else:
            self._look = self.loop.call_later(left, self._looked)

    def _watch_end(self) -> None:
        """See to it that a connection ends although its client does not take what it was sent."""
        if self._stuck is None:
            self._stuck = self.loop.call_later(self._patience, self.transport.abort)


async def _too_many(scope: Any, receive: Any, send: Any) -> None:
    """Answer that there are too many connections."""
    retry = ((b"retry-after", b"1"),)
    denied = Denied(503, "too_many_connections", "There are too many connections.", retry)
    headers, body = refusal(denied, closing=True)
    headers = dressed(headers, scope["scheme"] == "https")
    await send({"type": "http.response.start", "status": denied.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def make_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that gives a TLS handshake ten seconds; their own default is a minute."""
    try:
        from uvloop import Loop
    except ImportError:  # it is not there on every system
        Loop = asyncio.SelectorEventLoop  # type: ignore[assignment,misc]

    class Brisk(Loop):
        async def create_server(self, *arguments: Any, **options: Any) -> Any:
            if options.get("ssl") is not None:
                options.setdefault("ssl_handshake_timeout", HANDSHAKE)
            return await super().create_server(*arguments, **options)

    loop: asyncio.AbstractEventLoop = Brisk()
    return loop
