"""The page's door, in front of the gate: it turns a cookie into an API key, and refusals into pages.

Who may come in, how often and for what is the gate's alone. What is added is what a browser needs:
``POST /login`` sends the key of the form on in a header, and where the gate lets it in, the answer
sets a cookie that holds it sealed. The cookie is ``SameSite=Strict``, and the page refuses forms
that another site has sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs

from recprune.security import Bounds, Denied
from recprune.security.answers import dressed
from recprune.security.asgi import App, Message, Receive, Send
from recprune.security.bodies import ClientGone, read_body
from recprune.serving.rendering import HEADERS, log_in_page, notice_page
from recprune.serving.sessions import LIFETIME, Sessions

__all__ = ["PAGES", "Doorway", "field_of"]

Headers = list[tuple[bytes, bytes]]

#: The page's routes: rule → scope, as in :data:`recprune.serving.app.RULES`.
PAGES: dict[str, str | None] = {
    "GET /": "any",
    "POST /login": "any",
    "POST /logout": "any",
    "POST /try/recommend": "recommend",
    "POST /try/score": "score",
}
PATHS = frozenset(rule.partition(" ")[2] for rule in PAGES)
#: A browser takes the first name over TLS alone, for this very host, and from no subdomain.
SECURE_NAME, PLAIN_NAME = "__Host-recprune", "recprune"
#: A log-in is a key, and nothing that has to be long.
LOG_IN = Bounds(body_bytes=4096)
CREDENTIALS = (b"authorization", b"x-api-key")


class _Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for n, value in self.headers if n == name), None)


class Doorway:
    """An ASGI application that stands before the gate, and only for the page's paths.

    Args:
        gate: the service behind its gate.
        sessions: of those who have logged in; None = nobody has to.
    """

    def __init__(self, gate: App, sessions: Sessions | None) -> None:
        self._gate, self._sessions = gate, sessions

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on as it is."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._gate(scope, receive, send)
            return
        try:
            token, cookie = None, _cookie_in(scope["headers"])
            if (scope["method"], scope["path"]) == ("POST", "/login"):
                token = field_of(await read_body(receive, LOG_IN), "key").strip()
                scope, receive = _with_key(scope, token), _nothing
            else:
                scope = self._known(scope, cookie)
            answer = await _answer(self._gate, scope, receive)
            if not answer.status:
                raise ClientGone
            answer = self._readable(scope, answer, token, held=cookie is not None)
        except Denied as denied:
            body = notice_page(str(denied))
            headers = _replaced(dressed(denied.headers, secure=False), body, HEADERS)
            answer = _Answer(denied.status, headers, body)
        except ClientGone:
            return
        start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _known(self, scope: Message, cookie: str | None) -> Message:
        """Turn the cookie into a key, unless the request brings credentials of its own."""
        own = any(name in CREDENTIALS for name, _ in scope["headers"])
        if self._sessions is None or cookie is None or own:
            return scope
        token = self._sessions.opened(cookie)
        return scope if token is None else _with_key(scope, token)

    def _readable(self, scope: Message, answer: _Answer, token: str | None, held: bool) -> _Answer:
        """Return a refusal as a page, and the answer to a log-in with its cookie.

        Args:
            scope: of the request.
            answer: the gate's.
            token: that somebody logs in with.
            held: whether the request came with a cookie, which ends if it is good for nothing.
        """
        cookie, body = None, answer.body
        # The gate says by this header that the client speaks TLS, be it through a trusted proxy.
        secure = answer.header(b"strict-transport-security") is not None
        if token is not None and self._sessions is not None and answer.status < 400:
            cookie = _cookie(secure, self._sessions.sealed(token), LIFETIME)
        elif held and (answer.status == 401 or _is_log_out(scope, answer)):
            cookie = _cookie(secure, "", 0)
        if answer.header(b"content-type") != b"application/json":
            return _Answer(answer.status, _replaced(answer.headers, body, [], cookie), body)
        error = json.loads(body)["error"]
        if answer.status != 401:
            body = notice_page(error["message"])
        elif error["code"] != "no_credentials":
            body = log_in_page(error["message"])
        else:
            body = log_in_page("" if scope["path"] == "/" else "You are not logged in any more.")
        return _Answer(answer.status, _replaced(answer.headers, body, HEADERS, cookie), body)


def field_of(body: bytes, name: str) -> str:
    """Return a field of a form as browsers send it (``application/x-www-form-urlencoded``).

    Raises:
        Denied: 400, the body is no such form.

    >>> field_of(b"user=%3Cb%3E+1&k=3", "user"), field_of(b"", "user")
    ('<b> 1', '')
    """
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise Denied(400, "no_form", "The form cannot be read.") from error
    return fields.get(name, [""])[0]


def _is_log_out(scope: Message, answer: _Answer) -> bool:
    return scope["path"] == "/logout" and answer.status < 400


def _with_key(scope: Message, token: str) -> Message:
    """Return a request with this key as its only credentials, and without a body if it is a log-in."""
    dropped = {*CREDENTIALS, b"cookie"}
    if scope["path"] == "/login":
        dropped |= {b"content-length", b"transfer-encoding"}
    headers = [h for h in scope["headers"] if h[0] not in dropped]
    key = token.encode("ascii", "replace")
    return {**scope, "headers": [*headers, (b"x-api-key", key)]}


def _cookie_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the session's cookie as it came: it is never quoted.

    Not by ``http.cookies``, which in some versions of Python takes seconds to unquote what a
    stranger sends (CVE-2024-7592).
    """
    sent = b";".join(value for name, value in headers if name == b"cookie").decode("latin-1")
    pairs = (pair.partition("=") for pair in sent.split(";"))
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return found.get(SECURE_NAME) or found.get(PLAIN_NAME)


def _cookie(secure: bool, value: str, seconds: int) -> tuple[bytes, bytes]:
    name = SECURE_NAME if secure else PLAIN_NAME
    made = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return b"set-cookie", (made + ("; Secure" if secure else "")).encode()


def _replaced(
    headers: Headers, body: bytes, own: Headers, cookie: tuple[bytes, bytes] | None = None
) -> Headers:
    """Return an answer's headers with those of a page in their place."""
    # Under the gate's "no-referrer" a browser hides where a form comes from.
    length = (b"content-length", str(len(body)).encode())
    own = [*own, length, (b"referrer-policy", b"same-origin")]
    names = {name for name, _ in own}
    kept = [h for h in headers if h[0] not in names]
    return [*kept, *own, *([] if cookie is None else [cookie])]


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _answer(app: App, scope: Message, receive: Receive) -> _Answer:
    """Return the whole of an answer; the page's are small. Status 0 = there was none."""
    status, headers, parts = 0, [], []

    async def take(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, take)
    return _Answer(status, headers, b"".join(parts))
