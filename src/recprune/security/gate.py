"""The gate in front of the service: who may come in, how often, with how much, for how long.

Plain ASGI, so that it sees every request before the service does, and every answer after. Refused
is, in this order: an address by the lists, what is too long to look at, an address that asks too
often or failed to authenticate too often, who has no valid credentials, a caller who asks too
often, a route without a rule, a caller without the scope, an event that cannot be written down, a
body that is too long or too slow. Open routes know the lists and the bounds alone. WebSockets are
refused.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from recprune._support import logger
from recprune.security.access import Doorkeeper
from recprune.security.answers import dressed, refusal
from recprune.security.asgi import App, Message, Receive, Scope, Send, with_first
from recprune.security.audit import Audit
from recprune.security.bodies import ClientGone, check_length, drain, read_body
from recprune.security.callers import Caller, Denied
from recprune.security.deadlines import TimeIsUp, within
from recprune.security.networks import Client, Networks, is_loopback
from recprune.security.policy import Policy
from recprune.security.rates import Rates

__all__ = ["Gate"]


#: How the log calls a route that there is not.
NO_ROUTE = "none"
MOST_HEADERS = 100
#: Methods that change nothing (RFC 9110, section 9.2.1): counted, and no event.
SAFE = ("GET", "HEAD")


class _Seen(NamedTuple):
    """What of a request's headers concerns the gate."""

    credentials: list[tuple[bytes, bytes]]
    forwarded: list[bytes]
    host: bytes
    lengths: list[bytes]
    proto: bytes
    chunked: bool
    size: int


