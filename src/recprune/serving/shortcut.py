"""The short way of the two routes that are asked most: a sound request is answered at once.

FastAPI takes about as long to find a route, read a body and make an answer as a small model takes
to rank a thousand items. So a request in JSON that is sound, and that the service answers, is read,
checked by the same form and answered here. All else goes FastAPI's way as if it had not been here:
what is refused is refused there, in one form, and described there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from pydantic import BaseModel

from recprune.errors import InputError
from recprune.security import Denied
from recprune.security.asgi import App, Message, Receive, Send, with_first

__all__ = ["Route", "Shortcut", "parsed", "refuse", "written"]


#: Content types that FastAPI reads as JSON too, as nearly everyone writes them.
JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
HEADER = (b"content-type", b"application/json")


class Route(NamedTuple):
    """How a route is answered.

    Args:
        form: of its requests.
        answer: from a request of that form to plain values.
        kept: from a body to an answer that is kept; None where there is none.
        keep: takes a body, the request, its answer as plain values and as JSON.
    """

    form: type[BaseModel]
    answer: Callable[[Any], Any]
    kept: Callable[[bytes], bytes | None] = lambda body: None
    keep: Callable[[bytes, Any, Any, bytes], None] = lambda body, asked, answer, text: None


class Shortcut:
    """Answers sound requests of some routes; an ASGI application hands all else to another.

    Args:
        app: which answers all else.
        routes: path of a POST route → how it is answered.
    """

    def __init__(self, app: App, routes: Mapping[str, Route]) -> None:
        self._app, self._routes = app, dict(routes)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let the other application answer it."""
        route = None
        if scope["type"] == "http" and scope["method"] == "POST":
            route = self._routes.get(scope["path"])
        if route is None or not _is_json(scope["headers"]):
            await self._app(scope, receive, send)
            return
        message = await receive()
        body = _answer(route, message)
        if body is None:
            await self._app(scope, with_first(message, receive), send)
            return
        headers = [(b"content-length", b"%d" % len(body)), HEADER]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def parsed(body: bytes) -> Any:
    """Return what a body in JSON says, as RFC 8259 has it: without NaN, in UTF-8.

    Raises:
        ValueError: it is no such JSON, or holds a number of thousands of digits.
        RecursionError: it is nested too deeply.
    """
    return DECODER.decode(body.decode())


def written(content: Any) -> bytes:
    """Return plain values as JSON."""
    return ENCODER.encode(content).encode()


def _answer(route: Route, message: Message) -> bytes | None:
    """Return the answer to a request; None where there is none, or the body is in several parts."""
    if message["type"] != "http.request" or message.get("more_body", False):
        return None
    body = message.get("body", b"")
    try:
        text = route.kept(body)
        if text is None:
            asked = route.form.model_validate(parsed(body))
            answer = route.answer(asked)
            text = written(answer)
            route.keep(body, asked, answer, text)
    except (InputError, Denied, ValueError, RecursionError):
        # What it was is found again and told on the long way.
        return None
    return text


def _is_json(headers: Any) -> bool:
    types = [value for name, value in headers if name == b"content-type"]
    return len(types) == 1 and types[0].lower() in JSON_TYPES


def refuse(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise ValueError(f"{constant} is no JSON.")


DECODER = json.JSONDecoder(parse_constant=refuse)
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
