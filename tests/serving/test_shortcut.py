"""The short way answers what is sound, and hands on all else whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import DataError
from recprune.security import Denied
from recprune.serving.schemas import requests
from recprune.serving.settings import Most
from recprune.serving.shortcut import Route, Shortcut, parsed, written

FORM = requests(Most()).recommend
JSON = (b"content-type", b"application/json")


def asked(
    body: bytes,
    *parts: bytes,
    answer: Any = lambda asked: {"user": asked.user},
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,),
    path: str = "/v1/recommend",
    method: str = "POST",
) -> tuple[bytes, bytes | None]:
    """Return the answer, and the body that came through to the application behind, or None."""
    behind: list[bytes] = []
    sent: list[Any] = []
    messages = [body, *parts]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        whole = b""
        while True:
            message = await receive()
            whole += message["body"]
            if not message.get("more_body"):
                break
        behind.append(whole)
        await send({"type": "http.response.start", "status": 422, "headers": []})
        await send({"type": "http.response.body", "body": b"behind"})

    async def receive() -> Any:
        part = messages.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(messages)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    shortcut = Shortcut(app, {"/v1/recommend": Route(FORM, answer)})
    asyncio.run(shortcut(scope, receive, send))
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    if sent[0]["status"] == 200:
        assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(sent[1]["body"])
    return sent[1]["body"], behind[0] if behind else None


def test_a_sound_request_is_answered() -> None:
    assert asked(b'{"user": "ann", "k": 3}') == (b'{"user":"ann"}', None)
    type_ = (b"content-type", b"application/JSON; charset=utf-8")
    assert asked(b'{"user": 5}', headers=(type_,)) == (b'{"user":5}', None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"user": "ann", "k": NaN}',
        b'{"user": "ann", "k": 0}',
        b'{"user": "ann", "users": ["ann"]}',
        b'{"user": "ann", "more": 1}',
        b'{"user": "\xff"}',
        b"[" * 100_000,
        b'{"user": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_not_sound_is_handed_on_whole(body: bytes) -> None:
    assert asked(body) == (b"behind", body)


def test_what_the_service_refuses_is_handed_on() -> None:
    for error in (DataError("lacks"), Denied(503, "not_ready", "No model is ready.")):

        def refuse(asked: Any, error: Exception = error) -> Any:
            raise error

        assert asked(b'{"user": "ann"}', answer=refuse) == (b"behind", b'{"user": "ann"}')
    no_number = {"score": float("nan")}
    assert asked(b'{"user": "ann"}', answer=lambda a: no_number)[1] == b'{"user": "ann"}'


def test_other_routes_types_and_parts_are_handed_on() -> None:
    body = b'{"user": "ann"}'
    assert asked(body, path="/v1/score") == (b"behind", body)
    assert asked(body, method="PUT") == (b"behind", body)
    assert asked(body, headers=()) == (b"behind", body)
    assert asked(body, headers=((b"content-type", b"text/plain"),)) == (b"behind", body)
    assert asked(body, headers=(JSON, JSON)) == (b"behind", body)
    assert asked(body[:5], body[5:]) == (b"behind", body)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    try:
        body = written(value)
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no text
    assert parsed(body) == value