class Gate:
    """An ASGI application that lets through to another what its policy allows.

    The service finds the caller in ``scope["state"]["caller"]``. It gets each request with its
    whole body, and only for routes that have a rule.

    Args:
        app: the service.
        policy: what is let in.
        access: tells who asks.
        rates: counts.
        audit: writes down who used what; None = nothing is written down.

    Raises:
        ParameterError: the policy names a network that is none.
    """

    def __init__(
        self,
        app: App,
        policy: Policy,
        access: Doorkeeper,
        rates: Rates,
        audit: Audit | None = None,
    ) -> None:
        self._app, self._policy, self._access = app, policy, access
        self._rates, self._audit = rates, audit
        self._networks = Networks(policy.networks)
        self._recorded = frozenset(policy.recorded)
        self._rules: dict[tuple[str, str], tuple[str | None, str]] = {}
        for rule, scope in policy.rules.items():
            method, _, path = rule.partition(" ")
            self._rules[method, path] = scope, rule
        for (method, path), known in list(self._rules.items()):
            if method == "GET":
                self._rules.setdefault(("HEAD", path), known)
        self._flush: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Future[bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the service answer it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, self._last(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise ValueError("The gate knows requests over HTTP only.")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = _seen(scope["headers"])
        peer = scope.get("client")
        client = self._networks.client(peer[0] if peer else None, seen.forwarded)
        secure = scope.get("scheme") == "https"
        if seen.proto and not secure:
            secure = seen.proto == b"https" and self._networks.client(peer and peer[0]).trusted
        who, status = client.network, 0
        needed, route = self._rules.get((scope["method"], _path(scope)), ("", NO_ROUTE))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": dressed(message.get("headers", ()), secure)}
            await send(message)

        complete = False
        try:
            try:
                self._looked_at(scope, seen, client)
                if needed is not None:
                    caller = await self._admitted(seen, client)
                    scope.setdefault("state", {})["caller"] = caller
                    who = self._audit.name(caller) if self._audit else ""
                    await self._allowed(scope, caller, needed, route, who)
                check_length(seen.lengths, seen.chunked, self._policy.bounds)
                body = await read_body(receive, self._policy.bounds)
                complete = True
                whole = {"type": "http.request", "body": body, "more_body": False}
                await self._answered(scope, with_first(whole, receive), answer)
                outcome = str(status or "no answer")
            except (Denied, ClientGone):
                raise
            except Exception as error:
                raise _failure(error) from error
        except Denied as denied:
            outcome = denied.code
            if not status:
                await _tell(denied, complete, seen, receive, answer)
        except ClientGone:
            outcome = "gone"
        if needed is not None:
            self._count(who, route, outcome)

    def _looked_at(self, scope: Scope, seen: _Seen, client: Client) -> None:
        bounds = self._policy.bounds
        if not client.allowed:
            raise Denied(403, "address_denied", "Requests from this address are not let in.")
        if self._policy.local and not _is_local(seen.host):
            raise Denied(403, "host_denied", "This service is asked as localhost alone.")
        if seen.size > bounds.header_bytes or len(scope["headers"]) > MOST_HEADERS:
            raise Denied(431, "headers_too_large", "The headers of the request are too long.")
        target = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
        if target > bounds.target_bytes:
            raise Denied(414, "target_too_long", "The address of the request is too long.")

    async def _admitted(self, seen: _Seen, client: Client) -> Caller:
        """Return the caller, who has credentials and has not asked too often."""
        await self._counted(self._rates.failing, client.bucket)
        try:
            caller = self._access.caller(seen.credentials)
        except Denied as denied:
            if denied.status == 401:
                # Who brings no credentials guesses none: a browser at the log-in form.
                guess = denied.code != "no_credentials"
                count = self._rates.failed if guess else self._rates.nameless
                await self._counted(count, client.bucket)
            raise
        await self._counted(self._rates.request, client.bucket, caller)
        return caller

    async def _counted(self, count: Callable[..., int], *what: object) -> None:
        """Count, and refuse whom the count tells to wait."""
        rates = self._rates
        wait = count(*what) if rates.quick else await asyncio.to_thread(count, *what)
        if wait:
            retry = ((b"retry-after", str(wait).encode()),)
            raise Denied(429, "rate_limited", f"Too many requests. Wait {wait} s.", retry)

    async def _allowed(
        self, scope: Scope, caller: Caller, needed: str, route: str, who: str
    ) -> None:
        """See to it that the route exists, the caller may, and that it is on record."""
        if route is NO_ROUTE:
            path = _path(scope)
            others = sorted({m for m, p in self._rules if p == path})
            if others:
                allow = (b"allow", ", ".join(others).encode())
                raise Denied(405, "method_not_allowed", "This route has other methods.", (allow,))
            raise Denied(404, "not_found", "There is nothing here.")
        if needed != "any" and not caller.may(needed):
            told = f'Bearer realm="recprune", error="insufficient_scope", scope="{needed}"'
            headers = ((b"www-authenticate", told.encode()),)
            raise Denied(403, "scope_missing", f"This needs the scope {needed!r}.", headers)
        changes = needed in self._recorded and scope["method"] not in SAFE
        if self._audit is not None and changes:
            await asyncio.to_thread(self._audit.event, "request", who=who, route=route)

    async def _answered(self, scope: Scope, receive: Receive, answer: Send) -> None:
        try:
            seconds = self._policy.bounds.answer_seconds
            await within(seconds, self._app(scope, receive, answer))
        except TimeIsUp as error:
            raise Denied(503, "timeout", "The answer took too long.", RETRY) from error

    def _count(self, who: str, route: str, outcome: str) -> None:
        if self._audit is None:
            return
        self._audit.count(who, route, outcome)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(self._audit.interval, self._written)

    def _written(self) -> None:
        """Write down what was counted, in a thread: the disk may take its time."""
        self._flush = None
        if self._audit is not None and (self._flushing is None or self._flushing.done()):
            loop = asyncio.get_running_loop()
            self._flushing = loop.run_in_executor(None, self._audit.flush)
            self._flushing.add_done_callback(self._tried_again)

    def _tried_again(self, done: asyncio.Future[bool]) -> None:
        """Come back for what could not be written, or was counted meanwhile."""
        if not done.cancelled() and self._flush is None and self._audit and self._audit.waiting:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(self._audit.interval, self._written)

    def _last(self, send: Send) -> Send:
        """Return what passes on how the service starts and ends, with all written down at its end.

        Before the end is told, since the server may be gone as soon as it is.
        """

        async def told(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown.") and self._audit is not None:
                if self._flush is not None:
                    self._flush.cancel()
                await asyncio.to_thread(self._audit.flush)
            await send(message)

        return told


RETRY = ((b"retry-after", b"1"),)


def _seen(headers: Any) -> _Seen:
    credentials: list[tuple[bytes, bytes]] = []
    forwarded: list[bytes] = []
    lengths: list[bytes] = []
    host, proto, chunked, size = b"", b"", False, 0
    for header in headers:
        name, value = header
        size += len(name) + len(value)
        if name == b"authorization" or name == b"x-api-key":
            credentials.append((name, value))
        elif name == b"x-forwarded-for":
            forwarded.append(value)
        elif name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"x-forwarded-proto":
            proto = value.rpartition(b",")[2].strip().lower()
        elif name == b"host":
            host = value
    return _Seen(credentials, forwarded, host, lengths, proto, chunked, size)


def _is_local(host: bytes) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host.decode('latin-1')}").hostname or "")
    except ValueError:
        return False


def _path(scope: Scope) -> str:
    """Return the path that the service routes by."""
    path: str = scope["path"]
    root = scope.get("root_path")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _failure(error: Exception) -> Denied:
    """Log where something failed, not what: an error's words may hold what a user sent."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    name = type(error).__name__
    logger.error("%s in %s, line %d.", name, place.filename, place.lineno or 0)
    return Denied(500, "internal", "The service failed; the error was logged.")


async def _tell(
    denied: Denied, complete: bool, seen: _Seen, receive: Receive, answer: Send
) -> None:
    """Answer with a refusal; with one that comes before the body's end, the connection ends."""
    closing = not complete and (seen.chunked or any(n != b"0" for n in seen.lengths))
    headers, body = refusal(denied, closing)
    await answer({"type": "http.response.start", "status": denied.status, "headers": headers})
    await answer({"type": "http.response.body", "body": body, "more_body": closing})
    if closing:
        await drain(receive)
        await answer({"type": "http.response.body", "body": b"", "more_body": False})
